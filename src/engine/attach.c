/* Standing at an instance's terminal: for run, start -a and attach. */
#include "base/fd.h"
#include "base/path.h"
#include "engine/engine-internal.h"

#define MONITOR_EXIT_MS 10000

static int signal_workload(void *context, int signum)
{
    struct subject *s = context;
    struct error ignored = ERROR_INIT;
    if (subject_status(s, &ignored) < 0 || s->target.pid <= 0)
        return -ESRCH;
    return subject_ops(s)->signal(&s->target, signum, &ignored);
}

static int relay(struct subject *s, int fd, const struct attach_options *how, bool finish,
                 struct monitor_end *ret, struct error *err)
{
    struct monitor_attach attach = {
        .terminal = s->options.terminal,
        .forward_stdin = how->forward_stdin && s->options.open_stdin,
        .proxy_signals = how->proxy_signals,
        .finish = finish,
        .detach_keys = how->detach_keys,
        .signal = signal_workload,
        .context = s,
    };
    return monitor_attach(fd, &attach, ret, err);
}

int engine_attach_started(struct engine *e, const char *id, int attach_fd,
                          const struct attach_options *how, struct monitor_end *ret,
                          struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, id, SUBJECT_UNLOCKED, &s, err);
    if (r < 0) {
        close_fd(attach_fd);
        return r;
    }
    r = relay(&s, attach_fd, how, true, ret, err);
    if (r < 0 || ret->detached)
        return r;
    r = monitor_wait_gone(s.run_dir, MONITOR_EXIT_MS);
    if (r < 0)
        return error_errno(err, r, "wait for the monitor of %s", s.record.name);
    return engine_finish(e, s.record.id, err);
}

int engine_attach(struct engine *e, const char *reference, const struct attach_options *how,
                  struct monitor_end *ret, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int fd;
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_ATTACH, err);
    if (r > 0)
        r = monitor_connect(s.run_dir, &fd, err);
    return r < 0 ? r : relay(&s, fd, how, false, ret, err);
}
