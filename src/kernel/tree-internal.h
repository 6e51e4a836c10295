/* What the files that send a tree share. */
#pragma once

#include <sys/stat.h>

#include "base/buf.h"
#include "kernel/tree.h"
#include "kernel/tree_links.h"
#include "wire/tar/tar.h"

/* The attributes of an open file or directory that belong into an archive: its own, file
 * capabilities and access lists; and what an overlay has noted on it. */
struct tree_xattrs {
    struct tar_xattr *list;
    size_t n;
    char *names, *values;
    bool opaque;   /* an overlay's directory hides what is below it */
    bool redirect; /* its contents are elsewhere in the layers below */
};
int tree_xattrs_read(int fd, struct tree_xattrs *ret) _must_check_;
void tree_xattrs_done(struct tree_xattrs *x);

/* The pieces of an open file that are not holes. */
struct tree_pieces {
    struct tree_piece {
        uint64_t at, len;
    } * list;
    size_t n;
    uint64_t bytes; /* of all */
};
#define TREE_MAX_PIECES ((size_t)65536)
/* 1 when the file has holes worth leaving out, 0 when not (ret is empty then). */
int tree_pieces_find(int fd, uint64_t size, struct tree_pieces *ret) _must_check_;
/* The map that stands before them in the archive. */
int tree_pieces_map(const struct tree_pieces *p, struct buf *out) _must_check_;
void tree_pieces_done(struct tree_pieces *p);
