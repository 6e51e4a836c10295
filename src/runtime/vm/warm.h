/* Starting a light machine, from a template where that can be (warm.c). */
#pragma once

#include "runtime/vm/machine.h"

/* Opens the disk, starts QEMU, and leaves it ready for the relay. run: RUN, or NULL. *ret_order_fd:
 * to be closed once the workload runs. */
int vm_start_light(struct vm_qemu *q, struct vm_shares *shares, const struct vm_options *o,
                   const char *run, int *ret_order_fd, struct error *err) _must_check_;
