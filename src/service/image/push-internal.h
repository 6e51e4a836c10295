/* What the files of a push share. */
#pragma once

#include "service/image/internal.h"
#include "service/image/push.h"
#include "service/store/registry.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

struct push_layer {
    const struct image_layer *layer;
    const char *media_type;
    char digest[DIGEST_LEN + 1];
    uint64_t bytes;
    int64_t upload; /* -1: none under way */
};

struct push {
    struct store *store;
    const struct image_push *how;
    struct image *image;
    struct registry_session *session;
    struct image_work *work;
    char *repository, *tag; /* as names in the store have it */
    char *manifest;         /* that the image came with, or NULL */
    size_t manifest_len;
    struct manifest original; /* the same, parsed */
    struct push_layer *layers;
    size_t n, uploads;
};

void push_tell(const struct push *p, size_t i, enum image_layer_state state, uint64_t done);

/* push-forms.c: whether the repository has a blob; whether it has a known form of layer i, or could
 * be made to by mounting one, which is then the layer's. */
int push_is_there(struct push *p, const char *digest, bool *ret, struct error *err) _must_check_;
int push_find_form(struct push *p, size_t i, bool *ret, struct error *err) _must_check_;
/* The layer is pushed as these bytes. */
void push_use_form(struct push_layer *l, const char *digest, uint64_t bytes, const char *type);
/* Of repositories as the store writes them: whether they are in one registry; the path in it. */
bool push_same_registry(const char *a, const char *b);
int push_path_of(const char *repository, char **ret, struct error *err) _must_check_;

/* push.c: begins to send the bytes of a file from its start; the configuration, if it is not there;
 * the manifest, under the name that was asked for. */
int push_send_blob(struct push *p, const char *digest, uint64_t bytes, int fd, int64_t *ret_id,
                   struct error *err) _must_check_;
int push_config(struct push *p, struct error *err) _must_check_;
int push_manifest(struct push *p, const char *text, struct image_pushed *ret,
                  struct error *err) _must_check_;

/* disk-push.c: a disk: its chunks, its configuration, its manifest. */
int push_disk(struct push *p, struct image_pushed *ret, struct error *err) _must_check_;
