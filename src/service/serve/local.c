/* The images of the store in the repositories of their names, and what was pushed as images. */
#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/image/image.h"
#include "service/image/offer.h"
#include "service/serve/server-internal.h"
#include "service/store/content.h"
#include "service/store/image.h"

static int find(struct server *s, const char *repository, const char *reference,
                struct store_image *ret, struct error *err)
{
    _cleanup_free_ char *id = NULL;
    if (!serve_digest_ok(reference)) {
        _cleanup_free_ char *name = xasprintf("%s:%s", repository, reference);
        return store_image_by_name(s->store, name, ret, err);
    }
    int r = store_content_made_image(s->store, repository, reference, &id, err);
    if (r < 0)
        return r;
    return id ? store_image_by_id(s->store, id, ret, err) : -ENOENT;
}

int local_manifest(struct server *s, const char *repository, const char *reference,
                   char **ret_digest, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_(store_image_done) struct store_image row = {0};
    int r = find(s, repository, reference, &row, err);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? r : image_offer(s->store, &row, ret_digest, ret_bytes, err);
}

int local_untag(struct server *s, const char *repository, const char *tag, bool *ret_removed,
                struct error *err)
{
    _cleanup_free_ char *name = xasprintf("%s:%s", repository, tag);
    _cleanup_(store_image_done) struct store_image row = {0};
    _cleanup_strv_ char **done = NULL;
    struct error why = ERROR_INIT;
    int r = store_image_by_name(s->store, name, &row, &why);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = image_remove(s->store, name, false, &done, &why);
    if (r == -EBUSY) /* an instance runs on it: it only loses the name */
        return store_image_drop_name(s->store, name, err);
    if (r < 0)
        return error_set(err, why.kind, why.code, "%s", why.msg);
    *ret_removed = true;
    return 0;
}

struct import {
    struct call *call;
    char *digest;
    char **tags;
};

/* The tags now say which image they became, unless somebody has pushed others meanwhile. */
static int remember(struct server *s, const struct import *i, const char *id, struct error *err)
{
    int r = store_begin(s->store, err);
    if (r < 0)
        return r;
    for (size_t n = 0; r == 0 && i->tags[n]; n++) {
        _cleanup_free_ char *digest = NULL, *before = NULL;
        const char *repository = i->call->q.repository;
        r = store_content_find_tag(s->store, repository, i->tags[n], &digest, &before, err);
        if (r == 0 && digest && strcmp(digest, i->digest) == 0)
            r = store_content_set_tag(s->store, repository, i->tags[n], digest, id, err);
    }
    int ended = store_end(s->store, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

/* What is no image, or not for this host, is content and nothing else. */
static bool is_expected(const char *line)
{
    return strncmp(line, "unsupported ", 12) == 0 || strncmp(line, "not-found ", 10) == 0;
}

/* "sha256:..." of the image, or why it is none. */
static void imported(struct child *child, const char *text)
{
    struct import *i = child->context;
    struct error err = ERROR_INIT;
    _cleanup_free_ char *line = xstrndup(text, strcspn(text, "\n"));
    if (serve_digest_ok(line) && remember(child->server, i, line, &err) < 0)
        server_note(child->server, "keep the image of a push: %s", err.msg);
    if (!serve_digest_ok(line) && !is_expected(line))
        server_note(child->server, "%s@%.19s cannot be run here: %s", i->call->q.repository,
                    i->digest, line);
    call_answer(i->call);
    free(i->digest);
    strv_free(i->tags);
    free(i);
}

enum call_state local_import(struct call *c, const char *digest, uint64_t bytes, char *const *tags)
{
    struct server *s = c->server;
    struct error err = ERROR_INIT;
    struct child *child;
    if (strcmp(serve_digest_algorithm(digest), "sha256") != 0)
        return CALL_DONE;
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, "proa");
    strv_add(&argv, "--root");
    strv_add(&argv, s->store->root);
    strv_add(&argv, "internal");
    strv_add(&argv, "keep-pushed");
    strv_add(&argv, digest);
    strv_addf(&argv, "%llu", (unsigned long long)bytes);
    for (size_t i = 0; tags[i]; i++)
        strv_addf(&argv, "%s:%s", c->q.repository, tags[i]);
    struct import *i = xnew(struct import);
    *i = (struct import){c, xstrdup(digest), strv_copy(tags)};
    const struct child_spec spec = {.program = "/proc/self/exe",
                                    .argv = argv,
                                    .in = -EBADF,
                                    .extra = -EBADF,
                                    .done = imported,
                                    .context = i};
    if (child_start(s, &spec, &child, &err) == 0)
        return CALL_LATER;
    server_note(s, "keep the image of a push: %s", err.msg);
    free(i->digest);
    strv_free(i->tags);
    free(i);
    return CALL_DONE;
}
