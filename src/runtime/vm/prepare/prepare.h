/* The parts of proa-kernel, a program that runs seldom and writes ROOT/cache/kernel. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

#define IMAGE_MAX_BYTES  ((size_t)128 << 20)
#define KERNEL_MAX_BYTES ((size_t)256 << 20)

/* --- pure codecs, for bytes that nobody has checked --- */

/* The ELF kernel inside a bzImage. */
int kernel_unpack(const char *image, size_t len, struct buf *out, struct error *err) _must_check_;
/* Whether it is an ELF kernel that QEMU can boot. */
int kernel_check(const char *elf, size_t len, struct error *err) _must_check_;
/* From a bzImage or an ELF kernel to one that has been checked. */
int kernel_read(const char *data, size_t len, struct buf *out, struct error *err) _must_check_;
/* What it calls itself, "6.1.0-56-cloud-amd64"; "" when it does not say. */
void kernel_version(const char *elf, size_t len, char *ret, size_t size);
/* The names in a module's "depends=" (owned, possibly empty). -EBADMSG for what is no 64-bit
 * module. */
int module_needs(const char *data, size_t len, char ***ret) _must_check_;
/* gzip, xz, zstd or bzip2. -EBADMSG for what is none or damaged, -EFBIG past out's maximum. */
int inflate_bytes(const char *data, size_t len, struct buf *out) _must_check_;

/* --- in a process of its own, without privilege (unpack.c) --- */

/* Copies the modules of NULL-terminated `names`, and those that they need, from below tree into the
 * directory `to` as NNN-name.ko, in the order in which they can be loaded. Names that the kernel
 * has built in, or does not have, are left out when optional. */
struct module_wish {
    const char *name;
    bool optional;
};
int modules_collect(const char *tree, const struct module_wish *wishes, size_t n, const char *to,
                    struct error *err) _must_check_;

#define MODULES_MAX      64u
#define MODULE_MAX_BYTES ((size_t)16 << 20)

/* What a kernel is made of: one of package and image. Paths; the module directory may be NULL. */
struct kernel_source {
    const char *package; /* FILE.deb */
    const char *image;   /* bzImage or ELF */
    const char *modules; /* as /lib/modules/VERSION */
};
/* Makes vmlinux, version and modules/NNN-name.ko in the directory `to` (which exists, empty), and
 * uses `tmp` for what lies between. Only what has been checked to be plain files of bounded size
 * arrives there. */
int kernel_make(const struct kernel_source *source, const char *tmp, const char *to,
                struct error *err) _must_check_;

/* --- Debian's archive (package.c) --- */

/* The cloud kernel's package, and the version that its file's name holds. Both owned. */
int package_find(char **ret_package, char **ret_version, struct error *err) _must_check_;
int package_download(const char *package, const char *dir, char **ret_file,
                     struct error *err) _must_check_;
/* "6.1.192-2" from "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb". */
int package_version(const char *file, char **ret, struct error *err) _must_check_;

/* --- the initramfs (initramfs.c, cpio.c) --- */

/* DIR/initramfs of guest and DIR/modules, with `stamp` in DIR/guest. */
int initramfs_write(const char *guest, const char *dir, const char *stamp,
                    struct error *err) _must_check_;
/* An initramfs (cpio "newc"): directories, files, a console device, the end. */
int cpio_add(struct buf *out, const char *name, unsigned int mode, unsigned int device,
             const void *data, size_t len, struct error *err) _must_check_;
int cpio_end(struct buf *out, struct error *err) _must_check_;
#define CPIO_MAX_BYTES ((size_t)64 << 20)
