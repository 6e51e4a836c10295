/*
 * Disk images: what machines are started from, beside application images, in the one store.
 *
 * A disk is an image: it has an id (the digest of its configuration, which lists the digests of its
 * chunks: wire/disk/disk.h), names, a row, and is listed, tagged and removed like any other. Its
 * chunks are in packs, ROOT/disks/NAME.pack: sparse files that are never written to again. The
 * first version of a disk is one pack, which is simply the disk, raw and sparse. A later version
 * has a pack with only the chunks that no pack of the store has yet, at the same places; the others
 * it takes from where they are. So versions share on any file system that can punch holes: no
 * reflinks are needed, and nothing is put together before a machine can start, because QEMU reads
 * packs through maps.
 *
 * What it costs: sharing is by whole chunks of 4 MiB, and a process that is given a pack to read
 * can read all of it, chunks of the disk's other versions included. So that no disk is tied to a
 * stranger by a chunk that happens to be the same, a pack is only shared when it brings at least a
 * sixteenth of the disk; that also bounds the maps in a row.
 *
 * Packs come and go inside write transactions of the database only, like layers (publish.c). A
 * chunk that no disk needs any more loses its row; then its place is punched out of the pack,
 * unless somebody has the pack open (a machine started before `rmi --force`): later then.
 */
#pragma once

#include "service/image/image.h"
#include "wire/disk/disk.h"

#define DISK_DIRECTORY "disks" /* below ROOT */

struct disk_import {
    int fd;                   /* the image; a pipe when it is raw */
    const char *format;       /* "raw", "qcow2", "vmdk", "vhdx"; NULL: by its first bytes, or raw */
    const char *name;         /* name[:tag] or NULL */
    const char *architecture; /* NULL: the host's */
    void (*progress)(void *context, uint64_t bytes); /* may be NULL */
    void *context;
};
/* *ret_id is owned. The same contents give the same id, whatever the format. */
int disk_import(struct store *s, const struct disk_import *how, char **ret_id,
                struct error *err) _must_check_;

/* Whether a file begins like a disk image, and not like an archive. */
bool disk_is_image(int fd);

/* What a file says it is, with nothing else of it believed: its format (format, or by its first
 * bytes, or raw; owned) and the size of its disk. Checked by proa-disk, as an import is. */
int disk_check_file(int fd, const char *format, char **ret_format, uint64_t *ret_bytes,
                    struct error *err) _must_check_;

/* The first bytes of a disk, at most a chunk. */
int disk_read_start(struct store *s, const char *image_id, void *data, size_t len,
                    struct error *err) _must_check_;

/* The disk that an application image of KubeVirt's containerDisk layout carries, to be imported.
 * ERROR_NOT_FOUND when it carries none. */
int disk_open_container(struct store *s, const struct image *image, int *ret_fd,
                        struct error *err) _must_check_;

/* The disk as QEMU reads it: packs, each with the map of the chunks that are used of it, or one
 * pack without a map that is the disk, raw. All are descriptors to read; while the pack's is open,
 * here or in whoever it was handed to, nothing of it goes away. */
struct disk_part {
    char *path; /* of the pack, owned; NULL: there is none, the disk is zeros */
    int pack_fd;
    int map_fd; /* a sealed memfd, or -EBADF: raw */
};
struct disk_parts {
    uint64_t virtual_bytes;
    struct disk_part *parts; /* at least one */
    size_t n;
};
int disk_open(struct store *s, const char *image_id, struct disk_parts *ret,
              struct error *err) _must_check_;
void disk_parts_done(struct disk_parts *p);
/* QEMU's -blockdev options for it, read-only, as JSON; owned. path(i, map) names the descriptor of
 * a part for QEMU ("/dev/fdset/3"); the result is not kept. node: its node name, or NULL. */
char *disk_blockdev(const struct disk_parts *p, const char *node,
                    const char *(*path)(void *context, size_t part, bool map), void *context);

/* Writes the disk into a regular file, from its beginning, in one of import's formats. */
int disk_export(struct store *s, const char *image_id, int out_fd, const char *format,
                struct error *err) _must_check_;

/* Reads every chunk of every pack, and calls for each that is not what it was. what: a line. */
typedef int (*disk_broken)(void *context, int64_t pack, uint32_t position, const char *what,
                           struct error *err);
int disk_verify(struct store *s, disk_broken broken, void *context, uint64_t *ret_bytes,
                struct error *err) _must_check_;
/* Whether a configuration says what the store's rows say. */
int disk_verify_config(struct store *s, const char *image_id, const char *text, size_t len,
                       struct error *err) _must_check_;

/* Whether a file of ROOT/disks is a pack of the store. */
int disk_pack_known(struct store *s, const char *file, bool *ret_known,
                    struct error *err) _must_check_;

/* Removes packs without a row, and punches out what no disk needs. image_remove_orphans does it. */
int disk_sweep(struct store *s, struct error *err) _must_check_;
