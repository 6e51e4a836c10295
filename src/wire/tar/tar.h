/*
 * Tar streams: POSIX ustar with pax records for what does not fit, as a pure codec. Nothing here
 * opens, reads or writes: the writer appends headers to a buffer, the reader is fed bytes and gives
 * back events. It is the form of `cp` in both directions, for both kinds.
 *
 * Everything a stream can size has a bound: a path TAR_MAX_PATH, a pax header TAR_MAX_META. File
 * contents are never collected; they are passed through in the pieces that were fed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define TAR_BLOCK_SIZE 512
#define TAR_MAX_PATH   ((size_t)16384)
#define TAR_MAX_META   ((size_t)262144)
#define TAR_MAX_XATTRS ((size_t)64) /* of one entry; more are passed over */

enum tar_type {
    TAR_FILE,
    TAR_HARDLINK,
    TAR_SYMLINK,
    TAR_CHAR,
    TAR_BLOCK,
    TAR_DIRECTORY,
    TAR_FIFO,
};

struct tar_xattr {
    const char *name; /* the full one: "user.x" */
    const void *value;
    size_t len;
};

struct tar_entry {
    enum tar_type type;
    const char *path; /* borrowed; as in the stream: may be absolute or hold "..", check it */
    const char *link; /* target of a link, else "" */
    uint32_t mode;    /* permission bits, setuid, setgid and sticky included */
    uint32_t uid, gid;
    uint64_t size; /* of the contents that follow; 0 for all but TAR_FILE */
    int64_t mtime; /* seconds since 1970 */
    uint32_t mtime_ns;
    uint32_t major, minor; /* devices */
    /* Pax records, as GNU tar and Docker have them. Read ones live as long as the strings. */
    const struct tar_xattr *xattrs;
    size_t n_xattrs;
    /* Writing only. With a sparse file the contents begin with a map (GNU's format 1.0): how many
     * pieces there are, then where each begins and how long it is, a number a line, filled with
     * zeros to a whole block. size counts the map and the pieces, real_size what the file has. */
    bool sparse;
    uint64_t real_size;
};

/* Appends the header(s) of one entry. The caller then adds entry->size bytes of contents and
 * tar_padding(size) zeros. -ENAMETOOLONG for a path or link over TAR_MAX_PATH, -EFBIG for
 * attributes over TAR_MAX_META in all. */
int tar_write_header(struct buf *out, const struct tar_entry *entry) _must_check_;
/* Appends the two blocks that end a stream. */
int tar_write_end(struct buf *out) _must_check_;

static inline size_t tar_padding(uint64_t size)
{
    return (size_t)(-size & (TAR_BLOCK_SIZE - 1));
}

enum tar_event_kind {
    TAR_EVENT_MORE,      /* all bytes were taken; feed the next */
    TAR_EVENT_ENTRY,     /* ret->entry; its strings live until the next TAR_EVENT_ENTRY */
    TAR_EVENT_DATA,      /* ret->data[0..len) of the current file, pointing into what was fed */
    TAR_EVENT_ENTRY_END, /* the current entry is complete (follows every ENTRY) */
    TAR_EVENT_END,       /* the stream has ended; what follows is not looked at */
};

struct tar_event {
    enum tar_event_kind kind;
    struct tar_entry entry;
    const unsigned char *data;
    size_t len;
};

struct tar_reader {
    int state;
    unsigned char block[TAR_BLOCK_SIZE]; /* the header being collected */
    size_t have;                         /* bytes of it */
    uint64_t left;                       /* contents or meta bytes still to come */
    size_t padding;                      /* bytes to skip after them */
    char meta_type;                      /* what is collected in meta: x, g, L or K */
    struct buf meta;
    struct buf path, link; /* from pax or GNU long names; used when has_* */
    struct buf attributes; /* names, each ended by NUL, and values of the next entry's */
    struct tar_xattr xattrs[TAR_MAX_XATTRS];
    size_t value_at[TAR_MAX_XATTRS], n_xattrs;
    bool has_path, has_link, has_size, has_uid, has_gid, has_mtime, sparse;
    uint64_t size;
    uint32_t uid, gid;
    int64_t mtime;
    uint32_t mtime_ns;
};

void tar_reader_init(struct tar_reader *r);
void tar_reader_done(struct tar_reader *r);

/* Takes bytes from *data and *len (both are moved on) up to the next event. ERROR_CORRUPT for what
 * is no tar stream, ERROR_UNSUPPORTED for sparse files, ERROR_LIMIT past a bound. */
int tar_reader_next(struct tar_reader *r, const unsigned char **data, size_t *len,
                    struct tar_event *ret, struct error *err) _must_check_;

/* At the end of the input: ERROR_CORRUPT when the stream was cut off. */
int tar_reader_finish(const struct tar_reader *r, struct error *err) _must_check_;
