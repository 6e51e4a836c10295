/*
 * What of a container is not its own, and CRIU is told so by a key that the image keeps: mounts
 * that show something of the host, namespaces joined by path, and the standard descriptors. The
 * same configuration gives the same keys at a checkpoint and at a restore.
 */
#pragma once

#include <jansson.h>

#include "runtime/oci/container.h"
#include "runtime/oci/criu/worker.h"

/* checkpoint.c: the directory of an image or of a log, made where it is not there; path may be
 * NULL.
 */
int oci_image_make(const char *path, struct error *err) _must_check_;
int oci_image_open(const char *path, int *ret, struct error *err) _must_check_;
/* CRIU's processes read an image when they are in the container's user namespace already: its root
 * may enter the directory. Nothing else changes for anybody. */
int oci_image_admit(const struct oci_config *config, int image, struct error *err) _must_check_;

/* mounts.c: adds "mnt[KEY]:…" to *external. */
int criu_mounts_of(const struct oci_container *c, char ***external, struct error *err) _must_check_;
/* What the keys are restored from. rootfd is the root before anything is mounted in it. */
int criu_mounts_for(const struct oci_container *c, const struct cgroup *group, int rootfd,
                    char ***external, struct error *err) _must_check_;

/* namespaces.c: adds "net[INODE]:…" to *external. */
int criu_namespaces_of(const struct oci_container *c, char ***external,
                       struct error *err) _must_check_;

/* What a restore gives to the worker: descriptors with their keys, and namespaces to join. */
struct criu_given {
    int fds[CRIU_MAX_GIVEN]; /* owned */
    size_t n_fds;
    struct criu_inherited inherited[CRIU_MAX_GIVEN]; /* keys are owned */
    size_t n_inherited;
    struct criu_join joins[CRIU_MAX_GIVEN]; /* borrowed from the configuration */
    size_t n_joins;
    char *terminal; /* what the first process's standard input was, when that was a terminal */
};
void criu_given_done(struct criu_given *g);
#define _cleanup_criu_given_ _cleanup_(criu_given_done)

int criu_namespaces_for(const struct oci_container *c, struct criu_given *g,
                        struct error *err) _must_check_;

/* descriptors.c: writes descriptors.json into the image, and adds "file[MOUNT:INODE]" of files of
 * the host to *external. */
int criu_descriptors_of(const struct oci_container *c, int image, char ***external,
                        struct error *err) _must_check_;
/* Reads it; the caller's own standard descriptors take the places. */
int criu_descriptors_for(int image, struct criu_given *g, struct error *err) _must_check_;
