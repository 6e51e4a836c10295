/* What the writer's files share. */
#pragma once

#include <sys/stat.h>

#include "wire/erofs/format.h"
#include "wire/erofs/writer.h"

#define EROFS_STREAM_BYTES   (1u << 20)        /* collected before a write; whole blocks */
#define EROFS_TAILS_BYTES    ((size_t)8 << 20) /* ends of files kept for inlining, in all */
#define EROFS_CHUNKS_MAX     65536u            /* entries of one file's chunk map */
#define EROFS_XATTR_BODY_MAX (12u + 4u * 65534u)
#define EROFS_META_BLOCKS    (1u << 20) /* 4 GiB of inodes, xattrs and maps */

struct erofs_name {
    struct erofs_name *next;  /* in the directory, newest first */
    struct erofs_name *chain; /* in the hash bucket */
    struct erofs_inode *dir;
    struct erofs_inode *inode; /* NULL: the name was removed */
    uint32_t hash;
    uint8_t len;
    char text[];
};

struct erofs_inode {
    uint64_t size;
    int64_t mtime;
    uint64_t nid; /* 0 until laid out */
    uint32_t uid, gid, mtime_ns, links;
    uint32_t where; /* as in the disk inode */
    uint16_t mode;
    uint8_t layout;
    uint32_t body_len; /* bytes behind inode and xattrs: tail, target, or chunk map */
    void *body;        /* of directories: unused, made when written */
    char *xattrs;      /* encoded, with header; NULL without */
    uint32_t xattrs_len;
    /* directories only */
    uint32_t depth;
    uint32_t n_sorted, last_block; /* last_block: first entry of the last directory block */
    struct erofs_inode *parent;
    struct erofs_name *names;   /* all ever added */
    struct erofs_name **sorted; /* once laid out; "." and ".." included */
};

/* Memory that lives as long as the writer, up to a maximum. */
struct erofs_arena {
    struct erofs_arena_chunk *chunks;
    char *next;
    size_t left, used, max;
};

struct erofs_writer {
    int fd;
    struct erofs_limits limits;
    struct erofs_arena memory, tails;
    struct erofs_inode *root;
    struct erofs_name **buckets;
    size_t n_buckets, n_names;
    uint64_t hash_key;

    /* the stream: bytes before `flushed` are in the file, `pending` of them wait in the buffer */
    char *buffer;
    size_t pending;
    uint64_t flushed;
    bool chunked;        /* some inode has a chunk map */
    uint64_t meta_start; /* position of the inodes, once laid out */

    /* the file whose contents are being written */
    struct erofs_inode *file;
    bool sparse;
    uint64_t written;     /* flat: bytes so far; sparse: the end of the last piece */
    uint64_t start;       /* flat: stream position of the first byte */
    uint64_t chunk_start; /* sparse: stream position of the current chunk */
    uint32_t chunk, n_chunks, chunk_bits;
    uint32_t *map;
};

/* NULL when the maximum is reached or memory is gone. Zeroed, aligned to 8. */
void *erofs_arena_get(struct erofs_arena *a, size_t size);
void erofs_arena_done(struct erofs_arena *a);
int erofs_no_memory(const struct erofs_writer *w, struct error *err);

static inline uint64_t erofs_position(const struct erofs_writer *w)
{
    return w->flushed + w->pending;
}
int erofs_stream(struct erofs_writer *w, const void *data, size_t len,
                 struct error *err) _must_check_;
/* Zeros up to a position; long runs become holes of the file. */
int erofs_stream_to(struct erofs_writer *w, uint64_t position, struct error *err) _must_check_;
int erofs_stream_flush(struct erofs_writer *w, struct error *err) _must_check_;

/* xattr.c: what the names of an index begin with (NULL: none is known), and an entry's length. */
const char *erofs_xattr_prefix(uint8_t index);
size_t erofs_xattr_bytes(const struct erofs_disk_xattr *e);

/* A directory on disk (directory.c): its entries in order, its size, its blocks. */
int erofs_directory_sort(struct erofs_writer *w, struct erofs_inode *dir,
                         struct error *err) _must_check_;
void erofs_directory_measure(struct erofs_inode *dir);
/* Encodes the block that begins with entry `first`; gives the entry after it. */
uint32_t erofs_directory_block(const struct erofs_inode *dir, uint32_t first, char *block,
                               uint32_t *ret_used);
