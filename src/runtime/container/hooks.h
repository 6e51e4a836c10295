/* Running the hooks of a configuration, one after the other. */
#pragma once

#include "wire/oci/config.h"

/* state is the OCI state document that each gets on standard input; what names the kind of hook in
 * messages. The first failure ends it. */
int hooks_run(const struct oci_hook_list *hooks, const char *what, const char *state,
              struct error *err) _must_check_;

/* For poststart and poststop, where a failure is a warning and the others run all the same. Returns
 * the failures in one line, owned; NULL when there was none. */
char *hooks_run_all(const struct oci_hook_list *hooks, const char *what, const char *state);
