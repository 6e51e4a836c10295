/*
 * What COPY and ADD copy, as a list: found and described first (and digested where the contents are
 * to be part of a key), written as a layer later. What has changed in between is refused.
 */
#pragma once

#include <sys/stat.h>

#include "base/sha256.h"
#include "engine/build-internal.h"

#define BUILD_ENTRIES_MAX 1000000u

struct build_entry {
    char *source; /* below the root it comes from */
    char *target; /* below the destination; "" is the destination itself */
    char *link;   /* of a symbolic link */
    char *text;   /* the contents themselves (a here-document); NULL: in the file */
    struct stat st;
    unsigned char digest[SHA256_SIZE]; /* of a regular file of the context */
};

struct build_entries {
    struct build_entry *list; /* a directory before what is in it; names sorted */
    size_t n, room;
};
void build_entries_done(struct build_entries *e);

struct build_walk {
    struct build *b;
    int root;                  /* the tree's top */
    bool context;              /* .dockerignore and the digests of files are for the context only */
    struct store_files *files; /* of the context: known digests; NULL otherwise */
    struct build_entries *to;
    unsigned int depth;
};

/* The paths that a source means: itself, or what its pattern matches, sorted. Owned. */
int build_sources_find(const struct build_walk *w, const char *source, char ***ret,
                       struct error *err) _must_check_;
/* Adds what is at source; a link there is followed, one below is not. A directory brings its
 * contents. target: the name it gets; a directory's contents go below it. -ENOENT when it is left
 * out by .dockerignore. */
int build_entries_add(struct build_walk *w, const char *source, const char *target,
                      struct error *err) _must_check_;
/* A file whose contents are text. */
int build_entries_add_text(struct build_walk *w, const char *target, const char *text,
                           struct error *err) _must_check_;
void build_entries_digest(const struct build_entries *e, bool owners, struct sha256 *h);

/* build-tar.c: a layer that brings entries to one destination. */
struct build_item {
    int root;     /* what sources are relative to; owned */
    bool foreign; /* of a stage, an image or an archive: owners and attributes are kept */
    struct build_entries entries;
};

struct build_layer {
    struct build_stage *stage; /* its root is open */
    char *destination;         /* resolved, "" for "/" */
    struct build_item *items;
    size_t n_items;
    bool has_owner, has_mode;
    uint32_t uid, gid, mode;
};
void build_layer_done(struct build_layer *l);
/* What the path is in the image, its links followed as far as it exists. *ret is owned. */
int build_resolve(struct build_stage *s, const char *path, char **ret,
                  struct error *err) _must_check_;
/* Makes the layer, and adds it to the stage. */
int build_layer_make(struct build_layer *l, const struct build_key *key, const char *created_by,
                     struct error *err) _must_check_;
