/*
 * What instances have learned: addresses of outside hosts, for the names that policies allow.
 *
 * It is in the kernel only: proa-names (service/names) adds an element with a lifetime to the set
 * of each list of names that the question fits, with the name as its comment. Whoever is asked what
 * a policy means, or makes a set anew, reads it there.
 */
#pragma once

#include "base/error.h"
#include "kernel/nft.h"
#include "service/store/store.h"
#include "wire/policy/address.h"

/* Of all instances together: what one of them may learn is far less (service/names). */
#define LEARNED_SET_MAX 65536u
/* For a day: by which name an instance knew an address last. */
#define LEARNED_NAMES4 "named4"
#define LEARNED_NAMES6 "named6"

struct learned {
    struct policy_address who, address; /* of one family */
    uint64_t left_ms;                   /* of its lifetime */
    char name[NFT_COMMENT_MAX + 1];
};
/* All that is good now, an entry for each list that it is in; owned by free(). */
int learned_read(struct store *s, struct learned **ret, size_t *ret_n,
                 struct error *err) _must_check_;
/* The names of the last day. */
int learned_names_read(struct store *s, struct learned **ret, size_t *ret_n,
                       struct error *err) _must_check_;
/* An element's key. */
void learned_key(struct policy_address who, struct policy_address address, struct nft_data *ret);

/* A list of names of outside hosts that an instance is let go to. */
struct policy_domains {
    int64_t id;
    char **patterns;
};
void policy_domains_list_free(struct policy_domains *list, size_t n);
int policy_domains_of(struct store *s, const char *instance_id, struct policy_domains **ret,
                      size_t *ret_n, struct error *err) _must_check_;
/* A list's set for addresses of one family. */
void policy_domains_set(int64_t id, bool v6, char ret[64]);
