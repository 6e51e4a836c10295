/* Ending instances: stop, kill, restart, pause, wait, and the finish that follows every end. */
#include <fcntl.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/text.h"
#include "engine/engine-internal.h"
#include "kernel/cgroup.h"
#include "service/network/network.h"

#define STOP_TIMEOUT_S 10
#define KILL_GRACE_MS  1000
#define KILL_LOOK_MS   100
#define KILL_LOOKS     90
#define HALT_WAIT_MS   600
#define HALT_LOOKS     30

static int stop_signal(struct engine *e, const struct subject *s, int *ret)
{
    _cleanup_image_ struct image *image = NULL;
    struct error ignored = ERROR_INIT;
    const char *text = s->options.stop_signal;
    *ret = SIGTERM;
    if (!text && image_find(e->store, s->record.image_id, &image, &ignored) == 0)
        text = image->stop_signal;
    return text && *text ? signal_parse(text, ret, &ignored) : 0;
}

int subject_unpause(struct subject *s, struct error *err)
{
    if (!subject_paused(s))
        return 0;
    _cleanup_free_ char *mark = path_join(s->run_dir, "paused");
    int r = subject_ops(s)->freeze(&s->target, false, err);
    if (r == 0)
        unlink(mark);
    return r;
}

/* An instance that was lost with its monitor: the truth is written down, and told. */
static void record_loss(struct engine *e, struct subject *s)
{
    struct error ignored = ERROR_INIT;
    s->status.state = MONITOR_EXITED;
    s->status.exit_code = 128 + SIGKILL;
    s->status.pid = s->status.monitor_pid = 0;
    s->status.finished_ns = time_now_ns();
    snprintf(s->status.error, sizeof(s->status.error), "its monitor was killed");
    (void)!monitor_status_write(s->bundle, &s->status, &ignored);
    engine_notice(e,
                  "instance %s (%.12s) ended because its monitor was killed; proa start %s "
                  "runs it again",
                  s->record.name, s->record.id, s->record.name);
}

int finish_locked(struct engine *e, struct subject *s, struct error *err)
{
    int r = subject_status(s, err);
    if (r < 0 || s->status.alive)
        return r;
    if (access(s->run_dir, F_OK) < 0 && s->status.state != MONITOR_RUNNING &&
        s->status.state != MONITOR_RESTARTING && s->status.state != MONITOR_STARTING)
        return 0; /* finished before */
    r = subject_ops(s)->clean(&s->target, err);
    if (r == 0 && (s->status.state == MONITOR_RUNNING || s->status.state == MONITOR_RESTARTING ||
                   s->status.state == MONITOR_STARTING))
        record_loss(e, s);
    if (r == 0)
        r = network_detach(e->store, s->record.id, err);
    if (r == 0 && s->record.auto_remove && s->status.state != MONITOR_NONE)
        return remove_locked(e, s, true, err);
    if (r == 0) {
        r = path_remove_tree(AT_FDCWD, s->run_dir);
        if (r < 0)
            r = error_errno(err, r, "remove %s", s->run_dir);
    }
    return r;
}

int engine_finish(struct engine *e, const char *id, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    struct error why = ERROR_INIT;
    int r = subject_open(e, id, SUBJECT_LOCKED, &s, &why);
    if (r == -ENOENT)
        return 0; /* another command finished and removed it */
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    return finish_locked(e, &s, err);
}

void end_group(const struct engine *e, const char *id)
{
    _cleanup_(cgroup_done) struct cgroup group = CGROUP_INIT;
    _cleanup_free_ char *bundle = engine_bundle_dir(e, id), *path = bundle_group_of(bundle, id);
    struct error ignored = ERROR_INIT;
    if (cgroup_open(path, &group, &ignored) == 0)
        (void)!cgroup_kill(&group, &ignored);
}

/* After kill_all. A machine whose start has not come to its end has no process yet that could be
 * killed, and its monitor waits for it, for minutes where it says nothing: when what is in its
 * group ends, so does the start. */
static int wait_killed(const struct engine *e, const struct subject *s)
{
    int r = monitor_wait_gone(s->run_dir, KILL_GRACE_MS);
    for (int i = 0; r == -ETIMEDOUT && i < KILL_LOOKS; i++) {
        end_group(e, s->record.id);
        r = monitor_wait_gone(s->run_dir, KILL_LOOK_MS);
    }
    return r;
}

/* The monitor is told, the workload is signalled, and after the time is up all of it is killed. */
static int end_locked(struct engine *e, struct subject *s, int signum, int timeout_ms,
                      struct error *err)
{
    struct error ignored = ERROR_INIT;
    int r = subject_unpause(s, err);
    if (r < 0)
        return r;
    (void)!monitor_stopping(s->run_dir, &ignored);
    r = subject_status(s, err);
    if (r == 0 && s->status.alive && s->status.pid > 0 && signum > 0)
        (void)!subject_ops(s)->signal(&s->target, signum, &ignored);
    if (r == 0 && monitor_wait_gone(s->run_dir, timeout_ms) == -ETIMEDOUT) {
        r = subject_status(s, err);
        if (r == 0 && s->status.alive)
            r = subject_ops(s)->kill_all(&s->target, err);
        if (r == 0 && wait_killed(e, s) < 0)
            r = error_set(err, ERROR_SYSTEM, ETIMEDOUT,
                          "instance %s does not end although it was killed", s->record.name);
    }
    return r < 0 ? r : finish_locked(e, s, err);
}

int end_instance(struct engine *e, struct subject *s, struct error *err)
{
    return end_locked(e, s, 0, 0, err);
}

static int stop_locked(struct engine *e, struct subject *s, int timeout_s, struct error *err)
{
    int signum;
    int r = subject_may(s, VERB_STOP, err);
    if (r <= 0)
        return r < 0 ? r : finish_locked(e, s, err);
    r = stop_signal(e, s, &signum);
    if (timeout_s < 0)
        timeout_s = s->options.stop_timeout_s >= 0 ? s->options.stop_timeout_s : STOP_TIMEOUT_S;
    if (r == 0 && timeout_s > 86400)
        timeout_s = 86400;
    return r < 0 ? error_invalid(err, "unknown stop signal")
                 : end_locked(e, s, signum, timeout_s * 1000, err);
}

int engine_stop(struct engine *e, const char *reference, int timeout_s, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    return r < 0 ? r : stop_locked(e, &s, timeout_s, err);
}

int engine_kill(struct engine *e, const char *reference, const char *signal_text, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    struct error ignored = ERROR_INIT;
    int signum = SIGKILL, wanted_stop;
    int r = signal_text ? signal_parse(signal_text, &signum, err) : 0;
    if (r == 0)
        r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_KILL, err);
    if (r < 0)
        return r;
    if (signum == SIGKILL) {
        (void)!monitor_stopping(s.run_dir, &ignored);
        r = subject_ops(&s)->kill_all(&s.target, err);
        if (r == 0 && wait_killed(e, &s) == 0)
            r = finish_locked(e, &s, err);
        return r;
    }
    if (stop_signal(e, &s, &wanted_stop) == 0 && wanted_stop == signum)
        (void)!monitor_stopping(s.run_dir, &ignored);
    return subject_ops(&s)->signal(&s.target, signum, err);
}

int engine_restart(struct engine *e, const char *reference, int timeout_s, struct error *err)
{
    _cleanup_free_ char *id = NULL;
    {
        _cleanup_subject_ struct subject s = SUBJECT_INIT;
        int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
        if (r < 0)
            return r;
        bool keep = s.record.auto_remove;
        s.record.auto_remove = false; /* this end is not the last */
        r = stop_locked(e, &s, timeout_s, err);
        s.record.auto_remove = keep;
        if (r < 0)
            return r;
        id = xstrdup(s.record.id);
    }
    return engine_start(e, id, false, NULL, err);
}

int subject_pause(struct subject *s, struct error *err)
{
    _cleanup_free_ char *mark = path_join(s->run_dir, "paused");
    /* The mark first: a kill in between leaves a mark that unpause and stop undo. */
    int r = file_write_atomic(AT_FDCWD, mark, "", 0, 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", mark);
    r = subject_ops(s)->freeze(&s->target, true, err);
    if (r < 0)
        unlink(mark);
    return r;
}

/* A machine that was halted tries the same write again at once: it is seen whether it could. */
static int unpause(struct subject *s, struct error *err)
{
    char why[SUBJECT_WHY_MAX];
    bool halted = subject_halted(s, why);
    int r = subject_unpause(s, err);
    for (int i = 0; r == 0 && halted && i < HALT_LOOKS; i++) {
        usleep(HALT_WAIT_MS * 1000 / HALT_LOOKS);
        if (subject_halted(s, why))
            r = error_set(err, ERROR_LIMIT, ENOSPC,
                          "%s: instance %s stopped again at once; make room and try again", why,
                          s->record.name);
    }
    return r;
}

int engine_pause(struct engine *e, const char *reference, bool pause, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, pause ? VERB_PAUSE : VERB_UNPAUSE, err);
    if (r < 0)
        return r;
    return pause ? subject_pause(&s, err) : unpause(&s, err);
}

int engine_wait(struct engine *e, const char *reference, int *ret_code, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, &s, err);
    if (r < 0)
        return r;
    while (s.status.alive) {
        struct error lost = ERROR_INIT;
        if (monitor_wait_end(s.run_dir, ret_code, &lost) == 0)
            return 0;
        /* It ended between our look and our call, or was killed: the lock says when it is over. */
        r = monitor_wait_gone(s.run_dir, -1);
        if (r == 0)
            r = subject_status(&s, err);
        if (r < 0)
            return error_errno(err, r, "wait for %s", s.record.name);
    }
    *ret_code = s.status.exit_code;
    return 0;
}
