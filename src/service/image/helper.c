/* Running proa-layer: its JSON, its progress lines, and its errors as errors of ours. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

#define HELPER_OUT    3
#define HELPER_SPLIT  4
#define HELPER_FOLLOW 5

struct output {
    const struct image_helper *helper;
    struct buf out, err;
};

static void take_progress(void *context)
{
    struct output *o = context;
    program_progress(&o->out, o->helper->progress, o->helper->context);
}

static char **make_argv(const struct image_helper *h, const char *path)
{
    char **argv = NULL;
    strv_add(&argv, path);
    strv_add(&argv, h->command);
    if (h->out >= 0) {
        strv_add(&argv, "--out");
        strv_addf(&argv, "%d", HELPER_OUT);
    }
    if (h->has_split) {
        strv_add(&argv, "--split");
        strv_addf(&argv, "%d", HELPER_SPLIT);
    }
    if (h->compress) {
        strv_add(&argv, "--compress");
        strv_add(&argv, h->compress);
    }
    if (h->ranged) {
        strv_add(&argv, "--range");
        strv_addf(&argv, "%llu:%llu", (unsigned long long)h->offset, (unsigned long long)h->size);
    }
    if (h->follows) {
        strv_add(&argv, "--follow");
        strv_addf(&argv, "%d", HELPER_FOLLOW);
    }
    if (h->max_bytes) {
        strv_add(&argv, "--max-bytes");
        strv_addf(&argv, "%llu", (unsigned long long)h->max_bytes);
    }
    if (h->need_end)
        strv_add(&argv, "--need-end");
    if (h->in_place)
        strv_add(&argv, "--in-place");
    if (h->verify)
        strv_add(&argv, "--verify");
    if (h->progress)
        strv_add(&argv, "--progress");
    return argv;
}

#define HELPER_FDS 4

/* What it is given besides stdout and stderr; gives how many. */
static size_t make_fds(const struct image_helper *h, struct process_fd fds[static HELPER_FDS])
{
    size_t n = 0;
    fds[n++] = (struct process_fd){h->in, STDIN_FILENO};
    if (h->out >= 0)
        fds[n++] = (struct process_fd){h->out, HELPER_OUT};
    if (h->has_split)
        fds[n++] = (struct process_fd){h->split, HELPER_SPLIT};
    if (h->follows)
        fds[n++] = (struct process_fd){h->follow, HELPER_FOLLOW};
    return n;
}

static int run(const struct image_helper *h, const char *path, struct output *o, int *ret_status,
               struct error *err)
{
    _cleanup_strv_ char **argv = make_argv(h, path);
    struct process_fd fds[HELPER_FDS];
    size_t n = make_fds(h, fds);
    const struct process_spec spec = {.path = path, .argv = argv, .fds = fds, .n_fds = n};
    const struct process_capture capture = {&o->out, &o->err, take_progress, o};
    return process_capture(&spec, &capture, ret_status, err);
}

int image_helper_run(const struct image_helper *h, json_t **ret, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    struct output o = {h, BUF_INIT(JSON_MAX_BYTES), BUF_INIT(16384)};
    int status = 0;
    int r = program_find("proa-layer", &path, err);
    if (r == 0)
        r = run(h, path, &o, &status, err);
    if (r == 0 && status != 0)
        r = program_failed("proa-layer", &o.err, status, err);
    if (r == 0)
        r = json_parse(o.out.data ? o.out.data : "", o.out.len, "proa-layer", ret, err);
    buf_done(&o.out);
    buf_done(&o.err);
    return r;
}

int image_helper_start(const struct image_helper *h, struct image_helper_child *ret,
                       struct error *err)
{
    _cleanup_free_ char *path = NULL;
    int out[2], complaints[2];
    int r = program_find("proa-layer", &path, err);
    if (r < 0)
        return r;
    if (pipe2(out, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int out_read = out[0], out_write = out[1];
    if (pipe2(complaints, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int err_read = complaints[0], err_write = complaints[1];
    if ((r = fd_set_nonblock(out_read, true)) < 0 || (r = fd_set_nonblock(err_read, true)) < 0)
        return error_errno(err, r, "make a pipe");
    _cleanup_strv_ char **argv = make_argv(h, path);
    struct process_fd fds[HELPER_FDS + 2] = {{out_write, STDOUT_FILENO},
                                             {err_write, STDERR_FILENO}};
    size_t n = 2 + make_fds(h, fds + 2);
    const struct process_spec spec = {.path = path, .argv = argv, .fds = fds, .n_fds = n};
    if ((r = process_start(&spec, &ret->pid, err)) < 0)
        return r;
    ret->out_fd = TAKE_FD(out_read);
    ret->err_fd = TAKE_FD(err_read);
    return 0;
}

/* Everything that is there; true at the end. Of complaints the last bytes are kept. */
static int drain(int fd, struct buf *to, bool keep_last, bool *ret_end)
{
    char chunk[4096];
    ssize_t n;
    int r = 0;
    *ret_end = false;
    while (r == 0 && ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))) {
        if (n < 0)
            continue;
        if (keep_last && to->len + (size_t)n > to->max)
            buf_consume(to, to->len / 2);
        r = buf_add(to, chunk, (size_t)n);
    }
    if (r == 0 && n < 0 && errno != EAGAIN)
        r = -errno;
    *ret_end = r == 0 && n == 0;
    return r;
}

int image_helper_read(struct image_helper_child *c, struct error *err)
{
    bool out_end = false, err_end = false;
    int r = c->out_fd >= 0 ? drain(c->out_fd, &c->out, false, &out_end) : 0;
    if (r == 0 && c->err_fd >= 0)
        r = drain(c->err_fd, &c->err, true, &err_end);
    if (r < 0)
        return error_errno(err, r, "read the output of proa-layer");
    if (out_end)
        c->out_fd = close_fd(c->out_fd);
    if (err_end)
        c->err_fd = close_fd(c->err_fd);
    return c->out_fd < 0 && c->err_fd < 0;
}

static void child_done(struct image_helper_child *c)
{
    c->out_fd = close_fd(c->out_fd);
    c->err_fd = close_fd(c->err_fd);
    buf_done(&c->out);
    buf_done(&c->err);
    *c = (struct image_helper_child)IMAGE_HELPER_CHILD_INIT;
}

int image_helper_finish(struct image_helper_child *c, json_t **ret, struct error *err)
{
    int status = 0;
    int r = process_wait(c->pid, &status);
    if (r < 0)
        r = error_errno(err, r, "wait for proa-layer");
    else if (status != 0)
        r = program_failed("proa-layer", &c->err, status, err);
    else
        r = json_parse(c->out.data ? c->out.data : "", c->out.len, "proa-layer", ret, err);
    child_done(c);
    return r;
}

void image_helper_abandon(struct image_helper_child *c)
{
    int status;
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        (void)!process_wait(c->pid, &status);
    }
    child_done(c);
}

char *image_text_digest(const char *text, size_t len)
{
    struct sha256 h;
    unsigned char digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    sha256_init(&h);
    sha256_add(&h, text, len);
    sha256_end(&h, digest);
    hex_encode(digest, sizeof(digest), hex);
    return xasprintf(DIGEST_PREFIX "%s", hex);
}
