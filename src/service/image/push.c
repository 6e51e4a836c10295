/*
 * A push: the layers, the configuration, and the manifest last, so that nobody sees a name whose
 * parts are missing. For each layer the cheapest way is looked for: a form of it that the
 * repository has; one that another repository of the same registry has, to be mounted from there;
 * and else its tar, given back by proa-layer and packed, which is uploaded while the next layer is
 * packed.
 */
#include "service/image/push.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/image/push-internal.h"
#include "service/registry/remote.h"
#include "wire/image/digest.h"
#include "wire/image/manifest-make.h"

#define PARALLEL     4
#define PARALLEL_MAX 16
#define SCOPES_MAX   8

void push_tell(const struct push *p, size_t i, enum image_layer_state state, uint64_t done)
{
    const struct push_layer *l = &p->layers[i];
    const struct image_pull_event e = {.digest = l->layer->diff_id,
                                       .index = i,
                                       .n = p->n,
                                       .state = state,
                                       .done = done,
                                       .total = l->bytes};
    if (p->how->event)
        p->how->event(p->how->context, &e);
}

/* Lost or damaged, it only has to be made anew. */
static void read_original(struct push *p)
{
    if (!p->image->manifest)
        return;
    _cleanup_free_ char *path =
        xasprintf("%s/blobs/sha256/%s", p->store->root, digest_hex(p->image->manifest));
    _cleanup_free_ char *text = NULL;
    if (file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text) < 0 ||
        manifest_parse(text, strlen(text), NULL, "manifest", &p->original, NULL) < 0)
        return;
    if (p->original.index || p->original.n_items != p->n) {
        manifest_done(&p->original);
        return;
    }
    p->manifest_len = strlen(text);
    p->manifest = TAKE_PTR(text);
}

/* Waits until at most so many uploads are under way. */
static int settle(struct push *p, size_t at_most, struct error *err)
{
    while (p->uploads > at_most) {
        _cleanup_(registry_answer_done) struct registry_answer a = {0};
        int r = registry_session_receive(p->session, &a, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < p->n; i++) {
            struct push_layer *l = &p->layers[i];
            if (l->upload < 0 || l->upload != a.id)
                continue;
            push_tell(p, i, a.ended && !a.failure.code ? LAYER_DONE : LAYER_UPLOADING, a.received);
            if (a.failure.code)
                return error_set(err, a.failure.kind, a.failure.code, "layer %.19s: %s",
                                 l->layer->diff_id, a.failure.msg);
            if (a.ended) {
                l->upload = -1;
                p->uploads--;
            }
        }
    }
    return 0;
}

int push_send_blob(struct push *p, const char *digest, uint64_t bytes, int fd, int64_t *ret_id,
                   struct error *err)
{
    return registry_session_send(
        p->session,
        json_pack("{sssssI}", "op", "upload", "digest", digest, "size", (json_int_t)bytes), &fd, 1,
        ret_id, err);
}

static int pack_and_send(struct push *p, size_t i, struct error *err)
{
    struct push_layer *l = &p->layers[i];
    const char *compression = p->how->compression ? p->how->compression : "gzip";
    struct image_archive packed = {0};
    bool there = false;
    unsigned int limit =
        p->how->parallel ? MIN(p->how->parallel, (unsigned int)PARALLEL_MAX) : PARALLEL;
    push_tell(p, i, LAYER_PACKING, 0);
    _cleanup_close_ int fd = image_work_unnamed(p->work, err);
    if (fd < 0)
        return fd;
    int r = image_layer_write(p->store, l->layer->diff_id, compression, fd, &packed, err);
    if (r < 0)
        return r;
    push_use_form(l, packed.digest, packed.bytes, media_type_of_layer(compression));
    if ((r = push_is_there(p, l->digest, &there, err)) < 0)
        return r;
    if (there) {
        push_tell(p, i, LAYER_EXISTS, l->bytes);
        return 0;
    }
    if ((r = settle(p, limit - 1, err)) < 0 ||
        (r = push_send_blob(p, l->digest, l->bytes, fd, &l->upload, err)) < 0)
        return r;
    p->uploads++;
    push_tell(p, i, LAYER_UPLOADING, 0);
    return 0;
}

/* The same layer again is what it was the first time. */
static bool copy_twin(struct push *p, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(p->layers[k].layer->diff_id, p->layers[i].layer->diff_id) != 0)
            continue;
        push_use_form(&p->layers[i], p->layers[k].digest, p->layers[k].bytes,
                      p->layers[k].media_type);
        return true;
    }
    return false;
}

static int push_layers(struct push *p, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        bool there = copy_twin(p, i);
        if (!there)
            r = push_find_form(p, i, &there, err);
        if (r == 0 && !there)
            r = pack_and_send(p, i, err);
    }
    return r < 0 ? r : settle(p, 0, err);
}

static int memory_file(const char *text, size_t len, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("proa-push", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, len);
    return r < 0 ? error_errno(err, r, "send a document") : TAKE_FD(fd);
}

int push_config(struct push *p, struct error *err)
{
    const char *text = p->image->config_json;
    bool there = false;
    int r = push_is_there(p, p->image->id, &there, err);
    if (r < 0 || there)
        return r;
    _cleanup_close_ int fd = memory_file(text, strlen(text), err);
    if (fd < 0)
        return fd;
    return registry_session_call(p->session,
                                 json_pack("{sssssI}", "op", "upload", "digest", p->image->id,
                                           "size", (json_int_t)strlen(text)),
                                 fd, NULL, err);
}

static bool original_fits(const struct push *p)
{
    for (size_t i = 0; p->manifest && i < p->n; i++)
        if (strcmp(p->original.items[i].digest, p->layers[i].digest) != 0)
            return false;
    return p->manifest != NULL;
}

static char *make_manifest(const struct push *p)
{
    const struct manifest_part config = {MEDIA_TYPE_OCI_CONFIG, p->image->id,
                                         strlen(p->image->config_json)};
    struct manifest_part *layers = xcalloc(p->n, sizeof(*layers));
    for (size_t i = 0; i < p->n; i++)
        layers[i] = (struct manifest_part){p->layers[i].media_type, p->layers[i].digest,
                                           p->layers[i].bytes};
    char *text = manifest_make(&config, layers, p->n);
    free(layers);
    return text;
}

/* What a manifest says that it is, if it does. */
static int put_manifest(struct push *p, const char *text, const char *reference, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = json_parse(text, strlen(text), "manifest", &o, err);
    if (r < 0)
        return r;
    const char *type = json_string_value(json_object_get(o, "mediaType"));
    _cleanup_close_ int fd = memory_file(text, strlen(text), err);
    if (fd < 0)
        return fd;
    return registry_session_call(p->session,
                                 json_pack("{sssssssI}", "op", "manifest-put", "reference",
                                           reference, "type", type ? type : MEDIA_TYPE_OCI_MANIFEST,
                                           "size", (json_int_t)strlen(text)),
                                 fd, NULL, err);
}

static int remember(struct push *p, const char *digest, struct error *err)
{
    int r = store_begin(p->store, err);
    if (r < 0)
        return r;
    r = store_digest_add(p->store, p->image->id, p->repository, digest, err);
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        const struct push_layer *l = &p->layers[i];
        const struct store_layer_blob b = {.digest = (char *)l->digest,
                                           .bytes = l->bytes,
                                           .media_type = (char *)l->media_type,
                                           .repository = p->repository};
        r = store_layer_blob_add(p->store, l->layer->diff_id, &b, err);
    }
    int ended = store_end(p->store, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

int push_manifest(struct push *p, const char *text, struct image_pushed *ret, struct error *err)
{
    ret->digest = image_text_digest(text, strlen(text));
    ret->bytes = strlen(text);
    const char *reference = p->how->to->digest ? p->how->to->digest : p->tag;
    if (p->how->to->digest && strcmp(ret->digest, p->how->to->digest) != 0)
        return error_invalid(err, "the manifest would be %s: push by a tag", ret->digest);
    return put_manifest(p, text, reference, err);
}

static int push_all(struct push *p, struct image_pushed *ret, struct error *err)
{
    _cleanup_free_ char *made = NULL;
    int r;
    if ((r = push_layers(p, err)) < 0 || (r = push_config(p, err)) < 0)
        return r;
    if (!original_fits(p))
        made = make_manifest(p);
    const char *text = made ? made : p->manifest;
    if ((r = push_manifest(p, text, ret, err)) < 0)
        return r;
    return remember(p, ret->digest, err);
}

/* The registry asks for less than is needed in the end: reading where to mount from as well. */
static char **make_scopes(const struct push *p)
{
    char **scopes = NULL;
    strv_addf(&scopes, "repository:%s:pull,push", p->how->to->repository);
    for (size_t i = 0; i < p->n; i++) {
        struct store_layer_blob *forms = NULL;
        if (store_layer_blob_list(p->store, p->layers[i].layer->diff_id, &forms, NULL) < 0)
            continue;
        for (size_t k = 0; forms[k].digest && strv_len(scopes) < SCOPES_MAX; k++) {
            _cleanup_free_ char *path = NULL, *scope = NULL;
            if (strcmp(forms[k].repository, p->repository) == 0 ||
                !push_same_registry(forms[k].repository, p->repository) ||
                push_path_of(forms[k].repository, &path, NULL) < 0)
                continue;
            scope = xasprintf("repository:%s:pull", path);
            if (!strv_has(scopes, scope))
                strv_add(&scopes, scope);
        }
        store_layer_blob_list_free(forms);
    }
    return scopes;
}

static int push_to(struct push *p, const struct registry_endpoint *at, struct image_pushed *ret,
                   struct error *err)
{
    _cleanup_strv_ char **scopes = make_scopes(p);
    int r = registry_session_open(p->how->registry, at, p->how->to->repository, scopes, &p->session,
                                  err);
    if (r == 0) /* before anything is packed: is it there, and are we known? */
        r = registry_session_call(p->session, json_pack("{ss}", "op", "ping"), -EBADF, NULL, err);
    if (r == 0)
        r = p->image->kind == IMAGE_DISK ? push_disk(p, ret, err) : push_all(p, ret, err);
    registry_session_close(p->session);
    p->session = NULL;
    if (r < 0) {
        free(ret->digest);
        ret->digest = NULL;
    }
    return r;
}

static int push_image(struct push *p, struct image_pushed *ret, struct error *err)
{
    struct registry_endpoint *endpoints = NULL;
    int r = registry_endpoints(p->how->registry, p->how->to->registry, true, &endpoints, err);
    for (size_t k = 0; endpoints && endpoints[k].host; k++) {
        p->uploads = 0;
        for (size_t i = 0; i < p->n; i++)
            p->layers[i] = (struct push_layer){.layer = &p->image->layers[i], .upload = -1};
        error_clear(err);
        r = push_to(p, &endpoints[k], ret, err);
        if (r == 0 || !registry_may_try_next(&endpoints[k], r))
            break;
    }
    registry_endpoints_free(endpoints);
    return r;
}

int image_push(struct store *s, const struct image_push *how, struct image_pushed *ret,
               struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_image_ struct image *image = NULL;
    struct push p = {.store = s, .how = how, .work = &work};
    int r = image_find(s, how->image, &image, err);
    if (r < 0 || (r = image_work_begin(s, &work, err)) < 0)
        return r;
    memset(ret, 0, sizeof(*ret));
    p.image = image;
    p.n = image->n_layers;
    p.layers = xcalloc(p.n, sizeof(*p.layers));
    p.repository = reference_store_name(how->to, NULL);
    p.tag = xstrdup(how->to->tag ? how->to->tag : "latest");
    read_original(&p);
    r = push_image(&p, ret, err);
    if (r < 0)
        error_prefix(err, "push %s:%s", p.repository, p.tag);
    manifest_done(&p.original);
    free(p.manifest);
    free(p.layers);
    free(p.repository);
    free(p.tag);
    return r;
}
