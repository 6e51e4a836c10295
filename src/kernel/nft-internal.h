/* Shared by the files that put messages of nftables into a batch. */
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "base/buf.h"
#include "kernel/nft.h"

struct nft_batch {
    char *table; /* of whatever it changes */
    struct buf messages;
    uint32_t sequence;
    size_t last;     /* offset of the last message, which asks for an acknowledgement */
    bool failed;     /* the bound was reached */
    uint32_t set_id; /* of the set that was made last; sets of one batch are told apart by it */
};

/* A message of the batch, begun in space; the first one opens the batch. */
struct nlmsghdr *nft_message(struct nft_batch *b, char *space, uint16_t type, uint16_t flags,
                             enum nft_family family);
void nft_message_end(struct nft_batch *b, const struct nlmsghdr *h);

/* { NFTA_DATA_VALUE } and { NFTA_DATA_VERDICT } within an attribute of this type. */
void nft_put_value(struct nlmsghdr *h, uint16_t type, const void *bytes, size_t len);
void nft_put_verdict(struct nlmsghdr *h, uint16_t type, int code, const char *chain);
