/*
 * Writes an EROFS file system (uncompressed) into a file, in one sequential pass.
 *
 * File contents go out from block 1 on as they arrive; the tree of names is kept in memory and goes
 * out at the end, the superblock last, so that a half-written file is never a file system. The same
 * calls give the same bytes.
 *
 * Inodes belong to the writer. A name that is removed loses its inode; the blocks of its contents
 * stay in the file unused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct erofs_writer;
struct erofs_inode;

#define EROFS_NAME_MAX   255u
#define EROFS_TARGET_MAX 4095u        /* bytes of a symlink's target */
#define EROFS_SIZE_MAX   (1ull << 44) /* bytes of one file */
#define EROFS_DEPTH_MAX  2048u        /* directories above one another */

struct erofs_limits {
    uint64_t file_bytes; /* of the file that is written */
    size_t memory_bytes; /* of names, inodes, xattrs and chunk maps in memory */
};

struct erofs_attributes {
    uint32_t mode; /* type and permission bits */
    uint32_t uid, gid;
    int64_t mtime; /* seconds */
    uint32_t mtime_ns;
    uint32_t major, minor; /* of device nodes */
};

/* fd: an empty regular file open for writing; stays the caller's. */
int erofs_writer_new(int fd, const struct erofs_limits *limits, struct erofs_writer **ret,
                     struct error *err) _must_check_;
void erofs_writer_free(struct erofs_writer *w); /* takes NULL */
DEFINE_CLEANUP(struct erofs_writer *, erofs_writer_free)
#define _cleanup_erofs_ _cleanup_(erofs_writer_free_cleanup)

/* The tree. Names are plain ones: not empty, no '/', not "." or "..". */
struct erofs_inode *erofs_root(struct erofs_writer *w);
struct erofs_inode *erofs_lookup(struct erofs_writer *w, const struct erofs_inode *dir,
                                 const char *name, size_t len);  /* NULL when absent */
struct erofs_inode *erofs_parent(const struct erofs_inode *dir); /* the root's is the root */
uint32_t erofs_mode(const struct erofs_inode *i);
bool erofs_is_directory(const struct erofs_inode *i);
bool erofs_is_symlink(const struct erofs_inode *i);
bool erofs_is_whiteout(const struct erofs_inode *i);         /* character device 0:0 */
const char *erofs_target(const struct erofs_inode *symlink); /* NUL-terminated */

/* Adds an empty inode under a name that must be free. */
int erofs_add(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len,
              const struct erofs_attributes *a, struct erofs_inode **ret,
              struct error *err) _must_check_;
/* One more name for an inode that is no directory. The name must be free. */
int erofs_link(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len,
               struct erofs_inode *inode, struct error *err) _must_check_;
/* Takes a name away, with all below it; absent is fine. */
void erofs_remove(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len);
/* Replaces owner, mode (not the type) and time. */
void erofs_set_attributes(struct erofs_inode *i, const struct erofs_attributes *a);
int erofs_set_target(struct erofs_writer *w, struct erofs_inode *symlink, const char *target,
                     struct error *err) _must_check_;

/* One attribute of a full name ("user.x"). -EOPNOTSUPP without message for a name EROFS has no
 * prefix for. A name that is there is replaced. Before the contents of a file are written. */
int erofs_xattr_set(struct erofs_writer *w, struct erofs_inode *i, const char *name,
                    const void *value, size_t len, struct error *err) _must_check_;

/*
 * Contents of one file at a time: begin, write in ascending order, end. Without `sparse` every byte
 * must come; with it what is left out reads as zeros and takes no room (in units of a chunk).
 */
int erofs_file_begin(struct erofs_writer *w, struct erofs_inode *i, uint64_t size, bool sparse,
                     struct error *err) _must_check_;
int erofs_file_write(struct erofs_writer *w, const void *data, size_t len, uint64_t offset,
                     struct error *err) _must_check_;
int erofs_file_end(struct erofs_writer *w, struct error *err) _must_check_;

/*
 * Where contents stand in the file that is written, so that they can be found there again without
 * reading the file system. While a file is being written: where its byte `offset`, which has come,
 * stands; gives how many of `len` bytes follow it there. A flat file's last incomplete block has
 * its place only when all is finished: erofs_tail.
 */
size_t erofs_file_where(const struct erofs_writer *w, uint64_t offset, size_t len,
                        uint64_t *ret_position);
struct erofs_tail {
    uint64_t position;
    const void
        *lost; /* not NULL: it is in no file, because the inode has no name; these are the bytes */
    uint32_t len;
};
/* After erofs_finish, of a flat file. */
struct erofs_tail erofs_tail(const struct erofs_writer *w, const struct erofs_inode *i);

struct erofs_result {
    uint64_t bytes;  /* of the file */
    uint64_t inodes; /* in it */
    /* Contents come before it; all that makes a file system of them, the superblock excepted, is
     * from here to the end. */
    uint64_t metadata;
};
int erofs_finish(struct erofs_writer *w, struct erofs_result *ret, struct error *err) _must_check_;
