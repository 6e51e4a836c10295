/* Shared by tree_receive.c and tree_stack.c: what a stream's extraction knows of where it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/error.h"
#include "wire/tar/tar.h"

struct attributes {
    bool set;
    uint32_t mode, uid, gid;
    struct timespec times[2];
};

struct level {
    int fd;
    char *name;
    struct attributes attributes;
};

struct receiver {
    int base;       /* where the stream is extracted */
    char *rename;   /* what the single top entry is called; NULL: names are kept */
    char *top;      /* the stream's first top name, once known ("." for contents) */
    char *wanted;   /* the only top name that it may have; NULL: any */
    bool directory; /* the path ended with "/": the top entry must be a directory */
    bool owned;     /* for tree_receive_owned */
    bool layer;     /* for tree_receive_layer */
    uid_t uid;
    gid_t gid;
    struct level *levels;
    size_t depth;
    int file; /* being written */
    char *file_name;
    uint64_t offset;
    struct attributes file_attributes;
    struct tar_entry file_entry;
};

/* tree_stack.c */
int receiver_apply(int fd, const struct attributes *a) _must_check_; /* -errno */
struct attributes receiver_attributes(const struct receiver *r, const struct tar_entry *e);
/* A layer's: the attributes that it may bring, and what its overlay is to know; nothing otherwise.
 */
int receiver_set_xattrs(const struct receiver *r, int fd, const struct tar_entry *e,
                        struct error *err) _must_check_;
/* The directory that is filled, as the stream's own entry says. */
int receiver_set_root(const struct receiver *r, const struct tar_entry *e,
                      struct error *err) _must_check_;
int receiver_top(const struct receiver *r); /* the directory that entries go to now */
/* Closes levels until `down_to` are left; each gets its attributes. */
int receiver_leave(struct receiver *r, size_t down_to, struct error *err);
int receiver_open(struct receiver *r, const char *name, bool make, struct error *err) _must_check_;
/* Makes the stack hold exactly parts[0..n). */
int receiver_enter(struct receiver *r, char *const *parts, size_t n,
                   struct error *err) _must_check_;
/* A name of the stream as parts (owned), with the top renamed. No parts: the extraction directory.
 */
int receiver_parts(struct receiver *r, const char *path, char ***ret,
                   struct error *err) _must_check_;
