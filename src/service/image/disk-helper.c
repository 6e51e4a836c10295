/* Running proa-disk, and through it qemu-img. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/disk-internal.h"

/* Above the machines' (runtime/vm/main.c); one for each process that converts. */
#define UID_BASE 0x74000000u
#define UID_MASK 0x003fffffu

#define QEMU_IMG "qemu-img: "

struct output {
    const struct disk_helper *helper;
    struct buf out, err;
};

static void take_progress(void *context)
{
    struct output *o = context;
    program_progress(&o->out, o->helper->progress, o->helper->context);
}

/* The last line is qemu-img's own, or proa-disk's. */
static int failed(struct buf *text, int status, struct error *err)
{
    while (text->len > 0 && text->data[text->len - 1] == '\n')
        text->data[--text->len] = '\0';
    const char *line = text->len > 0 ? strrchr(text->data, '\n') : NULL;
    line = line ? line + 1 : text->len > 0 ? text->data : "";
    if (strncmp(line, QEMU_IMG, strlen(QEMU_IMG)) != 0)
        return program_failed("proa-disk", text, status, err);
    bool full = strstr(line, "No space left");
    return error_set(err, full ? ERROR_LIMIT : ERROR_CORRUPT, full ? ENOSPC : EBADMSG,
                     "the disk image cannot be converted: %s", line + strlen(QEMU_IMG));
}

static int run(const struct disk_helper *h, const char *path, struct output *o, int *ret_status,
               struct error *err)
{
    char **argv = NULL;
    strv_add(&argv, path);
    for (size_t i = 0; h->argv[i]; i++)
        strv_add(&argv, h->argv[i]);
    struct process_fd fds[3] = {{h->in, h->in_as}};
    size_t n = 1;
    if (h->out >= 0)
        fds[n++] = (struct process_fd){h->out, h->out_as};
    if (h->more_as > 0)
        fds[n++] = (struct process_fd){h->more, h->more_as};
    const struct process_spec spec = {.path = path, .argv = argv, .fds = fds, .n_fds = n};
    const struct process_capture capture = {&o->out, &o->err, take_progress, o};
    int r = process_capture(&spec, &capture, ret_status, err);
    strv_free(argv);
    return r;
}

int disk_helper_run(const struct disk_helper *h, json_t **ret, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    struct output o = {h, BUF_INIT(JSON_MAX_BYTES), BUF_INIT(16384)};
    int status = 0;
    int r = program_find("proa-disk", &path, err);
    if (r == 0)
        r = run(h, path, &o, &status, err);
    if (r == 0 && status != 0)
        r = failed(&o.err, status, err);
    if (r == 0 && ret)
        r = json_parse(o.out.data ? o.out.data : "", o.out.len, "proa-disk", ret, err);
    buf_done(&o.out);
    buf_done(&o.err);
    return r;
}

int disk_helper_cut(int in, int out, uint64_t bytes, const struct disk_import *progress,
                    struct disk_index *ret, struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    _cleanup_json_ json_t *o = NULL;
    struct disk_helper h = {.in = in, .in_as = STDIN_FILENO, .out = out, .out_as = 3};
    strv_add(&argv, "cut");
    strv_add(&argv, "--bytes");
    strv_addf(&argv, "%llu", (unsigned long long)bytes);
    if (out >= 0) {
        strv_add(&argv, "--out");
        strv_add(&argv, "3");
    }
    if (progress && progress->progress) {
        strv_add(&argv, "--progress");
        h.progress = progress->progress;
        h.context = progress->context;
    }
    h.argv = argv;
    int r = disk_helper_run(&h, &o, err);
    return r < 0 ? r : disk_cut_parse(o, ret, err);
}

int disk_helper_pack(int raw, int packed, uint64_t bytes, struct disk_index *ret, struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    _cleanup_json_ json_t *o = NULL;
    strv_add(&argv, "cut");
    strv_add(&argv, "--bytes");
    strv_addf(&argv, "%llu", (unsigned long long)bytes);
    strv_add(&argv, "--packed");
    strv_add(&argv, "4");
    const struct disk_helper h = {
        .argv = argv, .in = raw, .in_as = STDIN_FILENO, .out = packed, .out_as = 4};
    int r = disk_helper_run(&h, &o, err);
    return r < 0 ? r : disk_cut_parse(o, ret, err);
}

int disk_helper_unpack(int packed, int raw, const struct disk_index *index, struct error *err)
{
    char *argv[] = {(char *)"unpack", (char *)"--out", (char *)"3", NULL};
    _cleanup_free_ char *text = disk_cut_text(index);
    _cleanup_close_ int list = memfd_create("proa-disk-list", MFD_CLOEXEC);
    int r = list < 0 ? -errno : fd_write_all(list, text, strlen(text));
    if (r == 0 && lseek(list, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "list the chunks of a disk");
    _cleanup_json_ json_t *o = NULL;
    const struct disk_helper h = {.argv = argv,
                                  .in = packed,
                                  .in_as = STDIN_FILENO,
                                  .out = raw,
                                  .out_as = 3,
                                  .more = list,
                                  .more_as = 4};
    return disk_helper_run(&h, &o, err);
}

int disk_helper_convert(int in, const char *format, int out, const char *to, uint64_t bytes,
                        struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    uid_t uid = UID_BASE + ((uid_t)getpid() & UID_MASK);
    strv_add(&argv, "convert");
    strv_add(&argv, "--format");
    strv_add(&argv, format);
    strv_add(&argv, "--to");
    strv_add(&argv, to);
    strv_addf(&argv, "--bytes");
    strv_addf(&argv, "%llu", (unsigned long long)bytes);
    strv_add(&argv, "--uid");
    strv_addf(&argv, "%u", uid);
    /* It opens them again by /proc/self/fd, as that user. */
    if (geteuid() == 0 && (fchown(in, uid, uid) < 0 || fchown(out, uid, uid) < 0))
        return error_errno(err, errno, "hand the disk image over");
    struct disk_helper h = {.argv = argv, .in = in, .in_as = 3, .out = out, .out_as = 4};
    return disk_helper_run(&h, NULL, err);
}
