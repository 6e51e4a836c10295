/*
 * Chains, sets and rules of nftables by netlink, in a batch of nft.h: what a table gains and loses
 * while it stands. A rule is put together from its expressions, in the order in which the kernel
 * is to look at them; the verdict is the last. Names and the texts of logs are the caller's and
 * short (see NFT_NAME_MAX), so a rule always fits.
 */
#pragma once

#include "kernel/nft.h"

#define NFT_NAME_MAX 64

/* A chain that no hook leads to. One that is there already is fine. */
void nft_add_chain(struct nft_batch *b, enum nft_family family, const char *chain);
void nft_empty_chain(struct nft_batch *b, enum nft_family family, const char *chain);
/* It must be there, and nothing may lead to it any more. */
void nft_delete_chain(struct nft_batch *b, enum nft_family family, const char *chain);

/* Of IPv4 or IPv6 addresses. */
void nft_add_address_set(struct nft_batch *b, enum nft_family family, const char *set, bool v6);
/* Of pairs of addresses, one behind the other, each for a time (nft_batch_renew). */
void nft_add_pair_set(struct nft_batch *b, enum nft_family family, const char *set, bool v6,
                      uint32_t most);
void nft_empty_set(struct nft_batch *b, enum nft_family family, const char *set);
void nft_delete_set(struct nft_batch *b, enum nft_family family, const char *set);

/* A set of ranges without a name, for the one rule that is put in next. */
void nft_begin_ranges(struct nft_batch *b, enum nft_family family, bool v6);
/* In network order, 4 or 16 bytes each; end: the first that is not in it, NULL: there is none. */
void nft_add_range(struct nft_batch *b, enum nft_family family, bool v6, const void *first,
                   const void *end);

enum nft_verdict {
    NFT_VERDICT_ACCEPT,
    NFT_VERDICT_RETURN,
    NFT_VERDICT_JUMP,
    NFT_VERDICT_GOTO,
    NFT_VERDICT_NONE, /* the next rule */
};

/* What stands at one end of a connection, as connection tracking knows it. */
struct nft_end {
    bool reply;      /* who answers; otherwise who began it */
    bool v6;         /* a connection of the other family does not fit */
    const char *set; /* NULL: the ranges that were put in last */
    bool outside;    /* fits when it is not in the set */
    bool map;        /* set is a verdict map: what it leads to is what happens */
};
/* Both ends together, of a packet that goes there or comes back. */
struct nft_pair {
    bool v6;
    const char *set;       /* of pairs: who began it, who answers */
    bool back;             /* a packet that comes back; otherwise one that goes there */
    const char *not_there; /* a set of links, among which the one at the far end must not be */
};
/* The mark of a connection (ct mark). */
struct nft_mark {
    uint32_t value;
    uint32_t mask; /* of the bits that are looked at; not for giving one */
};
/* What a rule looks at, in this order; zeros fit everything. */
struct nft_match {
    bool established; /* a connection that has been answered, and no error about it */
    const struct nft_mark *marked;
    const char *not_links; /* a set of links, among which neither is, in and out */
    bool related;          /* an error about a connection, or what it brought with it */
    bool original;         /* a packet of who began it */
    uint32_t labelled;     /* a connection with that label */
    uint32_t give_label;   /* whatever fits all the rest gets it, not 0 */
    const struct nft_pair *pair;
    const struct nft_end *end;
    uint8_t protocol;
    uint16_t first_port, last_port; /* of who answers; 0 and 65535: any */
    bool only_new;                  /* the first packet of a connection */
    uint32_t per_second;            /* no more of them than this */
    const char *log;                /* what stands before the packet in the kernel's log */
    const struct nft_mark *give_mark;
};
/*
 * A label stays with a connection for as long as that is tracked. Labels of connections can only be
 * added to, never changed (ct label), so a number is put there together with its complement: two of
 * them over each other are neither.
 *
 * chain: of jump and goto.
 */
void nft_add_rule(struct nft_batch *b, enum nft_family family, const char *chain,
                  const struct nft_match *match, enum nft_verdict verdict, const char *target);
