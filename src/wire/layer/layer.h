/*
 * A layer archive (tar, possibly compressed) becomes an EROFS file.
 *
 * The archive is hostile until its digest is known, and its maker may be hostile even then: every
 * path is resolved in the tree that the archive itself has built so far, never in a file system.
 */
#pragma once

#include "wire/layer/sink.h"
#include "wire/layer/stream.h"

#define LAYER_MAX_BYTES    ((uint64_t)64 << 30) /* default for the uncompressed archive */
#define LAYER_MAX_ENTRIES  2000000u
#define LAYER_MEMORY_BYTES ((size_t)1 << 30) /* for names, inodes and attributes */
#define LAYER_PATH_MAX     4095u
#define LAYER_LINKS_MAX    40u /* symlinks followed for one path */

struct layer_result {
    struct layer_digests digests;
    uint64_t erofs_bytes, inodes, entries;
};

struct layer_target {
    int erofs_fd; /* an empty regular file, readable when there is a split */
    int split_fd; /* another one for what gives the tar back (split.h), or -EBADF */
    /* Whoever knows no digest to check must be told of a missing end: an uncompressed archive
     * without its closing zeros is refused. */
    bool need_end;
};
int layer_convert(const struct layer_source *source, const struct layer_target *to,
                  struct layer_result *ret, struct error *err) _must_check_;

/* The tar that was converted, byte for byte. Whoever asks must compare ret->plain. */
struct layer_back {
    int split_fd, erofs_fd;
    int out_fd; /* -EBADF: only the digest is wanted */
    enum sink_compression compression;
    uint64_t max_bytes;
    bool verify; /* also what of the EROFS file is not in the tar */
};
int layer_tar(const struct layer_back *how, struct layer_sink_result *ret,
              struct error *err) _must_check_;

/*
 * Reads an archive of files (docker save, an OCI layout) and puts the contents of its regular
 * members one after another into spool_fd; with in_place, when the archive is an uncompressed
 * regular file, it leaves them where they are. *ret_json (owned): {"members":[{"name","offset",
 * "size","digest" when at most 8 MiB} or {"name","link"}],"in_place"}: offset is then the file's.
 * Names are as in the archive, normalised by text, without a leading slash; a link's target
 * likewise, relative to the archive's top.
 */
#define LAYER_MAX_MEMBERS 65536u
int layer_index(const struct layer_source *source, int spool_fd, bool in_place, char **ret_json,
                struct error *err) _must_check_;

/* The digest of a source's bytes as they are. */
int layer_digest(const struct layer_source *source, char ret_digest[static LAYER_DIGEST_SIZE],
                 uint64_t *ret_bytes, struct error *err) _must_check_;
