/* What the files of this folder share. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/json.h"
#include "service/image/image.h"
#include "service/image/work.h"
#include "service/store/image.h"
#include "wire/image/config.h"

/* Removes files that no row names; the caller holds no transaction (repair.c). */
int image_remove_orphans(struct store *s, struct error *err) _must_check_;

/* Whether there is ROOT/blobs/sha512: only a registry that serves this store makes it. */
bool image_has_sha512(const struct store *s);

#define IMAGE_TREE                                                                                 \
    ".tree" /* what the directory of an unpacked layer's name ends with (unpack.c)                 \
             */
/* Makes ROOT/layers/HEX.tree of a layer's file, unless it is there. */
int image_unpack_layer(struct store *s, const char *hex, const char *file,
                       struct error *err) _must_check_;
/* The same of any such file: a new directory `name` in parent. What a failure leaves is the
 * caller's to remove. */
int image_unpack(const char *file, int parent, const char *name, struct error *err) _must_check_;
/* -EBUSY while it is used. */
int image_remove_tree(struct store *s, const char *hex);

/* The program proa-layer (helper.c). */
struct image_helper {
    const char *command; /* "convert", "tar", "index", "digest" */
    int in, out;         /* out: -EBADF when the command has none */
    bool has_split;      /* for convert and tar: */
    int split;
    const char *compress; /* for tar; NULL: not */
    bool ranged, need_end, verify, in_place;
    bool follows; /* the range is still being written: `follow` wakes (wire/layer/stream.h) */
    int follow;
    uint64_t offset, size;
    uint64_t max_bytes; /* uncompressed; 0: proa-layer's own limit */
    void (*progress)(void *context, uint64_t bytes_read);
    void *context;
};
/* Runs it to the end; *ret is the JSON it printed. */
int image_helper_run(const struct image_helper *h, json_t **ret, struct error *err) _must_check_;
/* The same without waiting for it: for a loop that has several. */
struct image_helper_child {
    pid_t pid;          /* 0: none */
    int out_fd, err_fd; /* readable when image_helper_read has something to do */
    struct buf out, err;
};
#define IMAGE_HELPER_CHILD_INIT                                                                    \
    {                                                                                              \
        0, -EBADF, -EBADF, BUF_INIT(JSON_MAX_BYTES), BUF_INIT(16384)                               \
    }
int image_helper_start(const struct image_helper *h, struct image_helper_child *ret,
                       struct error *err) _must_check_;
/* Takes what is there, without blocking; 1 when it has ended. */
int image_helper_read(struct image_helper_child *c, struct error *err) _must_check_;
/* After it has ended, as image_helper_run. The child is as new afterwards. */
int image_helper_finish(struct image_helper_child *c, json_t **ret, struct error *err) _must_check_;
void image_helper_abandon(struct image_helper_child *c); /* ends it when there is one */
/* "sha256:..." of a small text; owned. */
char *image_text_digest(const char *text, size_t len);

/* An image that is complete in a work directory and becomes visible at once (publish.c). */
struct image_draft {
    struct store_image row;
    struct image_work
        *work; /* holds HEX.erofs and HEX.split for each new layer, and blobs by HEX */
    /* More rows, in the transaction that adds the image's; may be NULL. */
    int (*more_rows)(struct image_draft *d, void *context, struct error *err);
    void *context;
};
void image_draft_done(struct image_draft *d);
/* Converts an archive into the work directory and adds it as the next layer. expected NULL, or what
 * the configuration says. expected_archive NULL, or the manifest's digest of the compressed bytes.
 */
int image_draft_layer(struct image_draft *d, const struct image_helper *source,
                      const char *expected, const char *expected_archive,
                      struct error *err) _must_check_;
/* A layer that the store has; *ret_known says whether. */
int image_draft_known(struct image_draft *d, const char *diff_id, bool *ret_known,
                      struct error *err) _must_check_;
/* The next layer, whose HEX.erofs is in the work directory. */
void image_draft_add(struct image_draft *d, const struct store_layer *l);
/* What the configuration says goes into the row, and itself into the work directory; *ret_diff_ids
 * is owned. n_layers: as many as the manifest has. */
int image_draft_config(struct image_draft *d, const char *digest, const char *text, size_t len,
                       size_t n_layers, char ***ret_diff_ids, struct error *err) _must_check_;
int image_draft_blob(struct image_draft *d, const char *digest, const char *text, size_t len,
                     struct error *err) _must_check_;
int image_draft_publish(struct image_draft *d, struct error *err) _must_check_;
/* What proa-layer printed, against what was expected (NULL: anything); ret->diff_id is owned. */
int image_check_layer(const json_t *result, const char *expected, const char *expected_archive,
                      struct store_layer *ret, struct error *err) _must_check_;
/* Its one layer alone becomes visible, kept by the build cache under the key. */
int image_draft_keep(struct image_draft *d, const char *key, int64_t created_ns,
                     struct error *err) _must_check_;

/* Where the parts of a loaded archive or directory are (source.c). */
struct image_source {
    int dir;       /* OCI layout directory, or -EBADF */
    int spool;     /* contents of an archive's members, or -EBADF */
    bool in_place; /* spool is the archive itself, which somebody may change */
    json_t *members;
};
int image_source_open(struct image_work *w, int fd, const char *path, struct image_source *ret,
                      struct error *err) _must_check_;
void image_source_close(struct image_source *x);

struct image_part {
    int fd; /* owned by the part */
    uint64_t offset, size;
    char *digest; /* of small members of an archive; NULL otherwise */
};
void image_part_done(struct image_part *p);
#define _cleanup_part_ _cleanup_(image_part_done)
/* -ENOENT with a message when there is no such part. */
int image_source_find(const struct image_source *x, const char *name, struct image_part *ret,
                      struct error *err) _must_check_;
/* A whole JSON document with its digest; both owned. */
int image_source_text(const struct image_source *x, const char *name, char **ret_text,
                      size_t *ret_len, char **ret_digest, struct error *err) _must_check_;

/* *ret_known: the store has the layer with both its files, so that nobody has to bring it. */
int image_layer_known(struct store *s, const char *diff_id, bool *ret_known, uint64_t *ret_bytes,
                      struct error *err) _must_check_;

/* Unmounts one layer when nothing uses it; 0 also when it is not mounted, -EBUSY. */
int image_unmount_layer(struct store *s, const char *hex);
