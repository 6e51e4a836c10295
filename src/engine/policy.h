/* What the policies say of instances: asked, not tried. */
#pragma once

#include "engine/engine.h"
#include "service/policy/learned.h"
#include "service/policy/policy.h"
#include "wire/policy/evaluate.h"

/* All policies, parsed, in the order in which they are asked. */
struct policy_book {
    struct policy *list;
    const struct policy **sorted;
    size_t n;
    struct learned *learned; /* by instances, of names of outside hosts */
    size_t n_learned;
};
void policy_book_done(struct policy_book *b);
int policy_book_read(struct engine *e, struct policy_book *ret, struct error *err) _must_check_;

/* In force when they return, and instances whose policies name outside hosts learn them. */
int engine_policy_apply(struct engine *e, const struct policy_document *list, size_t n,
                        enum policy_outcome *ret_outcomes, struct error *err) _must_check_;
int engine_policy_remove(struct engine *e, const char *reference, struct error *err) _must_check_;

/* from, to: an instance, an address, "host" or "world"; to: also a name of an outside host.
 * *ret_why is owned; it may be NULL. The book is read once for many questions. */
int engine_policy_ask(struct engine *e, const struct policy_book *book, const char *from,
                      const char *to, uint8_t protocol, uint16_t port, bool *ret_allow,
                      char **ret_why, struct error *err) _must_check_;

/* Lines that say what an instance is under; owned. */
int engine_policy_explain(struct engine *e, const char *reference, char ***ret,
                          struct error *err) _must_check_;

/* Whether an address is one of this host's now. */
bool policy_is_host_address(struct policy_address a);
