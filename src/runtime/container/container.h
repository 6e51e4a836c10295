/*
 * The container runtime: what stands beside container_ops and container_start (runtime/runtime.h).
 */
#pragma once

#include <signal.h>

#include "runtime/bundle.h"
#include "runtime/runtime.h"

struct oci_config;
struct oci_state;
struct scope_name;

/* What the OCI runtime command line asks for beyond struct runtime_start. All borrowed. */
struct container_oci {
    struct oci_config *config;      /* parsed already: the bundle's own is not read again */
    const char *cgroup_path;        /* below the hierarchies; NULL: none is made */
    const struct scope_name *scope; /* what systemd makes it as; NULL: made by ourselves */
    const char *filter_cache;       /* directory of compiled seccomp filters; NULL: none */
    const struct oci_state *state;  /* for hooks that run inside, which add status and pid */
    unsigned int preserve_fds;      /* descriptors from 3 on that stay open in the workload */
    bool keyring;                   /* a session keyring of its own */
    bool pivot;                     /* false: the root is moved and entered by chroot (a ramdisk) */
    void *context;
    /* Called in the caller's own namespaces when the container's mounts stand; may be NULL. */
    int (*environment)(void *context, pid_t pid, struct error *err);
};

/* container_start in two steps, as the OCI runtime command line has them. container_create leaves
 * the first process set up and waiting on RUN_DIR/init.sock; container_release lets it execute and
 * gives the error when it cannot. */
int container_create(const struct runtime_start *s, struct runtime_started *ret,
                     struct error *err) _must_check_;
/* Given the listener of a seccomp filter that notifies, before the workload executes; fd is
 * borrowed. */
typedef int container_listener(void *context, pid_t pid, int fd, struct error *err);
int container_release(const char *run_dir, container_listener *listener, void *context,
                      struct error *err) _must_check_;
bool container_is_held(const char *run_dir); /* created and not yet released */

/* The root file system of a container that does not run, for cp and diff. *ret_rootfd is owned and
 * refers to a mount that is attached nowhere: it vanishes with the descriptor. Needs a bundle with
 * layers. */
int container_mount_root(const struct bundle *b, int *ret_rootfd, struct error *err) _must_check_;

/* remake.c, for a container that is restored from an image: its control group with the limits of
 * the configuration, which a scope's keeper holds while nothing else is in it; and what its mounts
 * are to lie on, made in the root where it is not there. */
struct container_keeper {
    pid_t pid;
    int channel;
};
#define CONTAINER_KEEPER_INIT                                                                      \
    {                                                                                              \
        0, -EBADF                                                                                  \
    }
void container_keeper_done(struct container_keeper *k);
struct cgroup;
int container_make_group(const struct container_oci *oci, const char *id, struct cgroup *ret,
                         struct container_keeper *keeper, struct error *err) _must_check_;
int container_make_places(const struct oci_config *config, const char *bundle, int root,
                          struct error *err) _must_check_;

/* Where the control group of an instance is, below its hierarchies: owned. */
char *container_cgroup_path(const struct oci_config *config, const char *id);

/* The mount options that are no file system's own, for `features`: a vector to be freed, its
 * strings borrowed. */
char **container_mount_words(void);
