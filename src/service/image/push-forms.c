/*
 * Forms of a layer that a registry is known to have (the table layer_blob): asked for where they
 * are, or mounted from another repository of the same registry, so that nothing has to be packed.
 */
#include <string.h>

#include "base/alloc.h"
#include "service/image/push-internal.h"
#include "wire/image/manifest-make.h"

#define FORMS_MAX 8 /* that are asked for */

int push_is_there(struct push *p, const char *digest, bool *ret, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = registry_session_call(
        p->session, json_pack("{ssss}", "op", "blob-head", "digest", digest), -EBADF, NULL, &why);
    *ret = r == 0;
    if (r < 0 && why.kind != ERROR_NOT_FOUND) {
        error_set(err, why.kind, why.code, "%s", why.msg);
        return r;
    }
    return 0;
}

/* OCI's word for it, whatever it was called where it came from. */
static const char *oci_type(const char *type)
{
    return media_type_of_layer(strstr(type, "zstd")   ? "zstd"
                               : strstr(type, "gzip") ? "gzip"
                                                      : "none");
}

void push_use_form(struct push_layer *l, const char *digest, uint64_t bytes, const char *type)
{
    memcpy(l->digest, digest, DIGEST_LEN + 1);
    l->bytes = bytes;
    l->media_type = oci_type(type);
}

static bool has_host(const char *repository, size_t len)
{
    return repository[len] && (memchr(repository, '.', len) || memchr(repository, ':', len) ||
                               strncmp(repository, "localhost/", len + 1) == 0);
}

/* The registry of a repository as the store writes it. */
bool push_same_registry(const char *a, const char *b)
{
    size_t x = strcspn(a, "/"), y = strcspn(b, "/");
    bool host_a = has_host(a, x), host_b = has_host(b, y);
    return host_a == host_b && (!host_a || (x == y && memcmp(a, b, x) == 0));
}

/* "library/debian" of the store's name for it. */
int push_path_of(const char *repository, char **ret, struct error *err)
{
    _cleanup_(reference_done) struct reference r = {0};
    _cleanup_free_ char *hub = xasprintf("docker.io/%s", repository);
    int e = reference_parse(repository, &r, err);
    if (e == 0 && !r.registry) {
        reference_done(&r);
        e = reference_parse(hub, &r, err);
    }
    if (e == 0)
        *ret = TAKE_PTR(r.repository);
    return e;
}

/* 201 says that it is there now; anything else that it has to be uploaded. */
static int mount(struct push *p, const struct store_layer_blob *b, bool *ret, struct error *err)
{
    _cleanup_json_ json_t *answer = NULL;
    _cleanup_free_ char *from = NULL;
    struct error why = ERROR_INIT;
    int r = push_path_of(b->repository, &from, err);
    if (r < 0)
        return r;
    r = registry_session_call(
        p->session, json_pack("{ssssss}", "op", "mount", "digest", b->digest, "from", from), -EBADF,
        &answer, &why);
    *ret = r == 0 && json_integer_value(json_object_get(answer, "status")) == 201;
    return 0;
}

static int try_form(struct push *p, size_t i, const struct store_layer_blob *b, bool *ret,
                    struct error *err)
{
    bool here = strcmp(b->repository, p->repository) == 0, mounted = false;
    int r = 0;
    *ret = false;
    if (here)
        r = push_is_there(p, b->digest, ret, err);
    else if (push_same_registry(b->repository, p->repository))
        r = mount(p, b, ret, err);
    mounted = *ret && !here;
    if (r == 0 && *ret) {
        push_use_form(&p->layers[i], b->digest, b->bytes, b->media_type);
        push_tell(p, i, mounted ? LAYER_MOUNTED : LAYER_EXISTS, b->bytes);
    }
    return r;
}

/* Those of the image's own manifest first, so that it can stay what it was. */
static int rank(const struct push *p, size_t i, const struct store_layer_blob *b)
{
    bool own = p->manifest && strcmp(p->original.items[i].digest, b->digest) == 0;
    return (own ? 0 : 2) + (strcmp(b->repository, p->repository) == 0 ? 0 : 1);
}

int push_find_form(struct push *p, size_t i, bool *ret, struct error *err)
{
    struct store_layer_blob *forms = NULL;
    int asked = 0;
    int r = store_layer_blob_list(p->store, p->layers[i].layer->diff_id, &forms, err);
    *ret = false;
    for (int wanted = 0; r == 0 && wanted < 4; wanted++)
        for (size_t k = 0; r == 0 && !*ret && forms[k].digest && asked < FORMS_MAX; k++) {
            if (rank(p, i, &forms[k]) != wanted)
                continue;
            asked++;
            r = try_form(p, i, &forms[k], ret, err);
        }
    store_layer_blob_list_free(forms);
    return r;
}
