/*
 * restore: as create, but CRIU makes the processes from an image.
 *
 *   begin      checks, ROOT/ID, a state without a pid (create.c)
 *   place      the control group with its limits; places for mounts that the root has not
 *   worker     CRIU, in that group, asked for the image
 *   hooks      prestart and createRuntime, when the namespaces are there (CRIU tells)
 *   terminal   its master, which CRIU makes, goes over the console socket or to the caller
 *   record     the state with the pid, and the pid file: when everything is restored and nothing
 *              runs yet, so that what fails here is undone by CRIU
 *   compare    what holds the processes with what the configuration promises
 *
 * The restored first process is a child of this one, as after a create.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/scope/scope.h"
#include "runtime/container/container.h"
#include "runtime/container/hooks.h"
#include "runtime/oci/criu/external.h"

#define LOG_FILE "restore.log"
#define PLACE    "criu-root"

struct restoring {
    const struct oci_restore *options;
    struct oci_container *c;
    struct criu_given given;
    struct cgroup group;
    struct container_keeper keeper;
    char *path;       /* of the group, with its leading slash; owned */
    bool is_compared; /* nothing of what the configuration promises is lost */
    int console;      /* the terminal's master when the caller keeps it */
};

/* CRIU makes every terminal that lost its master again; the others than the first process's are
 * those of exec, whose clients have gone. */
static bool is_first(const struct restoring *r, int master)
{
    unsigned int number;
    char name[32];
    if (!r->given.terminal || ioctl(master, TIOCGPTN, &number) < 0)
        return true;
    snprintf(name, sizeof(name), "/dev/pts/%u", number);
    return strcmp(name, r->given.terminal) == 0;
}

static int take_terminal(struct restoring *r, int master, struct error *err)
{
    const char *socket = r->options->create.console_socket;
    if (master < 0 || !is_first(r, master))
        return 0;
    if (socket)
        return oci_console_send(socket, master, err);
    close_fd(r->console);
    r->console = fcntl(master, F_DUPFD_CLOEXEC, 3);
    return r->console < 0 ? error_errno(err, errno, "keep the terminal") : 0;
}

static int compare(const struct oci_config *config, const char *status, struct error *err)
{
    if (config->process.no_new_privileges && !strstr(status, "\nNoNewPrivs:\t1\n"))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "restore: the image lacks noNewPrivileges, which the configuration has");
    if (config->linux_.seccomp && !strstr(status, "\nSeccomp:\t2\n"))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "restore: the image lacks a seccomp filter, which the configuration has");
    return 0;
}

/* Nothing runs yet, and all is as it will be. A container that lost what holds it must not run: an
 * older CRIU saves no no_new_privs, and an image may be another container's. CRIU would let it go
 * on whatever the answer is, so it ends here, and CRIU with it. */
static int check_restored(struct restoring *r, struct error *err)
{
    const struct oci_container *c = r->c;
    _cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)c->pid), *text = NULL;
    int e = file_read_kernel(AT_FDCWD, path, (size_t)1 << 16, &text);
    e = e < 0 ? error_errno(err, e, "read %s", path) : compare(c->config, text, err);
    if (e < 0 && c->cgroup_path)
        (void)!cgroup_kill(&r->group, NULL);
    if (e < 0)
        kill(c->pid, SIGKILL);
    r->is_compared = e == 0;
    return e;
}

static int notified(void *context, const char *script, pid_t pid, int fd, struct error *err)
{
    struct restoring *r = context;
    if (strcmp(script, "setup-namespaces") == 0)
        return oci_create_hooks(r->c, pid, err);
    if (strcmp(script, "orphan-pts-master") == 0)
        return take_terminal(r, fd, err);
    if (strcmp(script, "post-restore") == 0)
        return oci_create_record(&r->options->create, r->c, pid, err);
    if (strcmp(script, "pre-resume") == 0)
        return check_restored(r, err);
    return 0;
}

/* The groups that take the places of those in the image. The worker itself stays outside: the
 * container's limits and devices are not for what CRIU does to find out about the kernel. */
static size_t list_groups(const struct restoring *r, struct criu_group *ret)
{
    size_t n = 0;
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        const char *name = cgroup_hierarchy_name((enum cgroup_hierarchy)h);
        if (r->group.dirs[h] < 0)
            continue;
        ret[n++] = (struct criu_group){
            h == CGROUP_UNIFIED   ? ""
            : h == CGROUP_SYSTEMD ? "name=systemd"
                                  : name,
            r->path,
        };
    }
    return n;
}

static int run(struct restoring *r, const char *place, char *const *external, struct error *err)
{
    const struct oci_criu *o = &r->options->common;
    struct criu_group groups[CGROUP_HIERARCHIES];
    struct criu_request q = {
        .type = CRIU_RESTORE,
        .log_file = LOG_FILE,
        .root = place,
        .lsm_profile = r->options->lsm_profile,
        .lsm_mount_context = r->options->lsm_mount_context,
        .external_sockets = o->external_sockets,
        .tcp_established = o->tcp_established,
        .shell_job = o->shell_job,
        .file_locks = o->file_locks,
        .auto_dedup = o->auto_dedup,
        .sibling = true,
        .orphan_terminal = true,
        .evasive_devices = true,
        .cgroups = (enum criu_cgroups)o->cgroups,
        .empty_namespaces = o->empty_namespaces,
        .external = external,
        .groups = groups,
        .n_groups = list_groups(r, groups),
        .inherited = r->given.inherited,
        .n_inherited = r->given.n_inherited,
        .joins = r->given.joins,
        .n_joins = r->given.n_joins,
    };
    struct criu_call call = {
        .action = "restore",
        .image_path = o->image_path,
        .work_path = o->work_path,
        .stdio = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO},
        .n_given = r->given.n_fds,
        .group = o->cgroups == CRIU_CGROUPS_IGNORE ? &r->group : NULL,
        .root = r->c->rootfs,
        .root_place = place,
        .last_script = "pre-resume",
        .context = r,
        .notify = notified,
    };
    memcpy(call.given, r->given.fds, r->given.n_fds * sizeof(int));
    struct criu_answer answer;
    int e = criu_run(&call, &q, &answer, err);
    if (e < 0 || r->is_compared)
        return e;
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "restore: this criu does not tell what it does (2.11 and later do)");
}

/* The group, the root, and everything that CRIU is told. */
static int prepare(struct restoring *r, int image, char ***external, struct error *err)
{
    struct oci_container *c = r->c;
    const struct scope_name scope = {c->slice, c->scope};
    const struct container_oci oci = {
        .config = c->config,
        .cgroup_path = c->cgroup_path,
        .scope = c->scope ? &scope : NULL,
    };
    if (c->config->linux_.has_intel_rdt)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "restore: linux.intelRdt is not supported");
    int e = container_make_group(&oci, c->id, &r->group, &r->keeper, err);
    if (e < 0)
        return e;
    r->path = xasprintf("/%s", r->group.path);
    _cleanup_close_ int root = open(c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, errno, "open the root %s", c->rootfs);
    if ((e = container_make_places(c->config, c->bundle, root, err)) < 0 ||
        (e = criu_mounts_for(c, &r->group, root, external, err)) < 0 ||
        (e = criu_namespaces_for(c, &r->given, err)) < 0)
        return e;
    return criu_descriptors_for(image, &r->given, err);
}

static int restore(struct restoring *r, int image, struct error *err)
{
    _cleanup_strv_ char **external = strv_copy(NULL);
    _cleanup_free_ char *place = path_join(r->c->dir, PLACE);
    int e = prepare(r, image, &external, err);
    if (e < 0)
        return e;
    if (mkdir(place, 0700) < 0)
        return error_errno(err, errno, "make %s", place);
    e = run(r, place, external, err);
    if (rmdir(place) < 0 && e == 0)
        return error_errno(err, errno, "remove %s", place);
    return e;
}

/* A failure of poststart hooks stops nothing. */
static void run_poststart(struct oci_container *c)
{
    const struct oci_hook_list *hooks = &c->config->hooks[OCI_HOOK_POSTSTART];
    if (hooks->n == 0)
        return;
    _cleanup_free_ char *state = oci_container_state_json(c, OCI_RUNNING, false);
    c->warning = hooks_run_all(hooks, "poststart", state);
}

int oci_container_restore(const struct oci_restore *o, struct oci_container *ret, int *ret_console,
                          struct error *err)
{
    _cleanup_oci_container_ struct oci_container c;
    _cleanup_close_ int image = -EBADF;
    struct restoring r = {
        .options = o,
        .c = &c,
        .group = CGROUP_INIT,
        .keeper = CONTAINER_KEEPER_INIT,
        .console = -EBADF,
    };
    oci_container_init(&c);
    if (geteuid() != 0)
        return error_set(err, ERROR_DENIED, EPERM, "restore needs root");
    int e = oci_image_open(o->common.image_path, &image, err);
    if (e < 0)
        return e;
    if ((e = oci_image_make(o->common.work_path, err)) < 0)
        return e;
    if ((e = oci_create_begin(&o->create, &c, err)) < 0)
        return e;
    e = oci_image_admit(c.config, image, err);
    if (e == 0)
        e = restore(&r, image, err);
    criu_given_done(&r.given);
    cgroup_done(&r.group);
    free(r.path);
    container_keeper_done(&r.keeper);
    if (e < 0) {
        close_fd(r.console);
        oci_create_undo(&c);
        return e;
    }
    run_poststart(&c);
    *ret = c;
    oci_container_init(&c);
    *ret_console = r.console;
    return 0;
}
