/* `events`: one JSON object a line, until the container ends. */
#include <poll.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "runtime/container/ops.h"
#include "runtime/oci/container.h"
#include "runtime/oci/stats.h"

static int emit(const struct oci_container *c, const struct oci_events *how, const char *type,
                json_t *data, struct error *err)
{
    _cleanup_json_ json_t *o = json_pack("{s:s,s:s,s:o*}", "type", type, "id", c->id, "data", data);
    if (!o)
        return error_set(err, ERROR_SYSTEM, ENOMEM, "make an event");
    return how->line(how->context, o, err);
}

struct watching {
    const struct oci_container *container;
    const struct oci_events *how;
    struct cgroup group;
    int pidfd, oom;
    uint64_t seen; /* v2 counts from the start */
};

static void watching_done(struct watching *w)
{
    cgroup_done(&w->group);
    close_fd(w->pidfd);
    close_fd(w->oom);
}

static int tell_oom(struct watching *w, struct error *err)
{
    uint64_t n = oci_oom_count(&w->group, w->oom);
    bool is_new = w->group.is_v2 ? n > w->seen : n > 0;
    w->seen = n;
    return is_new ? emit(w->container, w->how, "oom", NULL, err) : 0;
}

static int watch(struct watching *w, struct error *err)
{
    int64_t next = time_monotonic_ms() + w->how->interval_ms;
    for (;;) {
        struct pollfd fds[] = {{w->pidfd, POLLIN, 0}, {w->oom, POLLIN, 0}};
        int64_t left = next - time_monotonic_ms();
        int n = poll(fds, ARRAY_SIZE(fds), left > 0 ? (int)MIN(left, INT32_MAX) : 0);
        if (n < 0 && errno != EINTR)
            return error_errno(err, errno, "wait for events");
        int r = 0;
        if (n > 0 && fds[1].revents)
            r = tell_oom(w, err);
        if (r < 0 || (n > 0 && fds[0].revents))
            return r;
        if (n == 0) {
            r = emit(w->container, w->how, "stats", oci_stats(&w->group), err);
            next = time_monotonic_ms() + w->how->interval_ms;
        }
        if (r < 0)
            return r;
    }
}

int oci_container_events(const struct oci_container *c, const struct oci_events *how,
                         struct error *err)
{
    _cleanup_(watching_done) struct watching w = {
        .container = c, .how = how, .group = CGROUP_INIT, .pidfd = -EBADF, .oom = -EBADF};
    struct runtime_target t = oci_container_target(c);
    w.pidfd = container_target_pidfd(&t, err);
    if (w.pidfd < 0)
        return w.pidfd;
    int r = container_target_cgroup(&t, &w.group, err);
    if (r < 0)
        return r;
    if (how->once)
        return emit(c, how, "stats", oci_stats(&w.group), err);
    w.oom = oci_oom_watch(&w.group);
    if (w.oom >= 0 && w.group.is_v2)
        w.seen = oci_oom_count(&w.group, w.oom);
    return watch(&w, err);
}
