/*
 * nftables: a whole ruleset through the nft program (once per boot), and what comes and goes
 * directly through netlink (microseconds, no library to load): elements of sets and maps here,
 * chains and rules in nft_rule.h.
 *
 * A batch is one transaction: the kernel does all of it or nothing.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A key or a value: fields one after the other, each padded to four bytes as the kernel wants. */
struct nft_data {
    uint8_t bytes[64];
    size_t len;
};

void nft_put_bytes(struct nft_data *d, const void *bytes, size_t len);
void nft_put_link(struct nft_data *d, const char *name);
void nft_put_mac(struct nft_data *d, const uint8_t mac[6]);
void nft_put_address(struct nft_data *d, struct in_addr address);
void nft_put_address6(struct nft_data *d, const struct in6_addr *address);
void nft_put_protocol(struct nft_data *d, uint8_t protocol);
void nft_put_u24(struct nft_data *d, uint32_t number); /* as in a VXLAN header */
void nft_put_port(struct nft_data *d, uint16_t port);  /* host order */

enum nft_family {
    NFT_INET = 1,   /* NFPROTO_INET */
    NFT_NETDEV = 5, /* NFPROTO_NETDEV */
    NFT_BRIDGE = 7, /* NFPROTO_BRIDGE */
};

/* What it changes are the tables of that name, of any family. */
struct nft_batch;
struct nft_batch *nft_batch_new(const char *table);
void nft_batch_free(struct nft_batch *b); /* takes NULL */
DEFINE_CLEANUP(struct nft_batch *, nft_batch_free)
#define _cleanup_nft_batch_ _cleanup_(nft_batch_free_cleanup)
bool nft_batch_is_empty(const struct nft_batch *b);

/* Adds an element (value NULL: of a set, otherwise of a map), or deletes one. An element that is
 * there already with the same value is fine; one to be deleted must be there. set is a constant of
 * the caller's. */
void nft_batch_add(struct nft_batch *b, enum nft_family family, const char *set,
                   const struct nft_data *key, const struct nft_data *value);
/* An element of a verdict map: on to that chain. */
void nft_batch_add_goto(struct nft_batch *b, enum nft_family family, const char *set,
                        const struct nft_data *key, const char *chain);
/* An element that fits once there are more connections than so many: it counts those that it was
 * looked up for, and are not closed. One that is there goes on as it was. */
void nft_batch_add_counting(struct nft_batch *b, enum nft_family family, const char *set,
                            const struct nft_data *key, uint32_t connections);
void nft_batch_delete(struct nft_batch *b, enum nft_family family, const char *set,
                      const struct nft_data *key);
/* An element of a set with lifetimes, which stays for so long from now, also when it is there
 * already; lifetime_ms 0: as long as the set says. comment (at most NFT_COMMENT_MAX bytes) may be
 * NULL. */
#define NFT_COMMENT_MAX 253
void nft_batch_renew(struct nft_batch *b, enum nft_family family, const char *set,
                     const struct nft_data *key, uint64_t lifetime_ms, const char *comment);
/* Takes an element away, whether it is there or not; for sets with lifetimes. */
void nft_batch_forget(struct nft_batch *b, enum nft_family family, const char *set,
                      const struct nft_data *key);

void nft_batch_delete_table(struct nft_batch *b, enum nft_family family);

/* -EFBIG: it was too large, nothing was done; -ENOENT: a table, a set or an element to delete is
 * not there; -EEXIST or -EBUSY: a map has the key with another value. The batch is empty afterwards
 * either way. */
int nft_batch_commit(struct nft_batch *b, struct error *err) _must_check_;

/* For a program that changes elements again and again, and may neither open a socket by then nor
 * make a process: the socket is opened once. */
struct nft_channel;
int nft_channel_open(struct nft_channel **ret, struct error *err) _must_check_;
int nft_channel_commit(struct nft_channel *c, struct nft_batch *b, struct error *err) _must_check_;

/* Executes text as `nft -f` does, in one transaction. */
int nft_load(const char *text, size_t len, struct error *err) _must_check_;
