/*
 * create, run and exec fork processes that are seen inside a container while they still execute
 * this program. A hostile image can get hold of the program's file that way and write to it later
 * (CVE-2019-5736); so these verbs run from a copy that cannot be written.
 */
#pragma once

#include "base/error.h"

/* Executes this program again from a read-only mount of its own file or, where that is not allowed,
 * from a sealed copy in memory. Returns when it runs from one of these already. */
int oci_self_protect(struct error *err) _must_check_;
/* To be called first in main(), with its own argv. */
void oci_self_init(char **argv);
