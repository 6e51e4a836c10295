/*
 * Images: what instances are started from, by digest, in one store for both kinds.
 *
 * A layer is one EROFS file, ROOT/layers/<hex of its diff id>.erofs, written once and never
 * modified, with the .split beside it that gives its tar back (wire/layer/split.h). Manifests and
 * configurations are kept as the bytes they arrived in, under ROOT/blobs/sha256/<hex>. The image id
 * is the digest of the configuration, as Docker has it. Nothing is visible in the store before it
 * has been verified; a killed import leaves only temporary files (ROOT/tmp/) that the next command
 * removes.
 *
 * Archives are outside bytes: they are parsed by the helper program proa-layer, which runs without
 * privilege (see wire/layer/) and is given descriptors only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct image_layer {
    char *diff_id;      /* "sha256:..." of the uncompressed tar */
    char *erofs;        /* path of the EROFS file */
    uint64_t bytes;     /* its size */
    uint64_t tar_bytes; /* of the tar it came from */
};

enum image_kind {
    IMAGE_APPLICATION = 0, /* layers and a command: containers and light machines */
    IMAGE_DISK,            /* a disk (disk.h): machines */
};

struct image {
    enum image_kind kind;
    char *id;       /* "sha256:..." of the configuration */
    char *manifest; /* digest of the manifest it came with, or NULL */
    char **names;   /* "repository:tag", NULL-terminated; may be empty */
    char **digests; /* "repository@sha256:..." as registries have it; may be empty */
    char *architecture, *os;
    int64_t created_ns;
    uint64_t bytes;             /* all layers; of a disk its data */
    uint64_t disk_bytes;        /* of a disk the size that a machine sees */
    struct image_layer *layers; /* bottom first */
    size_t n_layers;
    /* From an application's configuration; NULL when absent. */
    char **entrypoint, **cmd, **env, **exposed_ports, **volumes, **labels /* "key=value" */;
    char *user, *working_dir, *stop_signal;
    char *config_json; /* the configuration as it arrived */
};

void image_free(struct image *image); /* takes NULL */
DEFINE_CLEANUP(struct image *, image_free)
#define _cleanup_image_ _cleanup_(image_free_cleanup)

/* By name ("debian", "debian:12", "localhost/x:y"), "repository@digest", full id, or unambiguous id
 * prefix (>= 4 hex digits, with or without "sha256:"). ":latest" is added to a name without tag.
 * ERROR_NOT_FOUND's message names the next command to try. */
int image_find(struct store *s, const char *reference, struct image **ret,
               struct error *err) _must_check_;

/* "application" or "disk". */
const char *image_kind_name(enum image_kind kind);
/* ERROR_UNSUPPORTED when the image is not of that kind. */
int image_need_kind(const struct image *image, enum image_kind kind,
                    struct error *err) _must_check_;

/* All images, newest first; *ret is an owned NULL-terminated vector. */
int image_list(struct store *s, struct image ***ret, struct error *err) _must_check_;
void image_list_free(struct image **list);

struct image_import {
    int fd;               /* the archive: tar, or compressed with gzip, zstd, xz or bzip2 */
    const char *name;     /* name[:tag] or NULL */
    const char *message;  /* history comment, may be NULL */
    char *const *changes; /* Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER,
                             VOLUME, WORKDIR, STOPSIGNAL; may be NULL */
    void (*progress)(void *context, uint64_t bytes_read); /* may be NULL */
    void *context;
};
/* A root file system archive becomes an image of one layer. *ret_id is owned. */
int image_import(struct store *s, const struct image_import *how, char **ret_id,
                 struct error *err) _must_check_;

/* An archive of docker save or of an OCI layout (index.json), or a directory holding an OCI layout
 * when path names one. Loads every image in it. *ret_names: what was loaded ("name:tag" or id). */
int image_load(struct store *s, int fd, const char *path, char ***ret_names,
               struct error *err) _must_check_;

/* A layer as the archive it came from: the same tar byte for byte, uncompressed ("none") or with
 * "gzip" or "zstd", the same bytes each time. fd: anything that can be written to, -EBADF for
 * nothing but the numbers. What was written before an error is of no use: the tar's digest is
 * compared at the end. ERROR_NOT_FOUND for an unknown layer. */
struct image_archive {
    char digest[72]; /* "sha256:..." of what was written */
    uint64_t bytes;
};
int image_layer_write(struct store *s, const char *diff_id, const char *compression, int fd,
                      struct image_archive *ret, struct error *err) _must_check_;
/* The same without an archive: ERROR_CORRUPT unless both files of the layer are whole, to the last
 * byte, inodes included. */
int image_layer_verify(struct store *s, const char *diff_id, struct error *err) _must_check_;

int image_tag(struct store *s, const char *reference, const char *name,
              struct error *err) _must_check_;

/* Removes the name, or the image with force or when it was the last name. Layers no image needs go
 * too. ERROR_CONFLICT when an instance uses it (without force). *ret_done: what was untagged and
 * deleted, as lines ("Untagged: x", "Deleted: sha256:..."). */
int image_remove(struct store *s, const char *reference, bool force, char ***ret_done,
                 struct error *err) _must_check_;

/* Removes images without a name (all: without an instance). *ret_bytes: what was given back. */
int image_prune(struct store *s, bool all, char ***ret_done, uint64_t *ret_bytes,
                struct error *err) _must_check_;

/* Whether layers are mounted; a user's are unpacked into directories (unpack.c). */
bool image_layers_are_mounted(void);
/* Mounts the layers on the host, once for all containers: RUN/layers/<hex>, read-only, nosuid is
 * NOT set (images need setuid), nodev. Directly from the file where the kernel can, through a loop
 * device where not. Or unpacks them: ROOT/layers/<hex>.tree. Idempotent and safe against concurrent
 * callers. *ret_mounts (bottom first) is an owned vector. */
int image_mount_layers(struct store *s, const struct image *image, char ***ret_mounts,
                       struct error *err) _must_check_;
/* Unpacked layers are not removed while such a descriptor of one is open; owned. */
int image_layer_hold(const char *tree, int *ret_fd, struct error *err) _must_check_;
/* Unmounts layers that no instance runs on, or removes them where they are unpacked; lists nothing,
 * fails on nothing that is busy. */
int image_unmount_idle(struct store *s, struct error *err);

/* Removes leftovers of killed imports: ROOT/tmp entries whose owner is gone. */
int image_repair(struct store *s, struct error *err);

/* "name[:tag]" into canonical "repository:tag" (owned); -EINVAL with a message when malformed. */
int image_name_parse(const char *name, char **ret_canonical, struct error *err) _must_check_;
