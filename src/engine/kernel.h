/* Kernels of machines: those that are kept, and what one machine asks for. */
#pragma once

#include "engine/engine.h"
#include "engine/options.h"
#include "runtime/bundle.h"
#include "runtime/vm/kernel.h"

/* Nothing given: Debian's cloud kernel, downloaded. modules goes with image. */
struct kernel_addition {
    const char *name, *package, *image, *modules;
};
int engine_kernel_add(struct engine *e, const struct kernel_addition *a,
                      struct error *err) _must_check_;

/* The name of an instance that runs on it or asks for it; NULL when there is none. Owned. */
int engine_kernel_user(struct engine *e, const char *kernel, char **ret_name,
                       struct error *err) _must_check_;
/* ERROR_CONFLICT while it is used. */
int engine_kernel_remove(struct engine *e, const char *kernel, struct error *err) _must_check_;
/* What machines boot from now on. */
int engine_kernel_set_default(struct engine *e, const char *kernel, struct error *err) _must_check_;

/* --kernel, --initrd and --kernel-arg: checked at create; file names made absolute for later. */
int engine_kernel_check(struct engine *e, const struct create_options *o,
                        struct error *err) _must_check_;
int engine_kernel_settle(struct create_options *o, struct error *err) _must_check_;
/* At each start: fills in b's kernel, initramfs and kernel_args. bundle is the directory. */
int engine_kernel_prepare(struct engine *e, const struct create_options *o, const char *bundle,
                          struct bundle *b, struct error *err) _must_check_;
