/* IPv4 and IPv6 addresses as numbers, and ranges of them. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

__extension__ typedef unsigned __int128 policy_number;

struct policy_address {
    bool v6;
    policy_number n;
};
struct policy_range {
    bool v6;
    policy_number first, last;
};
struct policy_address_text {
    char s[INET6_ADDRSTRLEN];
};

int policy_address_parse(const char *text, struct policy_address *ret) _must_check_;
struct policy_address policy_address_from4(struct in_addr a);
struct policy_address policy_address_from6(const struct in6_addr *a);
/* In network order: 4 or 16 bytes. */
struct policy_address policy_address_from_bytes(const uint8_t *bytes, bool v6);
void policy_address_bytes(struct policy_address a, uint8_t ret[16]);
struct policy_address_text policy_address_text(struct policy_address a);
/* "10.0.0.0/8"; host bits must be zero. */
int policy_block_parse(const char *text, struct policy_range *ret, struct error *err) _must_check_;
bool policy_range_has(const struct policy_range *r, struct policy_address a);

/* A block with at least this many fixed bits may name a metadata address: 169.254.0.0/16,
 * fd00:ec2::/32, and what is narrower. */
#define POLICY_METADATA_BITS4 16
#define POLICY_METADATA_BITS6 32
/* Where clouds answer with keys to whoever asks. */
extern const struct policy_range policy_metadata[];
extern const size_t policy_n_metadata;
bool policy_is_metadata(struct policy_address a);
/* Whether a block is narrow enough to mean metadata. */
bool policy_block_names_metadata(const struct policy_range *block);

/* Ranges of one family, without overlap and in order: list becomes what is in it and not in
 * except. *n may grow; owned. */
void policy_ranges_subtract(struct policy_range **list, size_t *n,
                            const struct policy_range *except, size_t n_except);
