/*
 * What is asked of a guest as a whole: its processes, what it uses, what it is, that its file
 * systems stand still for a moment, its clock, its end.
 */
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "runtime/vm/qga-internal.h"

#define PROCESSES_MAX 4096
#define COLUMNS       8

/* Freezing writes everything out first. Thawed after this long whatever happens: a guest whose file
 * systems stand still stands still. */
#define HOLD_ASK_MS 120000
#define HOLD_MAX_MS 60000

static int ok(struct qga *q, struct qga_task *t)
{
    qga_emit(q, t, AGENT_OK, NULL, 0);
    qga_task_end(q, t);
    return 0;
}

static int emit_text(struct qga *q, struct qga_task *t, json_t *o, struct error *err)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(AGENT_PAYLOAD_MAX);
    char *text = json_to_text(o);
    int r = text ? agent_add_string(&frame, AGENT_TEXT, 1, text) : -EILSEQ;
    free(text);
    if (r < 0)
        return error_set(err, ERROR_LIMIT, EFBIG, "the guest says too much of itself");
    qga_emit_buf(q, t, &frame);
    qga_task_end(q, t);
    return 0;
}

/* --- top --- */

/* "UID PID PPID C STIME TTY TIME CMD", of which only the last may hold blanks. */
static json_t *ps_row(char *line)
{
    json_t *row = json_array();
    char *p = line;
    for (size_t i = 0; i < COLUMNS; i++) {
        p += strspn(p, " ");
        size_t len = i + 1 < COLUMNS ? strcspn(p, " ") : strlen(p);
        bool more = p[len] != '\0';
        p[len] = '\0';
        json_array_append_new(row, json_string(p));
        p += len + more;
    }
    return row;
}

static int on_ps(struct qga *q, struct qga_task *t, const struct qga_status *s, struct error *err)
{
    _cleanup_json_ json_t *titles = NULL, *rows = json_array(), *o = NULL;
    char *save = NULL;
    if (s->code != 0 || !s->output)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the guest's ps does not list its processes: is procps installed there?");
    for (char *line = strtok_r(s->output, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        for (char *p = line; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
        json_t *row = ps_row(line);
        if (!titles)
            titles = row;
        else if (json_array_size(rows) < PROCESSES_MAX)
            json_array_append_new(rows, row);
        else
            json_decref(row);
    }
    if (!titles)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the guest's ps says nothing");
    o = json_pack("{s:O, s:O}", "titles", titles, "processes", rows);
    return emit_text(q, t, o, err);
}

/* --- stats --- */

static void query_none(struct qga *q, struct qga_task *t)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(256);
    q->hooks.measure(q->hooks.context, &t->stats);
    if (agent_stats_add(&frame, 1, &t->stats) == 0)
        qga_emit_buf(q, t, &frame);
    qga_task_end(q, t);
}

static int on_traffic(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    struct qga_traffic traffic;
    if (a->value && qga_get_traffic(a, &traffic, err) == 0) {
        t->stats.net_rx_bytes = traffic.rx_bytes;
        t->stats.net_tx_bytes = traffic.tx_bytes;
    }
    query_none(q, t);
    return 0;
}

/* --- what it is --- */

static int info_next(struct qga *q, struct qga_task *t, struct error *err);

static int info_system(const struct qga_answer *a, json_t *o, struct error *err)
{
    json_t *v;
    int r = qga_get_system(a, &v, err);
    return r < 0 ? r : json_object_set_new(o, "system", v);
}

static int info_interfaces(const struct qga_answer *a, json_t *o, struct error *err)
{
    json_t *v;
    int r = qga_get_interfaces(a, &v, err);
    return r < 0 ? r : json_object_set_new(o, "interfaces", v);
}

static int info_users(const struct qga_answer *a, json_t *o, struct error *err)
{
    json_t *v;
    int r = qga_get_users(a, &v, err);
    return r < 0 ? r : json_object_set_new(o, "users", v);
}

static int info_version(const struct qga_answer *a, json_t *o, struct error *err)
{
    char version[32];
    int r = qga_get_info(a, version, sizeof(version), err);
    return r < 0 ? r : json_object_set_new(o, "version", json_string(version));
}

/* An agent that does not know a command leaves that part out. */
static const struct {
    const char *command;
    int (*take)(const struct qga_answer *a, json_t *o, struct error *err);
} info_parts[] = {
    {"guest-info", info_version},
    {"guest-get-osinfo", info_system},
    {"guest-network-get-interfaces", info_interfaces},
    {"guest-get-users", info_users},
};

static int on_info(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    size_t part = (size_t)t->helper++;
    if (a->value && info_parts[part].take(a, t->info, err) < 0)
        return -err->code;
    return info_next(q, t, err);
}

static int info_next(struct qga *q, struct qga_task *t, struct error *err)
{
    if ((size_t)t->helper == ARRAY_SIZE(info_parts))
        return emit_text(q, t, t->info, err);
    qga_ask(t, on_info);
    return qga_too_long(qga_add(&t->request, info_parts[t->helper].command, NULL), err);
}

/* Whoever lists machines does not wait for one without an agent. */
static int info_begin(struct qga *q, struct qga_task *t, struct error *err)
{
    t->info = json_pack("{s:s}", "agent", qga_state(q));
    return q->state == QGA_ANSWERS ? info_next(q, t, err) : emit_text(q, t, t->info, err);
}

/* --- file systems that stand still --- */

static int on_thawed(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                     struct error *err)
{
    int r = qga_need(a, "let the guest's file systems go on", err);
    if (r < 0)
        return r;
    q->held = false;
    if (t->until_ms < 0)
        return error_set(err, ERROR_SYSTEM, ETIMEDOUT,
                         "the guest's file systems stood still for %d seconds, and were let go",
                         HOLD_MAX_MS / 1000);
    return ok(q, t);
}

static int thaw(struct qga_task *t, struct error *err)
{
    qga_ask(t, on_thawed);
    t->give_up_ms = HOLD_ASK_MS;
    return qga_too_long(qga_add(&t->request, "guest-fsfreeze-thaw", NULL), err);
}

static int holding(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    int64_t left = t->until_ms - time_monotonic_ms();
    (void)q;
    (void)a;
    if (!t->input_closed && left > 0) {
        qga_wait(t, (unsigned int)left, holding);
        return 0;
    }
    if (!t->input_closed)
        t->until_ms = -1;
    return thaw(t, err);
}

static int on_held(struct qga *q, struct qga_task *t, const struct qga_answer *a, struct error *err)
{
    int64_t number;
    if (!a->value)
        q->held = false;
    int r = qga_need(a, "the guest's file systems cannot stand still", err);
    if (r == 0)
        r = qga_get_number(a, &number, err);
    if (r < 0)
        return r;
    qga_emit(q, t, AGENT_STARTED, NULL, 0);
    t->until_ms = time_monotonic_ms() + HOLD_MAX_MS;
    return holding(q, t, NULL, err);
}

static int hold_begin(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                      struct error *err)
{
    (void)a;
    if (t->input_closed) /* gone again before it began */
        return ok(q, t);
    if (q->held)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "the guest's file systems stand still already");
    q->held = true;
    qga_ask(t, on_held);
    t->give_up_ms = HOLD_ASK_MS;
    return qga_too_long(qga_add(&t->request, "guest-fsfreeze-freeze", NULL), err);
}

/* --- all of them --- */

int qga_query_begin(struct qga *q, struct qga_task *t, struct error *err)
{
    static char *const none[] = {NULL};
    switch (t->type) {
    case AGENT_PROCESSES:
        return qga_help(t, "exec ps -ef", none, on_ps, err);
    case AGENT_STATS:
        if (q->state != QGA_ANSWERS) { /* what is measured outside is shown at once */
            query_none(q, t);
            return 0;
        }
        qga_ask(t, on_traffic);
        return qga_too_long(qga_add(&t->request, "guest-network-get-interfaces", NULL), err);
    case AGENT_GUEST_INFO:
        return info_begin(q, t, err);
    case AGENT_QUIESCE:
        qga_wait(t, 0, hold_begin);
        return 0;
    default:
        return error_invalid(err, "message %d is not for a running machine", (int)t->type);
    }
}

/* --- of the session's own --- */

static int own_done(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                    struct error *err)
{
    (void)a;
    (void)err;
    qga_task_end(q, t);
    return 0;
}

static void own(struct qga *q, const char *command, json_t *arguments, qga_step done)
{
    struct qga_task *t = qga_task_new(q, 0, AGENT_SIGNAL);
    if (!t) {
        json_decref(arguments);
        return;
    }
    qga_ask(t, done);
    t->patience_ms = 0;
    if (qga_add(&t->request, command, arguments) < 0)
        qga_task_free(t);
}

void qga_own_thaw(struct qga *q)
{
    q->held = false;
    own(q, "guest-fsfreeze-thaw", NULL, own_done);
}

static int clock_helped(struct qga *q, struct qga_task *t, const struct qga_status *s,
                        struct error *err)
{
    (void)s;
    (void)err;
    qga_task_end(q, t);
    return 0;
}

/* The agent sets no clock where hwclock is not installed, as in Debian 12 without util-linux-extra.
 */
static int clock_answered(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                          struct error *err)
{
    char now[24], *arguments[] = {now, NULL};
    if (a->value)
        return own_done(q, t, a, err);
    snprintf(now, sizeof(now), "@%lld", (long long)(time_now_ns() / 1000000000));
    return qga_help(t, "exec date -u -s \"$1\"", arguments, clock_helped, err);
}

void qga_own_clock(struct qga *q)
{
    own(q, "guest-set-time", json_pack("{s:I}", "time", (json_int_t)time_now_ns()), clock_answered);
}

bool qga_ping(struct qga *q)
{
    if (q->state == QGA_ANSWERS)
        own(q, "guest-ping", NULL, own_done);
    return q->state == QGA_ANSWERS;
}

bool qga_shutdown(struct qga *q)
{
    if (q->state != QGA_ANSWERS || q->held)
        return false;
    own(q, "guest-shutdown", json_pack("{s:s}", "mode", "powerdown"), own_done);
    return true;
}
