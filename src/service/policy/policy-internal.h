/* Shared by the files of service/policy only. */
#pragma once

#include "base/buf.h"
#include "kernel/nft_rule.h"
#include "service/policy/learned.h"
#include "service/policy/policy.h"

struct change;

#define POLICY_BRIDGES    "bridges" /* a set of those of this root's networks */
#define POLICY_EGRESS_OK  "egress_ok"
#define POLICY_INGRESS_OK "ingress_ok"

/* --- ways.c: where packets come in --- */

#define WAYS_NUMBER_MAX 0x7fffffu
/* As the table is from this batch on. number: of the change, at most WAYS_NUMBER_MAX and none of
 * the last ones; 0: nothing is remembered, each packet is asked about. */
void ways_put(struct nft_batch *b, uint32_t number);
/* The way to the host goes on; for a table that is being made. */
void ways_open_host(struct nft_batch *b);

/* --- seen.c: what was seen --- */

/* Sets, and chains to which packets go that are to be noted: seen_allowed, seen_denied, seen_stray,
 * which return. */
int seen_declare(struct buf *out) _must_check_;
extern const char seen_chains[]; /* where what is let through is noted */

/* --- ruleset.c: the table with everything that never changes --- */

int compile_base(struct store *s, struct buf *out, struct error *err) _must_check_;

/* --- compile.c: the rest, into a batch --- */

enum compile_change {
    COMPILE_ADD,
    COMPILE_DELETE, /* what is there */
};
void compile_set_name(int64_t selector, bool v6, char ret[NFT_NAME_MAX]);
/* A selector's two sets with their elements. */
int compile_selector(struct store *s, int64_t id, struct nft_batch *out,
                     struct error *err) _must_check_;
/* A list of names' two sets, with what instances know by such names already. */
void compile_domains(int64_t id, char *const *domains, const struct learned *known, size_t n,
                     struct nft_batch *out);
/* An element of a selector's sets. */
void compile_match(enum compile_change change, const char *address, int64_t selector,
                   struct nft_batch *out);
/* Puts an address under a profile, in all maps, or takes it out. An instance of another host's has
 * none (0): its own host asks for it, here it is only known to be one. */
void compile_member(enum compile_change change, const char *address, int64_t profile,
                    struct nft_batch *out);
/* A NetworkPolicy's chains; nothing for an administrators' one, whose rules are in profiles. */
int compile_policy(struct store *s, int64_t id, const struct policy *p, struct nft_batch *out,
                   struct error *err) _must_check_;
/* A profile's chains. */
int compile_profile(struct store *s, const struct store_profile *p, struct nft_batch *out,
                    struct error *err) _must_check_;
/* Takes chains and sets away; whatever leads to them goes first. */
void compile_drop_policy(const struct store_policy *p, struct nft_batch *out);
void compile_drop_profile(int64_t id, struct nft_batch *out);
void compile_drop_selector(int64_t id, struct nft_batch *out);

/* --- learned.c --- */

/* What an address has learned is forgotten: its instance goes, or another comes. */
int learned_forget(struct store *s, const char *address, struct nft_batch *out,
                   struct error *err) _must_check_;

/* --- rule.c --- */

enum compile_side {
    COMPILE_INGRESS, /* peers are sources */
    COMPILE_EGRESS,
    COMPILE_HOST, /* egress to the host */
};
/* One rule, at the end of the chain; selectors must have numbers. */
int compile_rule(struct store *s, const struct policy *p, const struct policy_rule *rule,
                 enum compile_side side, const char *chain, struct nft_batch *out,
                 struct error *err) _must_check_;

/* --- member.c --- */

/* Takes an address out of everything that it is in; absent is success. What was learned for it
 * stays where it goes on being the same instance's. */
int member_take(struct change *c, const char *address, const char *next,
                struct error *err) _must_check_;
/* Which selectors fit the member, whose row is there. */
int member_match(struct change *c, const struct store_policy_member *m, char *const *labels,
                 struct error *err) _must_check_;
/* Its elements, by what the store says. */
int member_put(struct change *c, const struct store_policy_member *m,
               struct error *err) _must_check_;

/* --- table.c: the table in the kernel, and changes of it --- */

/*
 * A change of store and kernel together. It is one transaction of each, with a note on disk from
 * before the first until after the second; who finds the note makes the table anew from the store.
 */
struct change {
    struct store *store;
    struct nft_batch *batch; /* what the kernel is to do */
    int lock;                /* serialises changes */
    bool left;               /* one before was left half done */
    bool whole;              /* the table is made anew: after that, or because it is missing */
    uint32_t number;         /* of this change (ways.c) */
    struct member *cache;    /* loaded when first needed */
    size_t n_cache;
    bool loaded;
};
/* A member with its labels read. */
struct member {
    struct store_policy_member row;
    char **labels;
};
/* The bridge of a network, and that it spans hosts. */
void change_bridge(struct nft_batch *b, const struct network *n, bool on);
int change_begin(struct store *s, struct change *ret, struct error *err) _must_check_;
/* Carries it out when r is 0, undoes it otherwise; gives r, or what went wrong. */
int change_end(struct change *c, int r, struct error *err);
/* All members, those that were put in this change only if that was before the first call. */
int change_members(struct change *c, struct error *err) _must_check_;
/* The number of a selector; a new one is matched with all members, and gets its sets. */
int change_selector(struct change *c, const char *text, int64_t *ret_id,
                    struct error *err) _must_check_;
/* Gives a member its profile by what the store says, and a new profile its chains. */
int change_profile(struct change *c, struct store_policy_member *m, struct error *err) _must_check_;
/* Removes profiles and selectors that nobody uses any more (of the default stack, where most starts
 * are, the plain profile stays), and between the two the chains of policies that are gone: profiles
 * jump to policies, and both look into selectors' sets. */
int change_sweep(struct change *c, const struct store_policy *gone, size_t n_gone,
                 struct error *err) _must_check_;

/* The labels of a member's row; owned. */
char **labels_of_row(const struct store_policy_member *m);
