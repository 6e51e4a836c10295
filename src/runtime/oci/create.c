/*
 * create: from a bundle to a first process that waits to be started.
 *
 *   checks      what can be known before anything is made
 *   directory   ROOT/ID with the configuration, and a state without a pid: from here on `delete
 *               --force` and the next create of that name know what to clean
 *   process     runtime/container/launch.c: control group, namespaces, mounts, hooks
 *   terminal    its master goes over the console socket, or to the caller
 *   record      the pid file and the state with the pid
 *
 * Each step is undone when a later one fails.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cgroup.h"
#include "kernel/scope/scope.h"
#include "runtime/container/container.h"
#include "runtime/container/hooks.h"
#include "runtime/container/notify.h"
#include "runtime/oci/container.h"
#include "runtime/oci/rdt.h"
#include "wire/oci/state.h"

static int read_config(struct oci_container *c, char **ret_text, struct error *err)
{
    _cleanup_free_ char *path = path_join(c->bundle, "config.json"), *text = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    if ((r = oci_config_parse(text, strlen(text), &c->config, err)) < 0)
        return r;
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* The bundle as an absolute path without links: later commands run in other directories. */
static int resolve_bundle(const struct oci_create *o, struct oci_container *c, struct error *err)
{
    char *real = realpath(o->bundle, NULL);
    if (!real)
        return error_errno(err, errno, "bundle %s", o->bundle);
    c->bundle = real;
    return 0;
}

static int resolve_rootfs(struct oci_container *c, struct error *err)
{
    const char *path = c->config->root_path;
    if (!path || !*path)
        return error_invalid(err, "config.json: \"root\" is missing");
    c->rootfs = *path == '/' ? xstrdup(path) : path_join(c->bundle, path);
    struct stat st;
    if (stat(c->rootfs, &st) < 0)
        return error_errno(err, errno, "root %s", c->rootfs);
    return S_ISDIR(st.st_mode) ? 0 : error_invalid(err, "root %s: not a directory", c->rootfs);
}

/* Where the control group will be; that of a user's manager is known only when it is made. */
static int choose_group(const struct oci_create *o, struct oci_container *c, struct error *err)
{
    if (o->systemd_cgroup) {
        struct scope_name n;
        int r = scope_check_host(err);
        if (r == 0)
            r = scope_name_parse(c->config->linux_.cgroups_path, c->id, scope_is_user(), &n, err);
        if (r < 0)
            return r;
        c->cgroup_path = scope_group(&n);
        c->slice = n.slice;
        c->scope = n.unit;
    } else {
        c->cgroup_path = container_cgroup_path(c->config, c->id);
    }
    return cgroup_path_check(c->cgroup_path, err);
}

static int check(const struct oci_create *o, struct oci_container *c, struct error *err)
{
    bool terminal = c->config->process.terminal;
    int r = resolve_rootfs(c, err);
    if (r < 0)
        return r;
    _cleanup_close_ int rdt = -EBADF;
    if (c->config->linux_.has_intel_rdt && (r = rdt_open_root(&rdt, err)) < 0)
        return r;
    if (c->config->linux_.n_net_devices)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "linux.netDevices (runtime-spec 1.3): moving network devices is not "
                         "supported");
    if (c->config->linux_.mount_label && *c->config->linux_.mount_label &&
        access("/sys/fs/selinux/enforce", F_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "linux.mountLabel: SELinux is not active on this host");
    if (o->console_socket && !terminal)
        return error_invalid(err, "--console-socket is for a process with a terminal");
    /* A terminal that nobody holds would end with the caller. */
    if (o->leaves && terminal && !o->console_socket)
        return error_invalid(err, "a process with a terminal that is left alone needs "
                                  "--console-socket");
    return choose_group(o, c, err);
}

/* What a killed create left is in the way of nobody: nobody holds its lock. */
static int clear_stale(const struct oci_create *o, struct error *err)
{
    _cleanup_oci_container_ struct oci_container old;
    _cleanup_free_ char *dir = path_join(o->root, o->id);
    oci_container_init(&old);
    _cleanup_close_ int lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool busy = lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0;
    lock = close_fd(lock);
    if (!busy && oci_container_load(o->root, o->id, true, &old, NULL) == 0 && old.pid == 0)
        return oci_container_delete(&old, true, err);
    return error_set(err, ERROR_CONFLICT, EEXIST, "container with given ID already exists: %s",
                     o->id);
}

static int claim(const char *dir)
{
    return mkdir(dir, 0700) < 0 ? -errno : 0;
}

static int make_directory(const struct oci_create *o, struct oci_container *c, struct error *err)
{
    int r = claim(c->dir);
    if (r == -ENOENT && (r = path_make_dirs(o->root, 0700)) == 0)
        r = claim(c->dir);
    if (r == -EEXIST) {
        if ((r = clear_stale(o, err)) < 0)
            return r;
        r = claim(c->dir);
    }
    return r < 0 ? error_errno(err, r, "make %s", c->dir) : oci_container_lock(c, err);
}

static int write_directory(const struct oci_create *o, struct oci_container *c, const char *text,
                           struct error *err)
{
    int r = make_directory(o, c, err);
    if (r < 0)
        return r;
    struct text64 now = time_format(time_now_ns());
    c->created = xstrdup(now.s);
    c->owner = geteuid();
    c->filter_cache = o->filter_cache ? xstrdup(o->filter_cache) : NULL;
    _cleanup_free_ char *path = path_join(c->dir, "config.json");
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : oci_container_save(c, err);
}

/* prestart and createRuntime hooks: in the caller's own namespaces. They come after the step of the
 * life cycle that makes the container, and "created" is the state from there on. */
int oci_create_hooks(struct oci_container *c, pid_t pid, struct error *err)
{
    const struct oci_hook_list *hooks = c->config->hooks;
    c->pid = pid;
    _cleanup_free_ char *state = oci_container_state_json(c, OCI_CREATED, false);
    c->pid = 0;
    int r = hooks_run(&hooks[OCI_HOOK_PRESTART], "prestart", state, err);
    return r < 0 ? r : hooks_run(&hooks[OCI_HOOK_CREATE_RUNTIME], "createRuntime", state, err);
}

static int run_environment_hooks(void *context, pid_t pid, struct error *err)
{
    return oci_create_hooks(context, pid, err);
}

/* The first process has executed nothing yet: it is where it was born. */
static int find_group(struct oci_container *c, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    int r = cgroup_of_process(c->pid, &g, err);
    if (r < 0)
        return r;
    free(c->cgroup_path);
    c->cgroup_path = xstrdup(g.path);
    return 0;
}

static int make_process(const struct oci_create *o, struct oci_container *c, int *ret_console,
                        struct error *err)
{
    struct runtime_started started;
    const struct oci_state state = {
        .id = c->id,
        .bundle = c->bundle,
        .annotations = c->config->annotations,
        .n_annotations = c->config->n_annotations,
    };
    const struct scope_name scope = {c->slice, c->scope};
    const struct container_oci oci = {
        .config = c->config,
        .cgroup_path = c->cgroup_path,
        .scope = c->scope ? &scope : NULL,
        .filter_cache = c->filter_cache,
        .state = &state,
        .preserve_fds = o->preserve_fds,
        .keyring = o->keyring,
        .pivot = o->pivot,
        .context = c,
        .environment = run_environment_hooks,
    };
    const struct runtime_start start = {
        .id = c->id,
        .bundle = c->bundle,
        .run_dir = c->dir,
        .stdio = {0, 1, 2},
        .terminal = c->config->process.terminal,
        .size = terminal_size(o->console_socket ? -1 : 0),
        .network_fd = -EBADF,
        .oci = &oci,
    };
    int r = container_create(&start, &started, err);
    if (r < 0)
        return r;
    c->pid = started.pid;
    *ret_console = started.console;
    return c->scope ? find_group(c, err) : 0;
}

/* The process waits to be started; a failure undoes it and the group. */
static int join_rdt(struct oci_container *c, struct error *err)
{
    const struct oci_intel_rdt *rdt = &c->config->linux_.intel_rdt;
    _cleanup_close_ int root = -EBADF, group = -EBADF;
    if (!c->config->linux_.has_intel_rdt)
        return 0;
    int r = rdt_open_root(&root, err);
    if (r < 0 || (r = rdt_open_group(root, rdt, c->id, &group, &c->rdt_made, err)) < 0 ||
        (r = rdt_apply(group, rdt, c->rdt_made, err)) < 0)
        return r;
    return rdt_join(group, rdt, c->id, c->pid, err);
}

int oci_write_pid_file(const char *path, pid_t pid, struct error *err)
{
    char text[16];
    if (!path)
        return 0;
    snprintf(text, sizeof(text), "%d", (int)pid);
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int oci_create_record(const struct oci_create *o, struct oci_container *c, pid_t pid,
                      struct error *err)
{
    c->pid = pid;
    strv_free(c->descriptors);
    c->descriptors = c->config->process.terminal ? NULL : oci_descriptors_read(0);
    int r = process_start_ticks(pid, &c->start_ticks);
    if (r < 0)
        return error_errno(err, r, "look at process %d", (int)pid);
    r = oci_container_save(c, err);
    return r < 0 ? r : oci_write_pid_file(o->pid_file, pid, err);
}

static int hand_over(const struct oci_create *o, struct oci_container *c, int *console,
                     struct error *err)
{
    int r = 0;
    if (o->console_socket && *console >= 0) {
        r = oci_console_send(o->console_socket, *console, err);
        *console = close_fd(*console);
    }
    return r < 0 ? r : oci_create_record(o, c, c->pid, err);
}

/* The first process is still this one's child: it is gone when the name is. */
void oci_create_undo(struct oci_container *c)
{
    pid_t pid = c->pid;
    if (c->lock < 0)
        return; /* the directory is not ours */
    (void)!oci_container_delete(c, true, NULL);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
}

int oci_create_begin(const struct oci_create *o, struct oci_container *c, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = oci_container_check_id(o->id, err);
    if (r < 0)
        return r;
    c->id = xstrdup(o->id);
    c->dir = path_join(o->root, o->id);
    if ((r = resolve_bundle(o, c, err)) < 0 || (r = read_config(c, &text, err)) < 0 ||
        (r = check(o, c, err)) < 0)
        return r;
    r = write_directory(o, c, text, err);
    if (r < 0)
        oci_create_undo(c);
    return r;
}

int oci_container_create(const struct oci_create *o, struct oci_container *ret, int *ret_console,
                         struct error *err)
{
    _cleanup_oci_container_ struct oci_container c;
    _cleanup_close_ int console = -EBADF;
    oci_container_init(&c);
    int r = oci_create_begin(o, &c, err);
    if (r < 0)
        return r;
    if ((r = make_process(o, &c, &console, err)) < 0 || (r = join_rdt(&c, err)) < 0 ||
        (r = hand_over(o, &c, &console, err)) < 0) {
        oci_create_undo(&c);
        return r;
    }
    c.warning =
        oci_process_warning(&c.config->process, oci_config_namespace(c.config, CLONE_NEWUSER));
    *ret = c;
    oci_container_init(&c);
    *ret_console = TAKE_FD(console);
    return 0;
}
