/*
 * cp with a guest's own tar. Out: tar is a process like any other, whose output is the stream. In:
 * the stream is gathered in a file of the guest's first, because a tar that is fed through a fifo
 * would have to be fed in small pieces.
 *
 * What is named how is as kernel/tree.h has it, so that the other side, which checks every name,
 * takes the stream.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "runtime/vm/qga-internal.h"

#define CODE_NO_TAR  120
#define CODE_MISSING 121

/* folder, path, whether a link at its end is followed */
static const char out_script[] =
    "d=$1 p=$2 f=$3\n"
    "exec </dev/null >>\"$d/out\" 2>>\"$d/err\"\n"
    "rm -rf \"$d\"; echo\n"
    "command -v tar >/dev/null || exit 120\n"
    "case $p in /|*/.) cd \"$p\" || exit 121; exec tar --numeric-owner -cf - . ;; */) f=1 ;; esac\n"
    "while case $p in */) : ;; *) false ;; esac; do p=${p%/}; done\n"
    "[ -e \"$p\" ] || [ -h \"$p\" ] || exit 121\n"
    "n=${p##*/}\n"
    "if [ \"$f\" = 1 ] && [ -h \"$p\" ] && [ -d \"$p\" ]; then\n"
    "    cd \"$p\" || exit 121\n"
    "    n=$(printf %s \"$n\" | sed 's/[\\\\&,]/\\\\&/g')\n"
    "    exec tar --numeric-owner --transform \"s,^\\\\.,$n,rSh\" -cf - .\n"
    "fi\n"
    "cd \"${p%/*}/\" || exit 121\n"
    "h=; if [ \"$f\" = 1 ] && [ -h \"$n\" ]; then h=h; fi\n"
    "case $n in\n"
    "-*) exec tar --numeric-owner --transform 's,^\\./,,rSh' -c${h}f - \"./$n\" ;;\n"
    "*) exec tar --numeric-owner -c${h}f - \"$n\" ;;\n"
    "esac\n";

/* folder, path */
static const char in_script[] =
    "s=$1/in p=$2\n"
    "command -v tar >/dev/null || exit 120\n"
    "if [ -d \"$p\" ]; then exec tar --numeric-owner -xpf \"$s\" -C \"$p\"; fi\n"
    "while case $p in */) : ;; *) false ;; esac; do p=${p%/}; done\n"
    "[ -d \"${p%/*}/\" ] || exit 121\n"
    "t=$(mktemp -d \"${p%/*}/.proa-XXXXXX\") || exit 1\n"
    "trap 'rm -rf \"$t\"' EXIT\n"
    "tar --numeric-owner -xpf \"$s\" -C \"$t\" || exit 1\n"
    "case $(tar -tf \"$s\" | head -n 1) in\n"
    "./|.) mv -T \"$t\" \"$p\" && trap - EXIT; exit ;;\n"
    "esac\n"
    "for e in \"$t\"/* \"$t\"/.[!.]* \"$t\"/..?*; do\n"
    "    [ -e \"$e\" ] || [ -h \"$e\" ] || continue\n"
    "    mv -T \"$e\" \"$p\" || exit 1\n"
    "done\n";

static int tar_error(const struct qga_task *t, int code, const char *text, struct error *err)
{
    char line[200];
    if (code == CODE_NO_TAR)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the guest has no tar, which cp needs there");
    if (code == CODE_MISSING)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%.300s: no such file or directory",
                         t->path);
    /* A guest's words, on one line of a terminal. */
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\r\n"), text);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return error_set(err, ERROR_SYSTEM, EIO, "in the guest: %s",
                     *line ? line : "tar failed without a word");
}

static int get_path(struct qga_task *t, const struct agent_frame *f, struct error *err)
{
    const char *path;
    int r = agent_get_string(f, &path, err);
    if (r < 0)
        return r;
    if (path[0] != '/')
        return error_invalid(err, "%.200s is no absolute path", path);
    t->path = xstrdup(path);
    return 0;
}

/* --- out --- */

/* 1: some files changed while they were read, and are there all the same. */
static int out_ended(struct qga *q, struct qga_task *t, struct error *err)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(64);
    if (t->process.code > 1)
        return tar_error(t, t->process.code, t->text.len ? t->text.data : "", err);
    if (agent_add_close(&frame, 1, 1) == 0)
        qga_emit_buf(q, t, &frame);
    qga_emit(q, t, AGENT_OK, NULL, 0);
    qga_task_end(q, t);
    return 0;
}

int qga_tree_out_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                       struct error *err)
{
    (void)q;
    int r = get_path(t, f, err);
    if (r < 0)
        return r;
    t->process.script = out_script;
    t->process.finish = out_ended;
    t->process.keep_errors = true;
    r = qga_folder_make(t, 6, qga_process_run, err);
    strv_add(&t->process.argv, t->process.folder);
    strv_add(&t->process.argv, t->path);
    strv_add(&t->process.argv, f->type == AGENT_TREE_FOLLOW ? "1" : "0");
    return r;
}

/* --- in --- */

static int gather(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err);

static int extracted(struct qga *q, struct qga_task *t, const struct qga_status *s,
                     struct error *err)
{
    if (s->code != 0)
        return tar_error(t, s->code, s->errors ? s->errors : "", err);
    qga_emit(q, t, AGENT_OK, NULL, 0);
    qga_task_end(q, t);
    return 0;
}

static int on_gathered(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                       struct error *err)
{
    char *arguments[] = {t->process.folder, t->path, NULL};
    (void)q;
    int r = qga_need(a, "write a file in the guest", err);
    return r < 0 ? r : qga_help(t, in_script, arguments, extracted, err);
}

/* A disk that is full refuses; a file, unlike a fifo, does nothing else. */
static int on_piece(struct qga *q, struct qga_task *t, struct error *err)
{
    if (t->process.quiet)
        return error_set(err, ERROR_LIMIT, ENOSPC,
                         "the guest cannot keep the copy in /var/tmp: its disk may be full");
    return gather(q, t, NULL, err);
}

static int gather(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    int64_t in = t->process.handles[0];
    (void)q;
    (void)a;
    if (t->input.len > 0) {
        t->process.quiet = true;
        return qga_input_write(t, on_piece, err);
    }
    if (!t->input_closed) {
        qga_idle(t, gather);
        return 0;
    }
    t->process.handles[0] = -1;
    qga_ask(t, on_gathered);
    return qga_too_long(qga_add_number(&t->request, "guest-file-close", "handle", in), err);
}

static int begin_gathering(struct qga *q, struct qga_task *t, struct error *err)
{
    return gather(q, t, NULL, err);
}

int qga_tree_in_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                      struct error *err)
{
    (void)q;
    int r = get_path(t, f, err);
    if (r < 0)
        return r;
    t->process.gathers = true;
    return qga_folder_make(t, 1, begin_gathering, err);
}
