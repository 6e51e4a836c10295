/* Shared by the files of service/policy only. */
#pragma once

#include "base/buf.h"
#include "service/policy/policy.h"

#define POLICY_TEXT_MAX ((size_t)64 << 20)

/* --- ruleset.c: the table with everything that never changes --- */

int compile_base(struct buf *out) _must_check_;

/* --- compile.c: nftables text of the rest --- */

/* A selector's two sets with their elements. */
int compile_selector(struct store *s, int64_t id, struct buf *out, struct error *err) _must_check_;
/* A NetworkPolicy's chains; nothing for an administrators' one, whose rules are in profiles. */
int compile_policy(struct store *s, int64_t id, const struct policy *p, struct buf *out,
                   struct error *err) _must_check_;
/* A profile's chains. */
int compile_profile(struct store *s, const struct store_profile *p, struct buf *out,
                    struct error *err) _must_check_;
/* Puts addresses under a profile, in all maps; verb "delete" and profile 0: takes them out. */
int compile_members(const char *verb, char *const *addresses, int64_t profile,
                    struct buf *out) _must_check_;
/* Elements of a selector's sets. */
int compile_matches(const char *verb, char *const *addresses, int64_t selector,
                    struct buf *out) _must_check_;
/* Takes chains and sets away. */
int compile_drop_policy(int64_t id, const struct store_policy *p, struct buf *out) _must_check_;
int compile_drop_profile(int64_t id, struct buf *out) _must_check_;
int compile_drop_selector(int64_t id, struct buf *out) _must_check_;

/* --- rule.c --- */

enum compile_side {
    COMPILE_INGRESS, /* peers are sources */
    COMPILE_EGRESS,
    COMPILE_HOST, /* egress to the host */
};
/* The lines of one rule; selectors must have numbers. prefix: what stands in the log before the
 * rule's name. */
int compile_rule(struct store *s, const struct policy *p, const struct policy_rule *rule,
                 enum compile_side side, struct buf *out, struct error *err) _must_check_;

/* --- table.c: the table in the kernel, and changes of it --- */

#define POLICY_TABLE_VERSION "v4" /* a set by that name marks a table with this text */

/*
 * A change of store and kernel together. It is one transaction of each, with a note on disk from
 * before the first until after the second; who finds the note makes the table anew from the store.
 */
struct change {
    struct store *store;
    struct buf text;      /* what nft is to do */
    int lock;             /* serialises changes */
    bool whole;           /* the table is missing, or a change was left half done */
    struct member *cache; /* loaded when first needed */
    size_t n_cache;
    bool loaded;
};
/* A member with its labels read. */
struct member {
    struct store_policy_member row;
    char **labels;
};
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
 * are, the plain profile stays); between the two, what `between` says.
 */
int change_sweep(struct change *c, const char *between, struct error *err) _must_check_;

/* Elements of one member, without nft: -ENOENT when a set, a chain or the table is missing. */
int table_member(bool add, const char *address, int64_t profile, const int64_t *selectors,
                 struct error *err) _must_check_;
/* The same, each by itself, for what may be gone already. */
void table_forget(const char *address, const int64_t *selectors);
/* The labels of a member's row; owned. */
char **labels_of_row(const struct store_policy_member *m);
