/*
 * The messages of CRIU's worker, `criu swrk`: protocol buffers, one to a packet of a SOCK_SEQPACKET
 * socket (CRIU's own description: criu.org/RPC). Only what is asked for here is known; whatever
 * else an answer holds is skipped.
 *
 * The worker is asked once. Until its answer it may send any number of notifications, each of which
 * waits for criu_reply_encode's bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define CRIU_MESSAGE_MAX ((size_t)1 << 20)

enum criu_type {
    CRIU_DUMP = 1,
    CRIU_RESTORE = 2,
    CRIU_NOTIFY = 6,
    CRIU_VERSION = 10,  /* nothing else of the request counts */
    CRIU_PRE_DUMP = 13, /* one, and the worker ends */
};

enum criu_cgroups {
    CRIU_CGROUPS_IGNORE = 0,
    CRIU_CGROUPS_SOFT = 3,
    CRIU_CGROUPS_FULL = 4,
    CRIU_CGROUPS_STRICT = 5,
};

/* The number of a descriptor in the worker, for what the image calls key. */
struct criu_inherited {
    char *key;
    int fd;
};
/* A controller and the group in it that takes the place of the root that the image has. */
struct criu_group {
    const char *controller, *path;
};
/* A namespace to enter in the place of one in the image: "uts" and a file. */
struct criu_join {
    const char *name, *file;
};

/* Strings are borrowed, vectors NULL-terminated; NULL leaves out, as do false and a descriptor
 * below 0. images_fd and work_fd are descriptors of the process that made the socket: the worker
 * opens them through /proc. */
struct criu_request {
    enum criu_type type;
    int images_fd, work_fd;
    pid_t pid; /* 0: none */
    const char *log_file, *root, *parent, *freezer, *lsm_profile, *lsm_mount_context;
    bool leave_running, external_sockets, tcp_established, tcp_skip_in_flight, shell_job,
        file_locks;
    bool track_memory, auto_dedup, sibling, orphan_terminal, evasive_devices;
    enum criu_cgroups cgroups;
    uint32_t empty_namespaces; /* CLONE_NEW* */
    char *const *external;     /* "mnt[/data]:/data", "net[4026532]:name", "file[1b:20]" */
    const struct criu_inherited *inherited;
    size_t n_inherited;
    const struct criu_group *groups;
    size_t n_groups;
    const struct criu_join *joins;
    size_t n_joins;
};

/* Appends the bytes of the request. */
int criu_request_encode(const struct criu_request *r, struct buf *out) _must_check_;
/* The answer to a notification: go on, or give up. */
int criu_reply_encode(bool success, struct buf *out) _must_check_;

struct criu_answer {
    uint32_t type;
    bool success;
    int32_t pid;    /* of the restored process; of what a notification is about; 0: not told */
    int32_t errnum; /* 0: not told */
    uint32_t major, minor; /* of the version that was asked for */
    char script[64];       /* what a notification tells: "post-restore" */
    char complaint[256];   /* what went wrong, from a CRIU that says so; "" */
};

/* -EPROTO for what is no answer. */
int criu_answer_decode(const void *data, size_t len, struct criu_answer *ret) _must_check_;
