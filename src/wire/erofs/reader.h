/*
 * Reads an EROFS file system as the writer makes it: uncompressed, extended inodes, attributes
 * behind the inode, files and directories in consecutive blocks, with a part behind the inode, or
 * in chunks. Anything else is ERROR_UNSUPPORTED.
 *
 * Every number of the file is taken to be hostile: nothing is read outside of it, and nothing is
 * allocated that is larger than the file or EROFS_LIST_MAX. That a directory does not contain
 * itself is the walker's to see to, by its depth.
 */
#pragma once

#include "wire/erofs/writer.h"

#define EROFS_LIST_MAX ((uint64_t)256 << 20) /* bytes of one directory */

struct erofs_reader {
    int fd; /* the caller's */
    uint64_t bytes, meta_start, root_nid;
};

struct erofs_node {
    struct erofs_attributes attributes;
    uint64_t nid, size;
    uint32_t links;
    /* where its parts are */
    uint32_t layout, where, xattr_bytes;
    uint64_t behind; /* position of what stands behind inode and attributes */
};

/* bytes: the file's size. */
int erofs_reader_open(int fd, uint64_t bytes, struct erofs_reader *ret,
                      struct error *err) _must_check_;
int erofs_node_read(const struct erofs_reader *r, uint64_t nid, struct erofs_node *ret,
                    struct error *err) _must_check_;

/* len bytes of a file's, link's or directory's contents from offset on, all within its size. Holes
 * are zeros. */
int erofs_node_contents(const struct erofs_reader *r, const struct erofs_node *n, uint64_t offset,
                        void *to, size_t len, struct error *err) _must_check_;

/* The names in a directory but "." and "..": plain ones, each ended by NUL. On failure of visit
 * that is the result. */
typedef int erofs_visit_name(void *context, const char *name, uint64_t nid, struct error *err);
int erofs_node_list(const struct erofs_reader *r, const struct erofs_node *dir,
                    erofs_visit_name *visit, void *context, struct error *err) _must_check_;

/* The attributes by their full names. */
typedef int erofs_visit_xattr(void *context, const char *name, const void *value, size_t len,
                              struct error *err);
int erofs_node_xattrs(const struct erofs_reader *r, const struct erofs_node *n,
                      erofs_visit_xattr *visit, void *context, struct error *err) _must_check_;
