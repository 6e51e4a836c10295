/* Running proa-layer: its JSON, its progress lines, and its errors as errors of ours. */
#include <ctype.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"

#define HELPER_OUT   3
#define HELPER_SPLIT 4

struct output {
    const struct image_helper *helper;
    struct buf out, err;
};

/* Takes complete progress lines (bare numbers) off the front; the JSON line stays. */
static void take_progress(void *context)
{
    struct output *o = context;
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
    if (h->need_end)
        strv_add(&argv, "--need-end");
    if (h->verify)
        strv_add(&argv, "--verify");
    if (h->progress)
        strv_add(&argv, "--progress");
    return argv;
}

static int run(const struct image_helper *h, const char *path, struct output *o, int *ret_status,
               struct error *err)
{
    _cleanup_strv_ char **argv = make_argv(h, path);
    struct process_fd fds[3] = {{h->in, STDIN_FILENO}};
    size_t n = 1;
    if (h->out >= 0)
        fds[n++] = (struct process_fd){h->out, HELPER_OUT};
    if (h->has_split)
        fds[n++] = (struct process_fd){h->split, HELPER_SPLIT};
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
