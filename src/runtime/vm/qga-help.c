/*
 * What all that runs in the guest is made of: short commands of our own, a folder for a process's
 * files, input for it, and tidying up.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/vm/qga-internal.h"

/* folder, how "in" is made */
static const char prepare_script[] =
    "umask 077; mkdir \"$1\" && \"$2\" \"$1/in\" && : >\"$1/out\" && : >\"$1/err\"";

int qga_too_long(int r, struct error *err)
{
    return r == -EILSEQ ? error_invalid(err, "the guest agent takes text in UTF-8 only")
           : r < 0      ? error_set(err, ERROR_LIMIT, E2BIG, "too much for the guest agent at once")
                        : 0;
}

void qga_wake(struct qga_task *t)
{
    t->not_before_ms = 0;
    t->idle = false;
    t->process.pause_ms = QGA_PAUSE_FIRST_MS;
}

/* --- short commands of our own --- */

static int helper_ask(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err);

static int helper_status(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                         struct error *err)
{
    _cleanup_(qga_status_done) struct qga_status s = {0};
    int r = qga_need(a, "ask the guest agent", err);
    if (r == 0)
        r = qga_get_status(a, &s, err);
    if (r < 0)
        return r;
    if (s.exited)
        return t->helped(q, t, &s, err);
    t->process.pause_ms = MIN(t->process.pause_ms * 2, QGA_PAUSE_LAST_MS);
    qga_wait(t, t->process.pause_ms, helper_ask);
    return 0;
}

static int helper_ask(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    (void)q;
    (void)a;
    qga_ask(t, helper_status);
    return qga_too_long(qga_add_number(&t->request, "guest-exec-status", "pid", t->helper), err);
}

static int helper_started(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                          struct error *err)
{
    (void)q;
    int r = qga_need(a, "run a shell in the guest", err);
    if (r == 0)
        r = qga_get_pid(a, &t->helper, err);
    if (r == 0)
        qga_wait(t, t->process.pause_ms, helper_ask);
    return r;
}

int qga_shell_add(struct qga_task *t, const char *script, char *const *arguments, bool capture,
                  struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, "/bin/sh");
    strv_add(&argv, "-c");
    strv_add(&argv, script);
    strv_add(&argv, "sh");
    for (char *const *v = arguments; *v; v++)
        strv_add(&argv, *v);
    return qga_too_long(qga_add_exec(&t->request, argv, capture), err);
}

int qga_help(struct qga_task *t, const char *script, char *const *arguments, qga_helped helped,
             struct error *err)
{
    t->helped = helped;
    t->process.pause_ms = QGA_PAUSE_FIRST_MS;
    qga_ask(t, helper_started);
    return qga_shell_add(t, script, arguments, true, err);
}

/* --- the folder --- */

static const char *const file_names[] = {"in", "out", "err"};
static const char *const file_modes[] = {"r+", "r", "r"};

static int open_next(struct qga *q, struct qga_task *t, struct error *err);

static int on_opened(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                     struct error *err)
{
    int r = qga_need(a, "open a file in the guest", err);
    for (size_t i = 0; i < ARRAY_SIZE(file_names) && r == 0; i++)
        if (t->process.handles[i] == -2) {
            t->process.handles[i] = -1;
            r = qga_get_number(a, &t->process.handles[i], err);
            break;
        }
    return r < 0 ? r : open_next(q, t, err);
}

/* -3: to be opened, -2: being opened. */
static int open_next(struct qga *q, struct qga_task *t, struct error *err)
{
    char path[80];
    for (size_t i = 0; i < ARRAY_SIZE(file_names); i++)
        if (t->process.handles[i] == -3) {
            t->process.handles[i] = -2;
            snprintf(path, sizeof(path), "%s/%s", t->process.folder, file_names[i]);
            qga_ask(t, on_opened);
            return qga_too_long(qga_add_open(&t->request, path, file_modes[i]), err);
        }
    return t->process.ready(q, t, err);
}

static int on_folder(struct qga *q, struct qga_task *t, const struct qga_status *s,
                     struct error *err)
{
    if (s->code != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "cannot make %s in the guest", t->process.folder);
    return open_next(q, t, err);
}

int qga_folder_make(struct qga_task *t, unsigned int open, qga_finish ready, struct error *err)
{
    char name[33], make[8], *arguments[] = {t->process.folder, make, NULL};
    snprintf(make, sizeof(make), "%s", t->process.gathers ? "touch" : "mkfifo");
    random_hex(name, 16);
    snprintf(t->process.folder, sizeof(t->process.folder), "/var/tmp/.proa-%s", name);
    for (size_t i = 0; i < ARRAY_SIZE(file_names); i++)
        t->process.handles[i] = open & 1u << i ? -3 : -1;
    t->process.ready = ready;
    return qga_help(t, prepare_script, arguments, on_folder, err);
}

bool qga_process_sweep(struct qga_task *t)
{
    _cleanup_strv_ char **argv = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(t->process.handles); i++) {
        int64_t handle = t->process.handles[i];
        t->process.handles[i] = -1;
        if (handle >= 0)
            return qga_add_number(&t->request, "guest-file-close", "handle", handle) == 0;
    }
    if (!*t->process.folder)
        return false;
    strv_add(&argv, "/bin/rm");
    strv_add(&argv, "-rf");
    strv_add(&argv, t->process.folder);
    *t->process.folder = '\0';
    return qga_add_exec(&t->request, argv, false) == 0;
}

/* --- input --- */

static int on_flushed(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(64);
    size_t n = (size_t)t->helper;
    if (a->value && n > 0) {
        buf_consume(&t->input, n);
        t->process.quiet = false;
        if (agent_add_credit(&frame, 1, 0, (uint32_t)n) == 0)
            qga_emit_buf(q, t, &frame);
    }
    return t->process.written(q, t, err);
}

static int on_written(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    size_t n = 0;
    int r = a->value ? qga_get_count(a, (size_t)t->helper, &n, err) : 0;
    if (r < 0)
        return r;
    if (n == 0)
        return t->process.written(q, t, err);
    t->helper = (int64_t)n;
    qga_ask(t, on_flushed);
    return qga_too_long(
        qga_add_number(&t->request, "guest-file-flush", "handle", t->process.handles[0]), err);
}

int qga_input_write(struct qga_task *t, qga_finish written, struct error *err)
{
    size_t n = MIN(t->input.len, QGA_DATA_MAX);
    t->helper = (int64_t)n;
    t->process.written = written;
    qga_ask(t, on_written);
    return qga_too_long(qga_add_write(&t->request, t->process.handles[0], t->input.data, n), err);
}
