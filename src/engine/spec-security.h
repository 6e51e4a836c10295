/* The parts of the configuration that bound and confine: capabilities, limits, devices, sysctls. */
#pragma once

#include <jansson.h>

#include "engine/options.h"

/* What the process may have; bit n: the capability with number n. */
int spec_capability_mask(const struct create_options *o, uint64_t *ret,
                         struct error *err) _must_check_;
/* Adds "capabilities" to a process object. */
int spec_capabilities(const struct create_options *o, json_t *process,
                      struct error *err) _must_check_;
bool spec_no_new_privileges(const struct create_options *o);
/* New references; always set on success. */
int spec_rlimits(const struct create_options *o, json_t **ret, struct error *err) _must_check_;
int spec_resources(const struct create_options *o, json_t **ret_resources, json_t **ret_devices,
                   struct error *err) _must_check_;
/* linux.resources without devices: the part that can change while an instance runs. */
json_t *spec_limits(const struct create_options *o);
char *spec_limits_text(const struct create_options *o); /* owned */
int spec_sysctls(const struct create_options *o, json_t **ret, struct error *err) _must_check_;
