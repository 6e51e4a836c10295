/*
 * Blobs: files that were pushed, configurations of images, and layers of images, whose tars a
 * process writes while they are read (image/offer.h).
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "service/image/offer.h"
#include "service/serve/server-internal.h"
#include "service/store/content.h"
#include "service/store/image.h"

/* ROOT/blobs/ALGORITHM. */
static int open_folder(struct store *s, const char *digest, struct error *err)
{
    _cleanup_free_ char *below = xasprintf("blobs/%s", serve_digest_algorithm(digest));
    return image_open_dir(s, below, err);
}

int content_open(struct store *s, const char *digest, int *ret_fd, struct error *err)
{
    _cleanup_close_ int folder = open_folder(s, digest, err);
    if (folder < 0)
        return folder;
    int fd = openat(folder, serve_digest_hex(digest), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open %.20s", digest);
    *ret_fd = fd;
    return 0;
}

int content_place(struct upload *u, struct error *err)
{
    struct server *s = u->server;
    const char *hex = serve_digest_hex(u->digest);
    _cleanup_close_ int folder = open_folder(s->store, u->digest, err);
    if (folder < 0)
        return folder;
    if (faccessat(folder, hex, F_OK, 0) == 0)
        return 0; /* the same bytes: the upload's file goes with the upload */
    if (renameat(s->work.fd, u->file, folder, hex) < 0)
        return error_errno(err, errno, "put %.20s into %s", u->digest, s->store->root);
    return 0;
}

int content_drop(struct store *s, const char *digest, struct error *err)
{
    bool used = true;
    _cleanup_close_ int folder = open_folder(s, digest, err);
    if (folder < 0)
        return folder;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = store_blob_used(s, digest, &used, err);
    if (r == 0 && !used)
        unlinkat(folder, serve_digest_hex(digest), 0);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

/* --- reading --- */

/* A process for each reader. */
static enum call_state send_layer(struct call *c)
{
    struct error err = ERROR_INIT;
    pid_t pid;
    if (!server_can_stream(c->server))
        return call_refuse(c, PROBLEM_TOO_MANY);
    if (image_offer_layer(c->server->store, c->q.digest, &c->fd, &pid, &err) < 0)
        return call_failed(c, &err);
    server_add_stream(c->server, pid);
    return CALL_DONE;
}

enum call_state blob_get_call(struct call *c)
{
    struct server *s = c->server;
    struct error err = ERROR_INIT;
    bool found = false, layer = false;
    if (store_content_find_blob(s->store, c->q.repository, c->q.digest, &found, &c->a.size, &err) <
        0)
        return call_failed(c, &err);
    if (!found && store_content_of_image(s->store, c->q.repository, c->q.digest, &found, &layer,
                                         &c->a.size, &err) < 0)
        return call_failed(c, &err);
    if (!found)
        return call_refuse(c, PROBLEM_BLOB_UNKNOWN);
    if (layer)
        return c->q.head ? CALL_DONE : send_layer(c);
    struct stat st;
    if (content_open(s->store, c->q.digest, &c->fd, &err) < 0)
        return call_failed(c, &err);
    if (fstat(c->fd, &st) == 0)
        c->a.size = (uint64_t)st.st_size;
    if (c->q.head)
        c->fd = close_fd(c->fd);
    return CALL_DONE;
}

/* --- changing --- */

static int keep(struct upload *u, const char *repository, struct error *err)
{
    struct store *store = u->server->store;
    int r = store_begin(store, err);
    if (r < 0)
        return r;
    r = content_place(u, err);
    if (r == 0)
        r = store_content_add_blob(store, repository, u->digest, u->bytes, err);
    int ended = store_end(store, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

static enum call_state complete(struct upload *u, struct call *c)
{
    struct error err = ERROR_INIT;
    if (strcmp(u->digest, c->q.digest) != 0)
        return call_refuse(c, PROBLEM_DIGEST_INVALID);
    if (keep(u, c->q.repository, &err) < 0)
        return call_failed(c, &err);
    c->a.digest = xstrdup(u->digest);
    return CALL_DONE;
}

enum call_state upload_commit_call(struct call *c)
{
    return upload_finish(c, serve_digest_algorithm(c->q.digest), complete);
}

/* From the repository that is named, or from any: every caller sees them all. */
enum call_state blob_mount_call(struct call *c)
{
    struct store *store = c->server->store;
    struct error err = ERROR_INIT;
    bool found = false;
    uint64_t bytes = 0;
    int r = store_begin(store, &err);
    if (r < 0)
        return call_failed(c, &err);
    r = store_content_find_blob(store, c->q.from, c->q.digest, &found, &bytes, &err);
    if (r == 0 && found)
        r = store_content_add_blob(store, c->q.repository, c->q.digest, bytes, &err);
    int ended = store_end(store, r == 0, r == 0 ? &err : NULL);
    if (r < 0 || ended < 0)
        return call_failed(c, &err);
    return found ? CALL_DONE : call_refuse(c, PROBLEM_BLOB_UNKNOWN);
}

enum call_state blob_delete_call(struct call *c)
{
    struct store *store = c->server->store;
    struct error err = ERROR_INIT;
    bool removed = false, found = false, layer;
    uint64_t bytes;
    if (store_content_remove_blob(store, c->q.repository, c->q.digest, &removed, &err) < 0)
        return call_failed(c, &err);
    if (removed)
        return content_drop(store, c->q.digest, &err) < 0 ? call_failed(c, &err) : CALL_DONE;
    if (store_content_of_image(store, c->q.repository, c->q.digest, &found, &layer, &bytes, &err) <
        0)
        return call_failed(c, &err);
    if (found)
        return call_refuse_why(c, PROBLEM_UNSUPPORTED, "an image of the store needs this blob");
    return call_refuse(c, PROBLEM_BLOB_UNKNOWN);
}
