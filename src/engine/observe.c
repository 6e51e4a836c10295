/* Looking into a running instance; each is one call of the kind's table of operations. */
#include "engine/observe.h"

#include "base/alloc.h"
#include "base/path.h"
#include "engine/engine-internal.h"
#include "runtime/monitor/log.h"

static int open_for(struct engine *e, const char *reference, enum verb verb, struct subject *s,
                    struct error *err)
{
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, s, err);
    if (r == 0)
        r = subject_may(s, verb, err);
    return r < 0 ? r : 0;
}

int engine_exec(struct engine *e, const char *reference, const struct runtime_exec *x,
                const int stdio[3], int *ret_status, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_for(e, reference, VERB_EXEC, &s, err);
    return r < 0 ? r : subject_ops(&s)->exec(&s.target, x, stdio, ret_status, err);
}

int engine_top(struct engine *e, const char *reference, char **ret_json, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_for(e, reference, VERB_OBSERVE, &s, err);
    return r < 0 ? r : subject_ops(&s)->processes(&s.target, ret_json, err);
}

int engine_stats(struct engine *e, const char *reference, struct runtime_stats *ret,
                 struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_for(e, reference, VERB_OBSERVE, &s, err);
    return r < 0 ? r : subject_ops(&s)->stats(&s.target, ret, err);
}

int engine_stats_outside(struct engine *e, const char *reference, struct runtime_stats *ret,
                         struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_for(e, reference, VERB_OBSERVE, &s, err);
    if (r < 0)
        return r;
    return s.record.kind == RUNTIME_VM
               ? vm_stats_outside(&s.target, ret, err)
               : error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "a container has no other side");
}

struct log_relay {
    int (*write_entry)(void *context, int stream, int64_t time_ns, const char *text, size_t len);
    void *context;
};

static int relay_entry(void *context, const struct log_entry *entry)
{
    const struct log_relay *relay = context;
    return relay->write_entry(relay->context, entry->is_stderr ? 2 : 1, entry->time_ns, entry->text,
                              entry->len);
}

int engine_logs(struct engine *e, const char *reference, const struct log_options *o,
                int (*write_entry)(void *context, int stream, int64_t time_ns, const char *text,
                                   size_t len),
                void *context, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    struct log_relay relay = {write_entry, context};
    int r = subject_open(e, reference, SUBJECT_UNLOCKED, &s, err);
    if (r < 0)
        return r;
    struct log_query query = {
        .tail = o->tail,
        .since_ns = o->since_ns,
        .until_ns = o->until_ns,
        .follow = o->follow,
        .run_dir = s.run_dir,
        .stop_fd = -EBADF,
    };
    return log_read(s.bundle, &query, relay_entry, &relay, err);
}

static int open_machine(struct engine *e, const char *reference, struct subject *s,
                        struct error *err)
{
    int r = open_for(e, reference, VERB_OBSERVE, s, err);
    if (r == 0 && s->record.kind != RUNTIME_VM)
        r = error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "%s is a container: it has no screen",
                      s->record.name);
    return r;
}

int engine_screen(struct engine *e, const char *reference, char **ret_socket, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_machine(e, reference, &s, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = path_join(s.run_dir, "vnc.sock");
    if (access(path, F_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s has no screen (run it with --graphics vnc): see its serial console "
                         "with proa console %s",
                         s.record.name, s.record.name);
    *ret_socket = TAKE_PTR(path);
    return 0;
}

int engine_screenshot(struct engine *e, const char *reference, int out_fd, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = open_machine(e, reference, &s, err);
    return r < 0 ? r : vm_screenshot(&s.target, out_fd, err);
}
