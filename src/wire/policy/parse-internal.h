/* Shared by the parser's files only. */
#pragma once

#include "wire/policy/policy.h"
#include "wire/yaml/yaml.h"

/* peers.c: lists of peers and ports of one rule, in the words of the policy's kind. */
int parse_selector(const struct yaml *y, struct policy_labels *ret, struct error *err) _must_check_;
int parse_peers(const struct yaml *list, const struct policy *p, enum policy_direction d,
                struct policy_rule *ret, struct error *err) _must_check_;
int parse_ports(const struct yaml *list, enum policy_kind kind, struct policy_rule *ret,
                struct error *err) _must_check_;
/* {pods: {...}} or {namespaces: {...}}, by our words or theirs. */
int parse_admin_selector(const struct yaml *y, struct policy_selector *ret, bool *ret_found,
                         struct error *err) _must_check_;
/* Everything in one stack. */
void select_stack(const char *stack, struct policy_labels *ret);
/* The member that is there, by either name; both are an error. */
int get_either(const struct yaml *map, const char *theirs, const char *ours,
               const struct yaml **ret, struct error *err) _must_check_;
