/* Reading the elements of a set, and which tables there are, as the kernel has them now. */
#pragma once

#include "kernel/nft.h"

struct nft_element {
    const uint8_t *key; /* fields one after the other, each padded to four bytes; borrowed */
    size_t key_len;
    uint64_t expires_ms; /* what is left; 0: it stays */
    uint64_t packets, bytes;
    char comment[NFT_COMMENT_MAX + 1]; /* "": it has none */
};
/* Calls see() for each; a negative return ends it and is given back. -ENOENT: no such table or
 * set; -EINTR: rules were changed meanwhile, and not all was seen. */
int nft_dump(enum nft_family family, const char *table, const char *set,
             int (*see)(void *context, const struct nft_element *e), void *context,
             struct error *err) _must_check_;
/* The same, begun again when rules were changed meanwhile: again() forgets what was seen. A table
 * or a set that is not there has no elements. */
int nft_dump_whole(enum nft_family family, const char *table, const char *set,
                   int (*see)(void *context, const struct nft_element *e),
                   void (*again)(void *context), void *context, struct error *err) _must_check_;

/* Calls see() for each table of the family. */
int nft_tables(enum nft_family family, void (*see)(void *context, const char *name), void *context,
               struct error *err) _must_check_;
