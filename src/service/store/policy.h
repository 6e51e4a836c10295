/*
 * Policies in the store, and what service/policy has made of them for nftables.
 *
 * A *selector* is a text (wire/policy) with a number; a *member* is an address of an attached
 * instance, with its labels; a *match* says that a selector fits a member. A *profile* is what a
 * member is under: its stack, its network's default, the policies that select it; members with the
 * same ones share it. Numbers name sets and chains in the kernel and are never used again, so
 * whatever has a number never changes: a policy that is applied anew gets a new one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct store_policy {
    int64_t id;
    int kind; /* enum policy_kind */
    char *stack, *name;
    uint32_t priority;
    int64_t subject; /* a selector */
    bool rules_for[2];
    char *json;
    int64_t created_ns;
};
void store_policy_done(struct store_policy *p);
void store_policy_list_free(struct store_policy *list, size_t n);

/* Fills p->id. */
int store_policy_add(struct store *s, struct store_policy *p, struct error *err) _must_check_;
/* In the order in which they are asked. */
int store_policy_list(struct store *s, struct store_policy **ret, size_t *ret_n,
                      struct error *err) _must_check_;
int store_policy_get(struct store *s, int64_t id, struct store_policy *ret,
                     struct error *err) _must_check_;
/* stack NULL: of any stack and kind; ERROR_CONFLICT when there are several; ERROR_NOT_FOUND. */
int store_policy_find(struct store *s, const char *stack, const char *name,
                      struct store_policy *ret, struct error *err) _must_check_;
int store_policy_remove(struct store *s, int64_t id, struct error *err) _must_check_;
/* Without json: those whose subject fits the address, in order. */
int store_policy_applied(struct store *s, const char *address, struct store_policy **ret,
                         size_t *ret_n, struct error *err) _must_check_;

struct store_selector {
    int64_t id;
    char *text;
};
void store_selector_list_free(struct store_selector *list, size_t n);
/* The number of a text; *ret_added: it had none. */
int store_selector_put(struct store *s, const char *text, int64_t *ret_id, bool *ret_added,
                       struct error *err) _must_check_;
/* Those whose text begins so. */
int store_selector_list(struct store *s, const char *prefix, struct store_selector **ret,
                        size_t *ret_n, struct error *err) _must_check_;
/* Of those, what policies use that select the instance. */
int store_selector_list_of(struct store *s, const char *prefix, const char *instance_id,
                           struct store_selector **ret, size_t *ret_n,
                           struct error *err) _must_check_;
/* This host's instances that one of those is of; owned vector. */
int store_selector_instances(struct store *s, const char *prefix, char ***ret,
                             struct error *err) _must_check_;
int store_policy_use(struct store *s, int64_t policy, int64_t selector,
                     struct error *err) _must_check_;

struct store_policy_member {
    char *address, *instance_id;
    char *stack, *labels; /* labels: a JSON array of "key=value" */
    bool default_deny;
    int64_t profile; /* 0: it is another host's */
};
void store_policy_member_done(struct store_policy_member *m);
void store_policy_member_list_free(struct store_policy_member *list, size_t n);
int store_policy_member_put(struct store *s, const struct store_policy_member *m,
                            struct error *err) _must_check_;
/* address NULL: all; instance_id NULL: whoever's. */
int store_policy_member_list(struct store *s, const char *address, const char *instance_id,
                             struct store_policy_member **ret, size_t *ret_n,
                             struct error *err) _must_check_;
int store_policy_member_remove(struct store *s, const char *address,
                               struct error *err) _must_check_;

int store_policy_match_add(struct store *s, int64_t selector, const char *address,
                           struct error *err) _must_check_;
/* Addresses that a selector fits; owned vector. */
int store_policy_match_list(struct store *s, int64_t selector, char ***ret,
                            struct error *err) _must_check_;
/* Selectors that fit an address; owned, ended by 0. */
int store_policy_match_of(struct store *s, const char *address, int64_t **ret,
                          struct error *err) _must_check_;

struct store_profile {
    int64_t id, stack_selector;
    char *key;
};
void store_profile_list_free(struct store_profile *list, size_t n);
int store_profile_put(struct store *s, const char *key, int64_t stack_selector, int64_t *ret_id,
                      bool *ret_added, struct error *err) _must_check_;
/* id 0: all. */
int store_profile_list(struct store *s, int64_t id, struct store_profile **ret, size_t *ret_n,
                       struct error *err) _must_check_;

/* Removes profiles that no member has, then selectors that nothing uses; their numbers are owned
 * vectors, ended by 0. The profile without policies of the stack with the selector `keep` stays. */
int store_policy_sweep(struct store *s, const char *keep, int64_t **ret_profiles,
                       int64_t **ret_selectors, struct error *err) _must_check_;

/* Networks on which nothing is allowed by default, by id. */
int store_policy_set_default_deny(struct store *s, const char *network_id,
                                  struct error *err) _must_check_;
int store_policy_default_deny(struct store *s, const char *network, bool *ret,
                              struct error *err) _must_check_; /* by the network's name */
