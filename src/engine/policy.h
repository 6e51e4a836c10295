/* What the policies say of instances: asked, not tried. */
#pragma once

#include "engine/engine.h"
#include "wire/policy/evaluate.h"

/* All policies, parsed, in the order in which they are asked. */
struct policy_book {
    struct policy *list;
    const struct policy **sorted;
    size_t n;
};
void policy_book_done(struct policy_book *b);
int policy_book_read(struct engine *e, struct policy_book *ret, struct error *err) _must_check_;

/* from, to: an instance, an address, "host" or "world". *ret_why is owned; it may be NULL. The book
 * is read once for many questions. */
int engine_policy_ask(struct engine *e, const struct policy_book *book, const char *from,
                      const char *to, uint8_t protocol, uint16_t port, bool *ret_allow,
                      char **ret_why, struct error *err) _must_check_;

/* Lines that say what an instance is under; owned. */
int engine_policy_explain(struct engine *e, const char *reference, char ***ret,
                          struct error *err) _must_check_;

/* Whether an address is one of this host's now. */
bool policy_is_host_address(struct policy_address a);
