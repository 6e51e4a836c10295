/*
 * Uploads. proa-serve never has a file of ours open for writing: it writes into a pipe, and a
 * process without privilege (proa-serve receive) puts the bytes into the file and hashes them on
 * the way. When the receiver has ended nobody can change the file any more, its digest is known,
 * and a rename makes it visible. Files of uploads that end otherwise are in the work directory,
 * which goes with the server.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "service/serve/server-internal.h"

#define UPLOADS_MAX 64
#define IDLE_MS     ((int64_t)15 * 60 * 1000)

static void upload_free(struct upload *u)
{
    child_end(u->receiver);
    close_fd(u->in);
    if (u->file)
        unlinkat(u->server->work.fd, u->file, 0);
    free(u->file);
    free(u->repository);
    free(u);
}

static void unlink_upload(struct upload *u)
{
    for (struct upload **at = &u->server->uploads; *at; at = &(*at)->next) {
        if (*at == u) {
            *at = u->next;
            return;
        }
    }
}

void uploads_free(struct server *s)
{
    while (s->uploads) {
        struct upload *u = s->uploads;
        s->uploads = u->next;
        upload_free(u);
    }
}

static struct upload *find(const struct call *c)
{
    for (struct upload *u = c->server->uploads; u; u = u->next)
        if (strcmp(u->id, c->q.upload) == 0 && strcmp(u->repository, c->q.repository) == 0)
            return u;
    return NULL;
}

/* The upload is gone when the call is answered. */
static void settle(struct upload *u)
{
    struct call *c = TAKE_PTR(u->waiting);
    enum call_state state =
        u->failed != PROBLEM_NONE ? call_refuse(c, u->failed) : u->complete(u, c);
    upload_free(u);
    if (state == CALL_DONE)
        call_answer(c);
}

static enum serve_problem problem_named(const char *word)
{
    if (strcmp(word, "limit") == 0)
        return PROBLEM_TOO_LARGE;
    return strcmp(word, "full") == 0 ? PROBLEM_FULL : PROBLEM_INTERNAL;
}

/* {"digest","bytes"}, or {"error"}. */
static void take_result(struct upload *u, const char *text)
{
    _cleanup_json_ json_t *o = NULL;
    const char *digest = NULL, *error = NULL, *what = "proa-serve";
    int64_t bytes = 0;
    u->receiver = NULL;
    if (json_parse(text, strlen(text), what, &o, NULL) < 0 ||
        json_get_string(o, what, "digest", &digest, NULL) < 0 ||
        json_get_string(o, what, "error", &error, NULL) < 0 ||
        json_get_i64(o, what, "bytes", &bytes, NULL) < 0 || !digest || !serve_digest_ok(digest)) {
        u->failed = problem_named(error ? error : "");
        return;
    }
    snprintf(u->digest, sizeof(u->digest), "%s", digest);
    u->bytes = (uint64_t)bytes;
}

static void hashed(struct child *child, const char *text)
{
    struct upload *u = child->context;
    take_result(u, text);
    settle(u);
}

/* Receivers hash with sha256; what is wanted in another way is read once more. */
static int hash_again(struct upload *u, struct error *err)
{
    struct server *s = u->server;
    _cleanup_close_ int fd = openat(s->work.fd, u->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *const argv[] = {s->program, (char *)"hash", (char *)u->algorithm, NULL};
    const struct child_spec spec = {.program = s->program,
                                    .argv = argv,
                                    .in = fd,
                                    .extra = -EBADF,
                                    .done = hashed,
                                    .context = u};
    if (fd < 0)
        return error_errno(err, errno, "open an upload");
    return child_start(s, &spec, &u->receiver, err);
}

/* The receiver has ended and somebody waits. */
static void go_on(struct upload *u)
{
    struct error err = ERROR_INIT;
    if (u->failed == PROBLEM_NONE && strcmp(u->algorithm, serve_digest_algorithm(u->digest)) != 0) {
        if (hash_again(u, &err) == 0)
            return;
        call_failed(u->waiting, &err);
        u->failed = PROBLEM_INTERNAL;
    }
    settle(u);
}

static void received(struct child *child, const char *text)
{
    struct upload *u = child->context;
    take_result(u, text);
    if (u->waiting)
        go_on(u);
    else if (u->failed == PROBLEM_NONE)
        u->failed = PROBLEM_INTERNAL; /* it ended before it was told to */
}

static int start_receiver(struct upload *u, struct error *err)
{
    struct server *s = u->server;
    int ends[2];
    _cleanup_free_ char *most = xasprintf("%llu", (unsigned long long)s->options->max_upload_bytes);
    char *const argv[] = {s->program, (char *)"receive", most, NULL};
    _cleanup_close_ int file =
        openat(s->work.fd, u->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (file < 0)
        return error_errno(err, errno, "create a file in %s/tmp", s->store->root);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int read_end = ends[0];
    u->in = ends[1];
    const struct child_spec spec = {.program = s->program,
                                    .argv = argv,
                                    .in = read_end,
                                    .extra = file,
                                    .done = received,
                                    .context = u};
    return child_start(s, &spec, &u->receiver, err);
}

enum call_state upload_begin_call(struct call *c)
{
    struct server *s = c->server;
    struct error err = ERROR_INIT;
    size_t n = 0;
    for (struct upload *u = s->uploads; u; u = u->next)
        n++;
    if (n >= UPLOADS_MAX)
        return call_refuse(c, PROBLEM_TOO_MANY);
    struct upload *u = xnew(struct upload);
    u->server = s;
    u->in = -EBADF;
    random_hex(u->id, SERVE_ID_LEN / 2);
    u->repository = xstrdup(c->q.repository);
    u->file = xasprintf("upload-%s", u->id);
    u->touched_ms = time_monotonic_ms();
    if (start_receiver(u, &err) < 0) {
        upload_free(u);
        return call_failed(c, &err);
    }
    u->next = s->uploads;
    s->uploads = u;
    c->a.upload = xstrdup(u->id);
    return CALL_DONE;
}

enum call_state upload_write_call(struct call *c)
{
    struct upload *u = find(c);
    if (!u)
        return call_refuse(c, PROBLEM_UPLOAD_UNKNOWN);
    if (u->failed != PROBLEM_NONE)
        return call_refuse(c, u->failed);
    if (u->writing)
        return call_refuse_why(c, PROBLEM_UPLOAD_INVALID, "bytes of this upload are on their way");
    c->fd = fcntl(u->in, F_DUPFD_CLOEXEC, 3);
    if (c->fd < 0)
        return call_refuse(c, PROBLEM_INTERNAL);
    u->writing = true;
    u->touched_ms = time_monotonic_ms();
    c->a.offset = u->offset;
    c->a.size = c->server->options->max_upload_bytes - u->offset;
    return CALL_DONE;
}

/* How many went in is proa-serve's word: a wrong one spoils this upload and nothing else. */
enum call_state upload_wrote_call(struct call *c)
{
    struct upload *u = find(c);
    if (!u)
        return call_refuse(c, PROBLEM_UPLOAD_UNKNOWN);
    u->writing = false;
    u->touched_ms = time_monotonic_ms();
    if (c->q.count > c->server->options->max_upload_bytes - u->offset)
        u->failed = PROBLEM_TOO_LARGE;
    else
        u->offset += c->q.count;
    c->a.offset = u->offset;
    return u->failed != PROBLEM_NONE ? call_refuse(c, u->failed) : CALL_DONE;
}

enum call_state upload_status_call(struct call *c)
{
    struct upload *u = find(c);
    if (!u)
        return call_refuse(c, PROBLEM_UPLOAD_UNKNOWN);
    c->a.offset = u->offset;
    return CALL_DONE;
}

enum call_state upload_cancel_call(struct call *c)
{
    struct upload *u = find(c);
    if (!u)
        return call_refuse(c, PROBLEM_UPLOAD_UNKNOWN);
    unlink_upload(u);
    upload_free(u);
    return CALL_DONE;
}

enum call_state upload_finish(struct call *c, const char *algorithm,
                              enum call_state (*complete)(struct upload *u, struct call *c))
{
    struct upload *u = find(c);
    if (!u)
        return call_refuse(c, PROBLEM_UPLOAD_UNKNOWN);
    if (u->writing)
        return call_refuse_why(c, PROBLEM_UPLOAD_INVALID, "bytes of this upload are on their way");
    unlink_upload(u);
    u->waiting = c;
    u->algorithm = algorithm;
    u->complete = complete;
    u->in = close_fd(u->in);
    if (!u->receiver)
        go_on(u);
    return CALL_LATER;
}

/* Ends what nobody touches, and the largest ones when all together take too much room. */
void uploads_tick(struct server *s, int64_t now_ms)
{
    uint64_t room = s->options->upload_room_bytes;
    struct upload *next;
    for (struct upload *u = s->uploads; u; u = next) {
        struct stat st;
        next = u->next;
        uint64_t bytes = u->offset;
        if (fstatat(s->work.fd, u->file, &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes = (uint64_t)st.st_size;
        bool idle = !u->writing && u->touched_ms + IDLE_MS < now_ms;
        if (!idle && bytes <= room) {
            room -= bytes;
            continue;
        }
        if (u->failed == PROBLEM_NONE)
            server_note(s, "upload to %s ended: %s", u->repository,
                        idle ? "nothing came for a while" : "uploads take more room than allowed");
        if (idle) {
            unlink_upload(u);
            upload_free(u);
        } else if (u->failed == PROBLEM_NONE) {
            u->failed = PROBLEM_FULL;
            child_end(u->receiver);
            u->receiver = NULL;
            unlinkat(s->work.fd, u->file, 0);
        }
    }
}
