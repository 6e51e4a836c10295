/* The parts of proa-kernel, a program that runs seldom and writes ROOT/cache/kernel. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

/* The ELF kernel inside a bzImage, and the names in a module's "depends=" (owned, possibly empty):
 * both from bytes that nobody has checked. module_needs: -EBADMSG for what is no 64-bit module. */
int kernel_unpack(const char *image, size_t len, struct buf *out, struct error *err) _must_check_;
int module_needs(const char *data, size_t len, char ***ret) _must_check_;

/* Extracts the ELF kernel from a bzImage into the file `to`. */
int kernel_extract(const char *bzimage, const char *to, struct error *err) _must_check_;

/* Copies the modules of NULL-terminated `names`, and those that they need, from below tree into the
 * directory `to` as NNN-name.ko, in the order in which they can be loaded. Names that the kernel
 * has built in, or does not have, are left out when optional. */
struct module_wish {
    const char *name;
    bool optional;
};
int modules_collect(const char *tree, const struct module_wish *wishes, size_t n, const char *to,
                    struct error *err) _must_check_;

/* An initramfs (cpio "newc"): directories, files, a console device, the end. */
int cpio_add(struct buf *out, const char *name, unsigned int mode, unsigned int device,
             const void *data, size_t len, struct error *err) _must_check_;
int cpio_end(struct buf *out, struct error *err) _must_check_;
#define CPIO_MAX_BYTES ((size_t)64 << 20)
