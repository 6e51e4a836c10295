/*
 * The split of a layer: what is needed, beside its EROFS file, to give back the tar it came from,
 * byte for byte. The contents of files stand in the EROFS file as they are; the rest of the tar
 * (headers, padding, whatever an archiver may write) is kept here, compressed. Which program wrote
 * the tar does not matter: what is not recognised is kept literally.
 *
 * The file: a head (struct split_head), then two zstd frames.
 *   recipe   operations in the order of the tar: a number whose two low bits are the operation and
 *            whose rest is how many bytes of the tar it makes, then
 *              LITERAL  the bytes
 *              ZEROS    nothing
 *              COPY     where they stand in the EROFS file, counted from the end of the last COPY
 *              TAIL     which tail, counted from the last one named, and where in it they begin
 *   tails    ends of files stand where only the finished file system says. For each: a number whose
 *            low bit says LOST; without it the rest is where it stands, counted from the last one;
 *            with it the rest is a length, and the bytes follow (a file whose name was taken by a
 *            later entry of the archive is in no file system).
 * Numbers are little-endian base 128; those counted from something else are zigzag.
 *
 * The head is written last, so that half a split is none. It also has checksums (CRC-64) of the
 * frames and of all that is in the EROFS file and is not the contents of files, so that both files
 * together can be verified to the last byte: the contents by giving the tar back and computing its
 * digest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SPLIT_MAGIC   0x544c5053u /* "SPLT" */
#define SPLIT_VERSION 1u
#define SPLIT_WINDOW  20u /* log 2 of what the reader's zstd looks back over */

struct split_head {
    uint32_t magic, version;
    uint64_t tar_bytes;
    uint64_t erofs_bytes;
    uint64_t recipe_bytes, tails_bytes; /* of the frames, which follow one another */
    uint64_t tails;
    uint64_t metadata;     /* from where on the EROFS file is not the contents of files */
    uint64_t metadata_crc; /* of block 0 and of that */
    uint64_t frames_crc;
};
_Static_assert(sizeof(struct split_head) == 72, "head of a split");

enum split_operation {
    SPLIT_LITERAL,
    SPLIT_ZEROS,
    SPLIT_COPY,
    SPLIT_TAIL,
};

/*
 * Recording. The tar's bytes are given as they are read; of some of them it is said later where
 * else they stand. What is said need not be right: bytes that are not those at that place of the
 * tar are not taken for it.
 */
struct split_recorder;

/* fd: an empty regular file; stays the caller's. */
int split_recorder_new(int fd, struct split_recorder **ret, struct error *err) _must_check_;
void split_recorder_free(struct split_recorder *r); /* takes NULL */

/* The next bytes, which must stay until split_settle: nothing will be said any more of what stands
 * before `settled`, and what does stand behind it is copied. */
int split_settle(struct split_recorder *r, uint64_t settled, struct error *err) _must_check_;
void split_bytes(struct split_recorder *r, const void *data, size_t len);
/* The tar has `data` at `at`; so has the EROFS file at `position`, or the tail of that number at
 * `offset`. In ascending order of `at`. */
int split_copy(struct split_recorder *r, uint64_t at, const void *data, size_t len,
               uint64_t position, struct error *err) _must_check_;
int split_tail(struct split_recorder *r, uint64_t at, const void *data, size_t len, uint64_t number,
               uint64_t offset, struct error *err) _must_check_;

/* All bytes have come. Then each tail in the order of its number, then the head. */
int split_end_recipe(struct split_recorder *r, struct error *err) _must_check_;
int split_add_tail(struct split_recorder *r, uint64_t position, struct error *err) _must_check_;
int split_add_lost_tail(struct split_recorder *r, const void *data, size_t len,
                        struct error *err) _must_check_;
int split_finish(struct split_recorder *r, int erofs_fd, uint64_t erofs_bytes, uint64_t metadata,
                 struct error *err) _must_check_;

/* Compares both files with the checksums in the head. */
int split_verify(const struct split_head *h, int split_fd, int erofs_fd,
                 struct error *err) _must_check_;

/* Giving the tar back: write() is called with its bytes in order. Any bytes may be in the files; no
 * more than most_bytes come out, and no fewer than the head says without an error. */
struct split_source {
    int split_fd, erofs_fd;
    uint64_t most_bytes;
    int (*write)(void *context, const void *data, size_t len, struct error *err);
    void *context;
};
int split_play(const struct split_source *source, struct split_head *ret,
               struct error *err) _must_check_;
