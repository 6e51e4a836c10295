#include "service/trust/remote.h"

#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "service/registry/remote.h"
#include "service/trust/internal.h"

static int get_manifest(void *context, const char *reference, char **ret, size_t *ret_len,
                        struct error *err)
{
    struct error why = ERROR_INIT;
    json_t *request = json_pack("{ssss}", "op", "manifest", "reference", reference);
    int r = registry_session_document(context, request, ret, ret_len, NULL, &why);
    if (r == 0 || why.kind != ERROR_NOT_FOUND)
        return r < 0 ? error_set(err, why.kind, why.code, "%s", why.msg) : 0;
    *ret = NULL;
    *ret_len = 0;
    return 0;
}

static int get_blob(void *context, const char *digest, uint64_t size, char **ret, size_t *ret_len,
                    struct error *err)
{
    json_t *request = json_pack("{sssssIsI}", "op", "blob", "digest", digest, "size",
                                (json_int_t)size, "offset", (json_int_t)0);
    return registry_session_document(context, request, ret, ret_len, NULL, err);
}

static int send_text(struct registry_session *s, json_t *request, const char *text,
                     struct error *err)
{
    _cleanup_close_ int fd = memfd_create("proa-document", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    if (r < 0) {
        json_decref(request);
        return error_errno(err, r, "send a document");
    }
    json_object_set_new(request, "size", json_integer((json_int_t)strlen(text)));
    return registry_session_call(s, request, fd, NULL, err);
}

static int put_blob(void *context, const char *digest, const char *text, struct error *err)
{
    return send_text(context, json_pack("{ssss}", "op", "upload", "digest", digest), text, err);
}

static int put_manifest(void *context, const char *tag, const char *type, const char *text,
                        struct error *err)
{
    return send_text(context,
                     json_pack("{ssssss}", "op", "manifest-put", "reference", tag, "type", type),
                     text, err);
}

struct trust_registry trust_registry_of_session(struct registry_session *s)
{
    return (struct trust_registry){get_manifest, get_blob, put_blob, put_manifest, s};
}

struct question {
    const struct trust_remote *at;
    const struct trust_requirement *requirement;
    const struct trust_signature *signature;
    char *digest;
};

static int ask(struct question *q, bool for_writing, registry_question f, struct error *err)
{
    const struct reference *of = q->at->of;
    return registry_ask(q->at->registry, of->registry, of->repository, for_writing, f, q, err);
}

static int find_digest(struct registry_session *s, void *context, struct error *err)
{
    struct question *q = context;
    const struct reference *of = q->at->of;
    const char *reference = of->digest ? of->digest : of->tag ? of->tag : "latest";
    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = get_manifest(s, reference, &text, &len, err);
    if (r < 0)
        return r;
    if (!text)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%s/%s has no %s", of->registry,
                         of->repository, reference);
    free(q->digest);
    q->digest = NULL;
    if ((r = trust_digest(text, len, &q->digest, err)) < 0)
        return r;
    if (of->digest && strcmp(of->digest, q->digest) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s gives %s instead of %s", of->registry,
                         q->digest, of->digest);
    return 0;
}

static int attach(struct registry_session *s, void *context, struct error *err)
{
    const struct question *q = context;
    const struct trust_registry to = trust_registry_of_session(s);
    return trust_attach(&to, q->digest, q->signature, err);
}

static int find_and_verify(struct registry_session *s, void *context, struct error *err)
{
    struct question *q = context;
    int r = find_digest(s, q, err);
    if (r < 0)
        return r;
    const struct trust_registry from = trust_registry_of_session(s);
    const struct trust_image image = {q->at->of, {q->digest, NULL}};
    return trust_search(q->requirement, &image, &from, err);
}

int trust_remote_digest(const struct trust_remote *at, char **ret, struct error *err)
{
    struct question q = {.at = at};
    int r = ask(&q, false, find_digest, err);
    if (r == 0)
        *ret = TAKE_PTR(q.digest);
    free(q.digest);
    return r;
}

int trust_remote_attach(const struct trust_remote *at, const char *digest,
                        const struct trust_signature *s, struct error *err)
{
    struct question q = {.at = at, .signature = s, .digest = xstrdup(digest)};
    int r = ask(&q, true, attach, err);
    free(q.digest);
    return r;
}

int trust_remote_verify(const struct trust_remote *at, const struct trust_requirement *requirement,
                        char **ret_digest, struct error *err)
{
    struct question q = {.at = at, .requirement = requirement};
    int r = ask(&q, false, find_and_verify, err);
    if (r == 0)
        *ret_digest = TAKE_PTR(q.digest);
    free(q.digest);
    return r;
}
