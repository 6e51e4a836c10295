/*
 * Policies as nouns: applied, listed, removed; and instances' addresses put under them.
 *
 * The store says which policies there are; the kernel's table `inet proa-policy` is made from it
 * (compile.c) and every change of one is one transaction of the other. Nothing of it runs: a
 * command makes the change and leaves. Each engine root has a table of its own (store_table).
 */
#pragma once

#include "base/error.h"
#include "service/store/policy.h"
#include "wire/policy/policy.h"

/* What the table's name begins with: store_table(). */
#define POLICY_TABLE         "proa-policy"
#define POLICY_TABLE_VERSION "v13" /* a set by that name marks a table with this text */

struct network;

enum policy_outcome {
    POLICY_CREATED,
    POLICY_CONFIGURED,
    POLICY_UNCHANGED,
};

/* All documents or none, in one transaction; ret_outcomes has n entries of the caller's. */
int policy_apply(struct store *s, const struct policy_document *list, size_t n,
                 enum policy_outcome *ret_outcomes, struct error *err) _must_check_;
/* "name", "stack/name", or "/name" for an administrators' policy. */
int policy_find(struct store *s, const char *reference, struct store_policy *ret,
                struct error *err) _must_check_;
int policy_remove(struct store *s, const char *reference, struct error *err) _must_check_;

/* Addresses of an instance that is about to run, or whose name has changed: under the policies
 * before this returns. */
int policy_join(struct store *s, const char *instance_id, const char *name, const char *network,
                char *const *addresses, struct error *err) _must_check_;
/* They are none any more; absent is success. */
int policy_leave(struct store *s, char *const *addresses, struct error *err);
/*
 * Instances of other hosts, as those say. They are selected like this host's, and have a stack;
 * what they do is asked where they are, and here at the other end.
 *
 * From now on these, and no others, are whom `teller` has. An address of an instance of this host's
 * stays that; one that another has told stays with that. Nothing is written when nothing changes.
 */
struct policy_heard {
    char *address;
    char **labels; /* owned, as all of it */
};
int policy_hear(struct store *s, const char *teller, const struct policy_heard *list, size_t n,
                struct error *err) _must_check_;
/* Puts the table right when a change was killed half way, or when it is gone. */
int policy_repair(struct store *s, struct error *err) _must_check_;
/* The table is made anew from the store; without instances it goes. */
int policy_renew(struct store *s, struct error *err) _must_check_;
/* The bridge of a network comes, and with it what is to be judged, or it goes. A table that is not
 * there is put up with what the store says, so there is nothing to fail. */
void policy_bridge(struct store *s, const struct network *n, bool on);
/* The table goes. */
int policy_table_remove(struct store *s, struct error *err);

/* The labels that policies see: the instance's own, and io.proa.name. Owned. */
char **policy_labels(struct store *s, const char *instance_id, const char *name);
