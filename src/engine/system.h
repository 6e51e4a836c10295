/* The whole: info, prune, disk use, volumes with their users. */
#pragma once

#include <stdint.h>

#include "engine/engine.h"
#include "service/image/image.h"
#include "service/volume/volume.h"

struct system_info {
    char *root, *run, *version;
    size_t instances, running, paused, stopped, images, containers, machines;
    char *kernel, *os, *architecture, *hostname; /* of the host */
    uint32_t cpus;
    uint64_t memory_bytes;
    char *cgroup;      /* "v1", "v2", "hybrid" */
    char *accelerator; /* "kvm", "tcg", "none (QEMU is not installed)" */
    char *vm_kernel;   /* path or NULL */
    char **templates;  /* of machines: one line each */
    char **security;   /* "seccomp", "landlock", ... */
};
void system_info_done(struct system_info *i);
int engine_info(struct engine *e, struct system_info *ret, struct error *err) _must_check_;

struct image_usage {
    char *id;
    char **names;
    int64_t created_ns;
    uint64_t shared_bytes; /* in layers that other images have, too */
    uint64_t unique_bytes;
    size_t instances;
};
void image_usage_list_free(struct image_usage *list); /* ended by a NULL id; takes NULL */

struct system_usage {
    uint64_t images_bytes, images_reclaimable, instances_bytes, instances_reclaimable,
        volumes_bytes, volumes_reclaimable;
    size_t images, images_active, instances, instances_active, volumes, volumes_active;
    size_t snapshots, snapshots_active; /* the second: of instances that are there */
    uint64_t snapshots_bytes;           /* with what removed ones leave to those above them */
    size_t build_steps;                 /* that the build cache knows */
    uint64_t build_bytes;               /* that only it keeps; all reclaimable */
    struct image_usage *image_list;     /* owned */
};
int engine_usage(struct engine *e, struct system_usage *ret, struct error *err) _must_check_;

struct prune_options {
    bool instances, images, all_images, volumes, networks;
    bool build_cache; /* unless a build is running */
    bool prepared;    /* idle mounts and networks that are kept up for speed */
};
/* *ret_done: one line per thing removed; *ret_bytes: what was given back. */
int engine_prune(struct engine *e, const struct prune_options *o, char ***ret_done,
                 uint64_t *ret_bytes, struct error *err) _must_check_;

/* ERROR_CONFLICT naming the instance that uses it. */
int engine_volume_remove(struct engine *e, const char *name, bool force,
                         struct error *err) _must_check_;
/* ERROR_CONFLICT while instances are on it, running or not. */
int engine_network_remove(struct engine *e, const char *name, struct error *err) _must_check_;

/* Images, with the rule that an instance's image stays. Wraps service/image. */
int engine_image_remove(struct engine *e, const char *reference, bool force, char ***ret_done,
                        struct error *err) _must_check_;
