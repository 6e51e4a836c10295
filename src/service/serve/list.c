/* Lists: tags, repositories, referrers. The answer's text is in a memory file. */
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/serve/server-internal.h"
#include "service/store/content.h"
#include "wire/image/artifact.h"

#define PAGE_MAX 10000u

static enum call_state send_text(struct call *c, const char *text)
{
    struct error err = ERROR_INIT;
    size_t len = strlen(text);
    c->fd = memfd_create("proa-list", MFD_CLOEXEC);
    int r = c->fd < 0 ? -errno : fd_write_all(c->fd, text, len);
    if (r < 0) {
        error_errno(&err, r, "write a list");
        return call_failed(c, &err);
    }
    c->a.size = len;
    return CALL_DONE;
}

/* The page of a sorted list: what comes after `last`, as many as were asked for (count is one more
 * than that, 0 when nothing was said). */
static json_t *take_page(struct call *c, char *const *list)
{
    size_t most = c->q.count == 0 ? PAGE_MAX : MIN(c->q.count - 1, (uint64_t)PAGE_MAX), n = 0;
    json_t *page = json_array();
    const char *before = NULL;
    for (size_t i = 0; list[i]; i++) {
        if (c->q.last && strcmp(list[i], c->q.last) <= 0)
            continue;
        if (n == most) {
            c->a.next = xstrdup(before);
            break;
        }
        json_array_append_new(page, json_string(list[i]));
        before = list[i];
        n++;
    }
    return page;
}

enum call_state tags_call(struct call *c)
{
    _cleanup_strv_ char **tags = NULL, **repositories = NULL;
    struct error err = ERROR_INIT;
    if (store_content_tags(c->server->store, c->q.repository, NULL, &tags, &err) < 0)
        return call_failed(c, &err);
    if (!tags[0]) {
        if (store_content_repositories(c->server->store, &repositories, &err) < 0)
            return call_failed(c, &err);
        if (!strv_has(repositories, c->q.repository))
            return call_refuse(c, PROBLEM_NAME_UNKNOWN);
    }
    _cleanup_json_ json_t *o =
        json_pack("{ss, so}", "name", c->q.repository, "tags", take_page(c, tags));
    _cleanup_free_ char *text = json_to_text(o);
    return send_text(c, text);
}

enum call_state catalog_call(struct call *c)
{
    _cleanup_strv_ char **all = NULL, **valid = strv_copy(NULL);
    struct error err = ERROR_INIT;
    if (store_content_repositories(c->server->store, &all, &err) < 0)
        return call_failed(c, &err);
    for (size_t i = 0; all[i]; i++) /* "HOST:PORT/..." is a name here, but no repository's */
        if (serve_repository_ok(all[i]))
            strv_add(&valid, all[i]);
    _cleanup_json_ json_t *o = json_pack("{so}", "repositories", take_page(c, valid));
    _cleanup_free_ char *text = json_to_text(o);
    return send_text(c, text);
}

enum call_state referrers_call(struct call *c)
{
    struct store_manifest *list = NULL;
    struct error err = ERROR_INIT;
    size_t n = 0, count = 0;
    if (store_content_referrers(c->server->store, c->q.repository, c->q.digest, &list, &err) < 0)
        return call_failed(c, &err);
    while (list[count].digest)
        count++;
    struct artifact_entry *entries = xcalloc(count + 1, sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        const struct store_manifest *m = &list[i];
        if (c->q.artifact_type &&
            (!m->artifact_type || strcmp(m->artifact_type, c->q.artifact_type) != 0))
            continue;
        entries[n++] = (struct artifact_entry){m->media_type, m->digest, m->artifact_type,
                                               m->annotations, m->bytes};
    }
    _cleanup_free_ char *text = artifact_index_make(entries, n);
    free(entries);
    store_manifest_list_free(list);
    c->a.filtered = c->q.artifact_type != NULL;
    return send_text(c, text);
}
