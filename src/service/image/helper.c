/* Running proa-layer: its JSON, its progress lines, and its errors as errors of ours. */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"

#define HELPER_OUT 3

struct output {
    const struct image_helper *helper;
    struct buf out, err;
};

/* Takes complete progress lines (bare numbers) off the front; the JSON line stays. */
static void take_progress(struct output *o)
{
    char *end;
    uint64_t bytes;
    while (o->out.len > 0 && isdigit((unsigned char)o->out.data[0]) &&
           (end = memchr(o->out.data, '\n', o->out.len))) {
        *end = '\0';
        if (parse_u64(o->out.data, UINT64_MAX, &bytes) == 0 && o->helper->progress)
            o->helper->progress(o->helper->context, bytes);
        buf_consume(&o->out, (size_t)(end - o->out.data) + 1);
    }
}

static int collect(struct output *o, int out_fd, int err_fd)
{
    struct pollfd fds[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < 2; i++) {
            char chunk[16384];
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            ssize_t n = read(fds[i].fd, chunk, sizeof(chunk));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0) {
                fds[i].fd = -1;
                continue;
            }
            int r = buf_add(i == 0 ? &o->out : &o->err, chunk, (size_t)n);
            if (r < 0 && i == 0) /* complaints beyond the buffer are let go */
                return r;
            take_progress(o);
        }
    }
    return 0;
}

/* The helper's last line is "KIND MESSAGE"; anything else is quoted as it is. */
static int helper_failed(struct buf *text, int status, struct error *err)
{
    while (text->len > 0 && text->data[text->len - 1] == '\n')
        text->data[--text->len] = '\0';
    if (text->len == 0)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-layer ended with status %d", status);
    char *line = strrchr(text->data, '\n');
    line = line ? line + 1 : text->data;
    char *space = strchr(line, ' ');
    if (!space || status != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-layer ended with status %d: %s", status,
                         line);
    *space = '\0';
    enum error_kind kind = error_kind_from_name(line);
    return error_set(err, kind, kind == ERROR_LIMIT ? EFBIG : EBADMSG, "%s", space + 1);
}

static char **make_argv(const struct image_helper *h, const char *path)
{
    char **argv = NULL;
    strv_add(&argv, path);
    strv_add(&argv, h->command);
    if (h->out >= 0)
        strv_addf(&argv, "--out");
    if (h->out >= 0)
        strv_addf(&argv, "%d", HELPER_OUT);
    if (h->ranged) {
        strv_add(&argv, "--range");
        strv_addf(&argv, "%llu:%llu", (unsigned long long)h->offset, (unsigned long long)h->size);
    }
    if (h->need_end)
        strv_add(&argv, "--need-end");
    if (h->progress)
        strv_add(&argv, "--progress");
    return argv;
}

static int run(const struct image_helper *h, const char *path, struct output *o, int *ret_status,
               struct error *err)
{
    int out_pipe[2], err_pipe[2];
    _cleanup_strv_ char **argv = make_argv(h, path);
    if (pipe2(out_pipe, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int out_read = out_pipe[0], out_write = out_pipe[1];
    if (pipe2(err_pipe, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int err_read = err_pipe[0], err_write = err_pipe[1];
    struct process_fd fds[] = {{h->in, 0}, {out_write, 1}, {err_write, 2}, {h->out, HELPER_OUT}};
    struct process_spec spec = {
        .path = path,
        .argv = argv,
        .fds = fds,
        .n_fds = h->out >= 0 ? 4 : 3,
    };
    pid_t pid;
    int r = process_start(&spec, &pid, err);
    if (r < 0)
        return r;
    out_write = close_fd(out_write);
    err_write = close_fd(err_write);
    int collected = collect(o, out_read, err_read);
    out_read = close_fd(out_read); /* if it still writes, it ends */
    if ((r = process_wait(pid, ret_status)) < 0)
        return error_errno(err, r, "wait for proa-layer");
    return collected < 0 ? error_errno(err, collected, "read the output of proa-layer") : 0;
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
        r = helper_failed(&o.err, status, err);
    if (r == 0)
        r = json_parse(o.out.data ? o.out.data : "", o.out.len, "proa-layer", ret, err);
    buf_done(&o.out);
    buf_done(&o.err);
    return r;
}

int image_text_digest(const char *text, size_t len, char **ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const char *digest = NULL;
    _cleanup_close_ int fd = memfd_create("proa-digest", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "compute a digest");
    int r = fd_write_all(fd, text, len);
    if (r < 0)
        return error_errno(err, r, "compute a digest");
    struct image_helper h = {
        .command = "digest", .in = fd, .out = -EBADF, .ranged = true, .size = len};
    if ((r = image_helper_run(&h, &o, err)) < 0 ||
        (r = json_get_string(o, "proa-layer", "digest", &digest, err)) < 0)
        return r;
    *ret = xstrdup(digest ? digest : "");
    return 0;
}
