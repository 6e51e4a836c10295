/*
 * What a disk image file says it is, found out without trusting it.
 *
 * A disk image may name other files: qcow2 a backing file and a data file, vmdk a parent and
 * extents. A program that follows such a name opens a file of the host for whoever made the image.
 * So the headers are read here first, from a descriptor and within stated bounds, and an image that
 * names anything, is encrypted, or needs what is not known here is refused. Only then does qemu-img
 * see it, told the format (never guessing it) and unable to open any other file.
 *
 * Raw has no header: nothing in it is believed. It is known by the mark of a boot sector, or
 * because the caller says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_MAX_BYTES ((uint64_t)16 << 40) /* virtual size */
#define DISK_SECTOR    512u

enum disk_format {
    DISK_UNKNOWN = 0,
    DISK_RAW,
    DISK_QCOW2,
    DISK_VMDK,
    DISK_VHDX,
    DISK_FORMATS,
};

/* "raw", "qcow2", ... as qemu-img has them; and back (DISK_UNKNOWN for another word). */
const char *disk_format_name(enum disk_format f);
enum disk_format disk_format_from_name(const char *name);

/* Where the bytes of a file are got from. */
struct disk_reader {
    void *context;
    uint64_t bytes; /* of the file */
    /* Reads exactly len bytes at offset: 0 or -errno. Called within bytes only. */
    int (*read)(void *context, uint64_t offset, void *data, size_t len);
};
/* Over a regular file or a block device; *fd must stay while the reader is used. */
int disk_reader_open(const int *fd, struct disk_reader *ret, struct error *err) _must_check_;

/* By its first bytes; DISK_UNKNOWN for anything else (archives are not disks). */
int disk_format_guess(const struct disk_reader *r, enum disk_format *ret,
                      struct error *err) _must_check_;

/* Checks the headers of an image of that format. *ret_virtual_bytes: the size of the disk.
 * ERROR_CORRUPT when they are broken, ERROR_DENIED when they name other files, ERROR_UNSUPPORTED.
 */
int disk_format_check(const struct disk_reader *r, enum disk_format f, uint64_t *ret_virtual_bytes,
                      struct error *err) _must_check_;
