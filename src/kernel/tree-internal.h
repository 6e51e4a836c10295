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
bool tree_xattr_is_kept(const char *name);
/* What the names of an overlay's own attributes begin with, as this process makes overlays
 * (kernel/overlay.c). */
const char *tree_overlay_prefix(void);

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

/* --- tree_emit.c: the entries of a walk --- */

#define TREE_WHITEOUT ".wh." /* what a layer hides, by an empty file's name */
#define TREE_OPAQUE   ".wh..wh..opq"

/* The path is the walker's: what it puts is named so. Set what is wanted after the init. */
struct tree_writer {
    int out_fd;
    struct buf out;  /* bytes not yet written */
    struct buf path; /* the current entry's name */
    struct tree_links links;
    bool attributes; /* extended ones, too */
    bool layer;      /* what only an overlay understands is refused */
    bool sparse;     /* holes are left out; where they are is the file system's choice */
    bool empty;      /* no contents */
    bool still;      /* nobody changes the tree: a file that is shorter than it said is an error */
    int64_t newest_ns; /* later times become this; INT64_MAX: none does */
    bool opaque;       /* of the directory that was put last */
};
void tree_writer_init(struct tree_writer *w, int out_fd);
void tree_writer_done(struct tree_writer *w);
int tree_writer_end(struct tree_writer *w, struct error *err) _must_check_;
/* The attributes of w->path, which fd is: sorted; none unless asked for. */
int tree_writer_xattrs(struct tree_writer *w, int fd, struct tree_xattrs *ret,
                       struct error *err) _must_check_;

/* Refuses a file whose own name would hide another one when the layer is read. */
int tree_check_name(const struct tree_writer *w, const char *name, struct error *err) _must_check_;

/* All of them -ENOENT when it is gone or something else than st said. Not for directories. */
int tree_put(struct tree_writer *w, int dirfd, const char *name, const struct stat *st,
             struct error *err) _must_check_;
/* An open regular file; a device or FIFO, which is not opened (a socket is left out). */
int tree_put_opened(struct tree_writer *w, int fd, struct error *err) _must_check_;
int tree_put_special(struct tree_writer *w, const struct stat *st, struct error *err) _must_check_;
int tree_put_directory(struct tree_writer *w, int fd, const struct stat *st,
                       struct error *err) _must_check_;
/* An empty file whose name says what a layer hides. */
int tree_put_mark(struct tree_writer *w, const char *path, struct error *err) _must_check_;
