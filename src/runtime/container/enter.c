/*
 * How a process gets into a running container.
 *
 *   helper        is born into the container's control group. It joins the namespaces, gives up
 *                 everything (descriptors, ids, capabilities), and only then makes
 *   the process   which is the caller's child too (CLONE_PARENT). It is the first that the
 * container can see, and at that moment has nothing that the container does not: no descriptor but
 * its own, no capability more than its own.
 *
 * Without no_new_privs the filter is loaded by the helper, because that takes a capability which
 * nobody inside may ever get hold of; with it, by the process, as late as can be.
 *
 * Neither is dumpable.
 */
#include "runtime/container/enter.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "kernel/ns.h"
#include "kernel/scope/scope.h"
#include "runtime/container/internal.h"

static bool is_other_namespace(pid_t pid, const char *name)
{
    struct stat own, theirs;
    _cleanup_free_ char *path = xasprintf("/proc/%d/ns/%s", (int)pid, name);
    _cleanup_free_ char *self = xasprintf("/proc/self/ns/%s", name);
    return stat(path, &theirs) == 0 && stat(self, &own) == 0 &&
           (own.st_ino != theirs.st_ino || own.st_dev != theirs.st_dev);
}

bool container_has_user_namespace(pid_t pid)
{
    return is_other_namespace(pid, "user");
}

static int close_others(const struct container_enter *e)
{
    _cleanup_free_ int *keep = xcalloc(e->preserve_fds + 1, sizeof(int));
    for (unsigned int i = 0; i < e->preserve_fds; i++)
        keep[i] = 3 + (int)i;
    keep[e->preserve_fds] = e->channel;
    fd_close_others(keep, e->preserve_fds + 1);
    for (unsigned int i = 0; i < e->preserve_fds; i++) {
        int r = fd_set_cloexec(3 + (int)i, false);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Those of the container that are not this process's own: one that belongs to the host can be
 * joined by nobody who has entered a user namespace, as an ordinary user's client has before it
 * calls, and need not be. */
static int namespaces_to_join(pid_t pid)
{
    static const struct {
        const char *name;
        int type;
    } all[] = {{"mnt", CLONE_NEWNS},    {"pid", CLONE_NEWPID},  {"uts", CLONE_NEWUTS},
               {"ipc", CLONE_NEWIPC},   {"net", CLONE_NEWNET},  {"cgroup", CLONE_NEWCGROUP},
               {"time", CLONE_NEWTIME}, {"user", CLONE_NEWUSER}};
    int flags = 0;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (is_other_namespace(pid, all[i].name))
            flags |= all[i].type;
    return flags;
}

static int open_root(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/root", (int)pid);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int join(const struct container_enter *e, struct error *err)
{
    int r, flags = namespaces_to_join(e->pid);
    /* One that shares the host's mounts has its root by chroot only, which joining does not give.
     */
    _cleanup_close_ int root = is_other_namespace(e->pid, "mnt") ? -EBADF : open_root(e->pid);
    if ((r = cgroup_join(e->cgroup, err)) < 0)
        return r;
    if ((r = ns_enter(e->pidfd, flags)) < 0)
        return error_errno(err, r, "join the container's namespaces");
    if (root != -EBADF && (root < 0 || fchdir(root) < 0 || chroot(".") < 0))
        return error_errno(err, root < 0 ? root : errno, "enter the container's root");
    if (e->own_user_namespace && (r = container_namespace_root(e->linux_->keep_groups)) < 0)
        return error_errno(err, r, "become root of the user namespace");
    if ((r = close_others(e)) < 0)
        return error_errno(err, r, "keep the descriptors");
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? error_errno(err, errno, "hide the process") : 0;
}

/* A terminal in the container's own devpts, which the container may have tampered with. */
static int open_terminal(const struct container_enter *e, int root, int *ret_slave,
                         struct error *err)
{
    struct statfs st;
    struct channel_message m = {.type = CHANNEL_CONSOLE};
    _cleanup_close_ int pts = -EBADF, master = -EBADF;
    int r = container_target_strict(root, "/dev/pts", &pts, err);
    if (r < 0)
        return r;
    if (fstatfs(pts, &st) < 0 || st.f_type != DEVPTS_SUPER_MAGIC)
        return error_set(err, ERROR_DENIED, EPERM, "the container's /dev/pts is no devpts");
    if ((r = container_terminal(pts, &master, ret_slave, err)) < 0)
        return r;
    container_terminal_size(e->process, e->size, master);
    r = channel_send(e->channel, &m, master);
    return r < 0 ? error_errno(err, r, "hand over the terminal") : 0;
}

static _noreturn_ void run_process(const struct container_enter *e,
                                   const struct container_process *become, int slave, char **env)
{
    struct error err = ERROR_INIT;
    _cleanup_free_ char *file = NULL;
    int r = container_session(slave, &err);
    if (r == 0)
        r = container_find_executable(e->process->args[0], env, &file, &err);
    if (r == 0 && become->seal_later)
        r = container_seal(become, &err);
    if (r == 0)
        r = container_execute(file, e->process->args, env, &err);
    channel_send_error(e->channel, &err);
    _exit(127);
}

/* The helper after joining: becomes what the process is to be, then makes it. */
static int become_and_make(const struct container_enter *e, struct error *err)
{
    const struct oci_process *p = e->process;
    struct channel_message m = {.type = CHANNEL_STARTED};
    _cleanup_(passwd_user_done) struct passwd_user user = {0};
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), slave = -EBADF;
    int r;
    if (root < 0)
        return error_errno(err, errno, "open the root");
    if ((r = container_user(root, &p->user, e->user, &user, err)) < 0 ||
        (r = container_chdir(root, p->cwd, err)) < 0 ||
        (e->terminal && (r = open_terminal(e, root, &slave, err)) < 0))
        return r;
    if (slave >= 0)
        (void)!fchown(slave, user.uid, (gid_t)-1);
    _cleanup_strv_ char **env = container_environment(p->env, &user);
    const struct container_process become = {
        .oci = p,
        .linux_ = e->linux_,
        .channel = e->channel,
        .user = &user,
        .filter = e->filter,
        .all_capabilities = e->all_capabilities,
        .seal_later = p->no_new_privileges,
    };
    if ((r = container_become(&become, err)) < 0)
        return r;
    /* clone3 is not among the calls that the default filter allows. */
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        return error_errno(err, errno, "make the process");
    if (pid == 0)
        run_process(e, &become, slave, env);
    m.value = (int)pid;
    (void)!channel_send(e->channel, &m, -EBADF);
    return 0;
}

/* attach: it is not in the control group yet. */
static _noreturn_ void helper(const struct container_enter *e, bool attach)
{
    struct error err = ERROR_INIT;
    char text[16];
    int r = 0;
    if (e->process->has_oom_score_adj) {
        snprintf(text, sizeof(text), "%d", e->process->oom_score_adj);
        r = file_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text);
        if (r < 0)
            r = error_errno(&err, r, "set oom_score_adj");
    }
    if (r == 0 && attach)
        r = scope_attach(e->scope, getpid(), &err);
    if (r == 0 && (r = container_exec_labels(e->process, &err)) == 0 &&
        (r = container_processors(e->process->cpus_initial, &err)) == 0 && (r = join(e, &err)) == 0)
        r = container_processors(e->process->cpus_final, &err);
    if (r == 0)
        r = become_and_make(e, &err);
    if (r < 0)
        channel_send_error(e->channel, &err);
    _exit(r < 0 ? 127 : 0);
}

int container_enter(const struct container_enter *e, pid_t *ret_helper, struct error *err)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, errno, "hide the process");
    pid_t pid = ns_clone(0, e->cgroup->dirs[CGROUP_UNIFIED], NULL);
    bool attach = e->scope && (pid == -EACCES || pid == -EPERM);
    if (attach)
        pid = ns_clone(0, -EBADF, NULL);
    if (pid == 0)
        helper(e, attach);
    if (pid < 0)
        return error_errno(err, pid, "make a process in the container's control group");
    *ret_helper = pid;
    return 0;
}
