/* start, kill, delete, pause: what is done to a container that was created. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "kernel/ns.h"
#include "kernel/scope/scope.h"
#include "runtime/container/container.h"
#include "runtime/container/hooks.h"
#include "runtime/container/notify.h"
#include "runtime/container/ops.h"
#include "runtime/oci/container.h"
#include "runtime/oci/rdt.h"

#define END_WAIT_MS 10000

/* The listener of a filter that notifies goes to whoever the configuration names. */
static int pass_listener(void *context, pid_t pid, int fd, struct error *err)
{
    struct oci_container *c = context;
    const struct oci_seccomp *s = c->config->linux_.seccomp;
    (void)pid;
    if (!s || !s->listener_path)
        return error_invalid(err, "the seccomp profile notifies, and names no listener");
    _cleanup_free_ char *state = oci_container_state_json(c, OCI_CREATED, false);
    return notify_send(s->listener_path, fd, c->pid, s->listener_metadata, state, err);
}

int oci_container_start(struct oci_container *c, struct error *err)
{
    enum oci_status status;
    int r = oci_container_look(c, &status, err);
    if (r < 0)
        return r;
    if (status == OCI_STOPPED)
        return error_set(err, ERROR_CONFLICT, ESRCH, "cannot start a container that has stopped");
    if (status != OCI_CREATED)
        return error_set(err, ERROR_CONFLICT, EBUSY, "cannot start an already running container");
    if (!c->config->has_process)
        return error_invalid(err, "config.json: \"process\" is missing: there is nothing to start");
    r = container_release(c->dir, pass_listener, c, err);
    if (r < 0)
        return r;
    const struct oci_hook_list *hooks = &c->config->hooks[OCI_HOOK_POSTSTART];
    if (hooks->n == 0)
        return 0;
    _cleanup_free_ char *state = oci_container_state_json(c, OCI_RUNNING, false);
    free(c->warning);
    c->warning = hooks_run_all(hooks, "poststart", state);
    return 0;
}

int oci_container_kill(const struct oci_container *c, int signum, bool all, struct error *err)
{
    struct runtime_target t = oci_container_target(c);
    if (all)
        return container_target_signal_all(&t, signum, err);
    if (oci_container_status(c) == OCI_STOPPED)
        return error_set(err, ERROR_CONFLICT, ESRCH, "container not running");
    return container_ops.signal(&t, signum, err);
}

int oci_container_freeze(const struct oci_container *c, bool frozen, struct error *err)
{
    struct runtime_target t = oci_container_target(c);
    enum oci_status status = oci_container_status(c);
    if (frozen ? status != OCI_RUNNING && status != OCI_CREATED : status != OCI_PAUSED)
        return error_set(err, ERROR_CONFLICT, EINVAL,
                         frozen ? "container not running" : "container not paused");
    return container_ops.freeze(&t, frozen, err);
}

int oci_container_update(const struct oci_container *c, const struct oci_resources *res,
                         struct error *err)
{
    struct runtime_target t = oci_container_target(c);
    if (oci_container_status(c) == OCI_STOPPED)
        return error_set(err, ERROR_CONFLICT, ESRCH, "container not running");
    if (!c->cgroup_path)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the container has no control group of its own");
    return container_target_update(&t, res, err);
}

/* Its first process ends, and with a pid namespace of its own all others; without one they are
 * those of the control group. */
static int end(const struct oci_container *c, struct error *err)
{
    struct runtime_target t = oci_container_target(c);
    _cleanup_close_ int pidfd = c->pid > 0 ? container_target_pidfd(&t, NULL) : -EBADF;
    if (pidfd >= 0 && ns_pidfd_signal(pidfd, SIGKILL) == 0) {
        if (c->cgroup_path && container_target_frozen(&t))
            (void)!container_ops.freeze(&t, false, NULL);
        int r = ns_pidfd_wait(pidfd, END_WAIT_MS);
        if (r < 0)
            return error_errno(err, r, "wait for the end of %s", c->id);
    }
    int r = c->cgroup_path ? container_ops.clean(&t, err) : 0;
    /* Nothing is in it any more: it ends by itself, only later, and its name is free then. */
    if (r == 0 && c->scope)
        (void)!scope_stop(c->scope, NULL);
    return r;
}

/* Its processes are in no group any more. */
static int remove_rdt(const struct oci_container *c, struct error *err)
{
    _cleanup_close_ int root = -EBADF;
    if (!c->config || !c->config->linux_.has_intel_rdt || rdt_open_root(&root, NULL) < 0)
        return 0;
    return rdt_remove(root, &c->config->linux_.intel_rdt, c->id, c->rdt_made, err);
}

static void run_poststop(struct oci_container *c)
{
    const struct oci_hook_list *hooks = &c->config->hooks[OCI_HOOK_POSTSTOP];
    if (hooks->n == 0)
        return;
    _cleanup_free_ char *state = oci_container_state_json(c, OCI_STOPPED, false);
    free(c->warning);
    c->warning = hooks_run_all(hooks, "poststop", state);
}

static int remove_directory(const struct oci_container *c, struct error *err)
{
    /* The state goes last: until then the next command knows the name. */
    static const char *const files[] = {"init.sock", "config.json", "state.json"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (unlinkat(c->lock, files[i], 0) < 0 && errno != ENOENT)
            return error_errno(err, errno, "remove %s/%s", c->dir, files[i]);
    int r = rmdir(c->dir) == 0 ? 0 : path_remove_tree(AT_FDCWD, c->dir);
    return r < 0 ? error_errno(err, r, "remove %s", c->dir) : 0;
}

int oci_container_delete(struct oci_container *c, bool force, struct error *err)
{
    enum oci_status status = oci_container_status(c);
    if (!force && status != OCI_STOPPED)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "cannot delete container %s that is not stopped: %s", c->id,
                         oci_status_name(status));
    int r = end(c, err);
    if (r < 0 || (r = remove_rdt(c, err)) < 0)
        return r;
    if (c->config && c->pid > 0)
        run_poststop(c);
    return remove_directory(c, err);
}
