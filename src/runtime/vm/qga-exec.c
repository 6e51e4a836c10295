/*
 * Processes in the guest. The agent's own guest-exec gives output only when all is over, and takes
 * input only before it begins; so a shell of the guest's connects the process to files first:
 *
 *   folder made -> its files opened by the agent -> process started -> rounds -> end
 *
 * Output goes to files that are removed as soon as both sides have them open, and is read from
 * there; it takes room in the guest until the process has ended. Input goes through a fifo, into
 * which a `cat` of the agent's writes each piece, so that a process that does not read stops its
 * own input only. The agent keeps the fifo open until the command's input has ended; an empty line,
 * the first of the output, says that the shell has it open, too, and is no output.
 *
 * A round looks after the input, reads both outputs and asks for the status; one that brought
 * nothing is followed by a pause.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/vm/qga-internal.h"

#define FEED_MAX ((size_t)48 << 10)

/* Becomes the command "$@" as user $u, in directory $c. The full path first: a busybox has a
 * setpriv of its own that can do less. */
#define BECOME                                                                                     \
    "cd \"${c:-/}\" || exit 126\n"                                                                 \
    "[ -n \"$u\" ] || { export HOME=\"${HOME:-/root}\"; exec \"$@\"; }\n"                          \
    "s=/usr/bin/setpriv; [ -x \"$s\" ] || s=setpriv\n"                                             \
    "\"$s\" --help 2>&1 | grep -q -e --reuid || {\n"                                               \
    "    echo \"the guest has no setpriv (of util-linux), which --user needs\" >&2; exit 126; }\n" \
    "n=${u%%:*}\n"                                                                                 \
    "g=$(id -g \"$n\") || exit 126\n"                                                              \
    "case $u in *:*) g=${u#*:} ;; esac\n"                                                          \
    "h=$(getent passwd \"$n\" | cut -d: -f6)\n"                                                    \
    "export HOME=\"${h:-/}\"\n"                                                                    \
    "exec \"$s\" --reuid \"$n\" --regid \"$g\" --init-groups -- \"$@\"\n"

/* folder, interactive, directory, user, command… */
static const char run_script[] =
    "d=$1 i=$2 c=$3 u=$4; shift 4\n"
    "if [ \"$i\" = 1 ]; then exec <\"$d/in\"; else exec </dev/null; fi\n"
    "exec >>\"$d/out\" 2>>\"$d/err\"\n"
    "if [ \"$i\" = 1 ]; then rm -f \"$d/out\" \"$d/err\"; else rm -rf \"$d\"; fi\n"
    "echo\n" BECOME;

/* Nobody waits for a detached one. */
static const char detach_script[] = "c=$3 u=$4; shift 4\n" BECOME;

static const char feed_script[] = "exec cat >\"$1/in\"";
static const char kill_script[] = "kill -\"$1\" \"$2\"";

/* --- rounds --- */

static int round_begin(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                       struct error *err);

static int round_end(struct qga *q, struct qga_task *t, struct error *err)
{
    struct qga_process *p = &t->process;
    if (p->exited && p->empty[1] && p->empty[2])
        return p->finish(q, t, err);
    p->pause_ms = p->quiet ? MIN(p->pause_ms * 2, QGA_PAUSE_LAST_MS) : QGA_PAUSE_FIRST_MS;
    qga_wait(t, p->quiet ? p->pause_ms : 0, round_begin);
    return 0;
}

static int on_status(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                     struct error *err)
{
    _cleanup_(qga_status_done) struct qga_status s = {0};
    int r = qga_need(a, "ask the guest agent", err);
    if (r == 0)
        r = qga_get_status(a, &s, err);
    if (r < 0)
        return r;
    if (s.exited) { /* what it wrote last is read in one more round */
        t->process.exited = true;
        t->process.code = s.code;
        t->process.quiet = false;
        t->process.empty[1] = t->process.empty[2] = false;
    }
    return round_end(q, t, err);
}

static int ask_status(struct qga *q, struct qga_task *t, struct error *err)
{
    if (t->process.exited)
        return round_end(q, t, err);
    qga_ask(t, on_status);
    return qga_too_long(qga_add_number(&t->request, "guest-exec-status", "pid", t->process.pid),
                        err);
}

/* Of stderr that is kept only the beginning: it ends in a message. */
static void take_output(struct qga *q, struct qga_task *t, uint8_t channel, const char *data,
                        size_t len)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(AGENT_PAYLOAD_MAX);
    if (channel == 2 && t->process.keep_errors) {
        if (t->text.len < 400)
            (void)!buf_add(&t->text, data, MIN(len, (size_t)400));
        return;
    }
    if (channel == 1 && !t->process.connected) {
        t->process.connected = true;
        data++;
        len--;
    }
    t->credit[channel] -= (uint32_t)len;
    if (len > 0 && agent_add_data(&frame, 1, channel, data, len) == 0)
        qga_emit_buf(q, t, &frame);
}

static size_t may_read(const struct qga_task *t, uint8_t channel)
{
    bool kept = channel == 2 && t->process.keep_errors;
    return kept ? AGENT_DATA_MAX : MIN((size_t)t->credit[channel], AGENT_DATA_MAX);
}

static int read_output(struct qga *q, struct qga_task *t, uint8_t channel, struct error *err);

static int on_output(struct qga *q, struct qga_task *t, const struct qga_answer *a, uint8_t channel,
                     struct error *err)
{
    struct qga_data d = {0};
    int r = qga_need(a, "read a process's output in the guest", err);
    if (r == 0)
        r = qga_get_data(a, may_read(t, channel), &d, err);
    if (r < 0)
        return r;
    t->process.empty[channel] = d.len == 0;
    if (d.len > 0) {
        t->process.quiet = false;
        take_output(q, t, channel, d.bytes, d.len);
    }
    free(d.bytes);
    return channel == 1 ? read_output(q, t, 2, err) : ask_status(q, t, err);
}

static int on_stdout(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                     struct error *err)
{
    return on_output(q, t, a, 1, err);
}

static int on_stderr(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                     struct error *err)
{
    return on_output(q, t, a, 2, err);
}

/* Without credit the file keeps it. */
static int read_output(struct qga *q, struct qga_task *t, uint8_t channel, struct error *err)
{
    size_t n = may_read(t, channel);
    if (n == 0) {
        t->process.empty[channel] = false;
        return channel == 1 ? read_output(q, t, 2, err) : ask_status(q, t, err);
    }
    qga_ask(t, channel == 1 ? on_stdout : on_stderr);
    return qga_too_long(qga_add_read(&t->request, t->process.handles[channel], n), err);
}

static int on_input_closed(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                           struct error *err)
{
    (void)a;
    return read_output(q, t, 1, err);
}

/* --- input --- */

static int on_feeding(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    int r = qga_need(a, "run a shell in the guest", err);
    if (r == 0)
        r = qga_get_pid(a, &t->process.feeder, err);
    return r < 0 ? r : read_output(q, t, 1, err);
}

static int on_fed(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    _cleanup_(qga_status_done) struct qga_status s = {0};
    _cleanup_buf_ struct buf frame = BUF_INIT(64);
    int r = qga_need(a, "ask the guest agent", err);
    if (r == 0)
        r = qga_get_status(a, &s, err);
    if (r < 0)
        return r;
    if (s.exited) {
        t->process.feeder = 0;
        t->process.quiet = false;
        buf_consume(&t->input, t->process.fed);
        if (agent_add_credit(&frame, 1, 0, (uint32_t)t->process.fed) == 0)
            qga_emit_buf(q, t, &frame);
    }
    return read_output(q, t, 1, err);
}

static int feed(struct qga_task *t, struct error *err)
{
    char shell[] = "/bin/sh", option[] = "-c", name[] = "sh";
    char *argv[] = {shell, option, (char *)feed_script, name, t->process.folder, NULL};
    t->process.fed = MIN(t->input.len, FEED_MAX);
    qga_ask(t, on_feeding);
    return qga_too_long(qga_add_feed(&t->request, argv, t->input.data, t->process.fed), err);
}

static int round_begin(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                       struct error *err)
{
    struct qga_process *p = &t->process;
    int64_t in = p->connected && !p->exited ? p->handles[0] : -1;
    (void)a;
    p->quiet = true;
    if (in >= 0 && p->feeder > 0) {
        qga_ask(t, on_fed);
        return qga_too_long(qga_add_number(&t->request, "guest-exec-status", "pid", p->feeder),
                            err);
    }
    if (in >= 0 && t->input.len > 0)
        return feed(t, err);
    if (in >= 0 && t->input_closed) {
        p->handles[0] = -1;
        qga_ask(t, on_input_closed);
        return qga_too_long(qga_add_number(&t->request, "guest-file-close", "handle", in), err);
    }
    return read_output(q, t, 1, err);
}

/* --- from its start to its end --- */

static int on_started(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    int r = qga_need(a, "run a shell in the guest", err);
    if (r == 0)
        r = qga_get_pid(a, &t->process.pid, err);
    if (r < 0)
        return r;
    if (t->process.handles[0] < 0) /* the shell removes it first of all */
        *t->process.folder = '\0';
    if (t->type == AGENT_EXEC)
        qga_emit(q, t, AGENT_STARTED, NULL, 0);
    if (!t->process.finish) { /* detached */
        qga_task_end(q, t);
        return 0;
    }
    t->process.pause_ms = QGA_PAUSE_FIRST_MS;
    qga_wait(t, 0, round_begin);
    return 0;
}

int qga_process_run(struct qga *q, struct qga_task *t, struct error *err)
{
    (void)q;
    qga_ask(t, on_started);
    return qga_shell_add(t, t->process.script, t->process.argv, false, err);
}

static int killed(struct qga *q, struct qga_task *t, const struct qga_status *s, struct error *err)
{
    (void)s; /* a process that has ended meanwhile is none to complain about */
    (void)err;
    qga_task_end(q, t);
    return 0;
}

int qga_process_kill(struct qga *q, const struct qga_task *t, uint32_t signum, struct error *err)
{
    char number[16], pid[24], *arguments[] = {number, pid, NULL};
    struct qga_task *own = t->process.pid > 0 ? qga_task_new(q, 0, AGENT_SIGNAL) : NULL;
    if (!own)
        return 0;
    snprintf(number, sizeof(number), "%u", signum);
    snprintf(pid, sizeof(pid), "%lld", (long long)t->process.pid);
    int r = qga_help(own, kill_script, arguments, killed, err);
    if (r < 0)
        qga_task_free(own);
    return r;
}

static int exec_ended(struct qga *q, struct qga_task *t, struct error *err)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(64);
    (void)err;
    if (agent_add_u32(&frame, AGENT_EXIT, 1, (uint32_t)t->process.code) == 0)
        qga_emit_buf(q, t, &frame);
    qga_task_end(q, t);
    return 0;
}

static void exec_argv(struct qga_task *t, const struct agent_exec *e)
{
    char ***argv = &t->process.argv;
    strv_add(argv, t->process.folder);
    strv_add(argv, e->stdin_open ? "1" : "0");
    strv_add(argv, e->cwd ? e->cwd : "");
    strv_add(argv, e->user ? e->user : "");
    if (e->env && e->env[0])
        strv_add(argv, "env");
    for (char **v = e->env; v && *v; v++)
        if (strchr(*v, '='))
            strv_add(argv, *v);
    for (char **v = e->argv; *v; v++)
        strv_add(argv, *v);
}

static int exec_start(struct qga *q, struct qga_task *t, const struct agent_exec *e,
                      struct error *err)
{
    if (e->terminal)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the QEMU guest agent gives no terminal: use the serial console (proa "
                         "attach), or exec without -t");
    if (!e->argv[0])
        return error_invalid(err, "no command");
    t->input_closed = !e->stdin_open;
    t->process.script = e->detach ? detach_script : run_script;
    t->process.finish = e->detach ? NULL : exec_ended;
    if (e->detach) {
        exec_argv(t, e);
        return qga_process_run(q, t, err);
    }
    int r = qga_folder_make(t, e->stdin_open ? 7 : 6, qga_process_run, err);
    exec_argv(t, e);
    return r;
}

int qga_exec_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                   struct error *err)
{
    struct agent_exec e;
    int r = agent_exec_get(f, &e, err);
    if (r < 0)
        return r;
    r = exec_start(q, t, &e, err);
    agent_exec_done(&e);
    return r;
}
