/*
 * proa-exec (exec.h): how a process gets into a running container.
 *
 *   proa-exec   reads the bundle, and at the end waits for the new process.
 *   helper      its child, born into the container's control group. It joins the namespaces, gives
 *               up everything (descriptors, ids, capabilities), and only then makes
 *   the process which is proa-exec's child too (CLONE_PARENT). It is the first that the container
 *               can see, and at that moment has nothing that the container does not: no descriptor
 *               but its own four, no capability more than its own.
 *
 * Neither is dumpable.
 */
#include <fcntl.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/ns.h"
#include "runtime/container/exec.h"
#include "runtime/container/internal.h"

extern char **environ;

struct request {
    const char *id, *bundle, *user, *cwd;
    pid_t pid;
    bool terminal, privileged, detach;
    char **argv;
    struct oci_config *config;
    struct seccomp_filter filter;
    struct cgroup cgroup;
    int pidfd;
    bool own_user_namespace;
};

static int parse_arguments(int argc, char **argv, struct request *q, struct error *err)
{
    static const struct option options[] = {
        {"id", required_argument, NULL, 'i'},
        {"bundle", required_argument, NULL, 'b'},
        {"pid", required_argument, NULL, 'p'},
        {"user", required_argument, NULL, 'u'},
        {"cwd", required_argument, NULL, 'w'},
        {"terminal", no_argument, NULL, 't'},
        {"privileged", no_argument, NULL, 'P'},
        {"detach", no_argument, NULL, 'd'},
        {0},
    };
    uint32_t pid = 0;
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        q->id = option == 'i' ? optarg : q->id;
        q->bundle = option == 'b' ? optarg : q->bundle;
        q->user = option == 'u' ? optarg : q->user;
        q->cwd = option == 'w' ? optarg : q->cwd;
        q->terminal |= option == 't';
        q->privileged |= option == 'P';
        q->detach |= option == 'd';
        if (option == '?' || (option == 'p' && parse_u32(optarg, &pid) < 0))
            return error_invalid(err, "wrong arguments");
    }
    q->pid = (pid_t)pid;
    q->argv = argv + optind;
    if (!q->id || !q->bundle || q->pid <= 0 || !q->argv[0])
        return error_invalid(err, "an argument is missing");
    return 0;
}

static int load(struct request *q, struct error *err)
{
    _cleanup_free_ char *config = path_join(q->bundle, "config.json");
    _cleanup_free_ char *proa = path_join(q->bundle, "proa.json");
    _cleanup_(bundle_done) struct bundle b;
    struct stat st;
    bundle_init(&b);
    int r = oci_config_load(config, &q->config, err);
    if (r < 0)
        return r;
    if (!q->config->has_process)
        return error_invalid(err, "config.json: \"process\" is missing");
    if (stat(proa, &st) == 0 && (r = bundle_load(q->bundle, &b, err)) < 0)
        return r;
    return b.seccomp_filter ? seccomp_filter_read(b.seccomp_filter, &q->filter, err) : 0;
}

static bool same_namespace(pid_t pid, const char *name)
{
    struct stat own, theirs;
    char path[64], self[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
    snprintf(self, sizeof(self), "/proc/self/ns/%s", name);
    return stat(path, &theirs) == 0 && stat(self, &own) == 0 && own.st_ino == theirs.st_ino &&
           own.st_dev == theirs.st_dev;
}

/* The number could have been used again: the process must be in this container's group. */
static int find_target(struct request *q, struct error *err)
{
    _cleanup_free_ char *wanted = container_cgroup_path(q->config, q->id);
    const char *path = *wanted == '/' ? wanted + 1 : wanted;
    size_t len = strlen(path);
    q->pidfd = ns_pidfd(q->pid);
    int r = q->pidfd < 0 ? q->pidfd : cgroup_of_process(q->pid, &q->cgroup, NULL);
    bool is_it = r == 0 && q->cgroup.path && strncmp(q->cgroup.path, path, len) == 0 &&
                 (q->cgroup.path[len] == '\0' || q->cgroup.path[len] == '/');
    q->own_user_namespace = r == 0 && !same_namespace(q->pid, "user");
    if (!is_it || ns_pidfd_wait(q->pidfd, 0) != -ETIMEDOUT)
        return error_set(err, ERROR_CONFLICT, ESRCH, "the container is not running");
    return 0;
}

static int join(struct request *q, struct error *err)
{
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                CLONE_NEWCGROUP | (q->own_user_namespace ? CLONE_NEWUSER : 0);
    int r;
    if ((r = cgroup_join(&q->cgroup, err)) < 0)
        return r;
    if ((r = ns_enter(q->pidfd, flags)) < 0)
        return error_errno(err, r, "join the container's namespaces");
    if (q->own_user_namespace &&
        (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
         syscall(SYS_setresuid, 0, 0, 0) < 0))
        return error_errno(err, errno, "become root of the user namespace");
    int keep[] = {EXEC_CHANNEL_FD};
    fd_close_others(keep, ARRAY_SIZE(keep));
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? error_errno(err, errno, "hide the process") : 0;
}

/* A terminal in the container's own devpts, which the container may have tampered with. */
static int open_terminal(int root, int *ret_slave, struct error *err)
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
    r = channel_send(EXEC_CHANNEL_FD, &m, master);
    return r < 0 ? error_errno(err, r, "hand over the terminal") : 0;
}

static char **make_environment(const struct request *q, const struct passwd_user *user)
{
    _cleanup_strv_ char **env = strv_copy(q->config->process.env);
    if (q->terminal && !env_get(env, "TERM"))
        env_set(&env, "TERM=xterm");
    for (size_t i = 0; environ[i]; i++)
        env_set(&env, environ[i]);
    return container_environment(env, user);
}

/* The helper after joining: becomes what the process is to be, then makes it. */
static int become_and_execute(struct request *q, struct error *err)
{
    const struct oci_process *p = &q->config->process;
    _cleanup_(passwd_user_done) struct passwd_user user = {0};
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), slave = -EBADF;
    int r;
    if (root < 0)
        return error_errno(err, errno, "open the root");
    if ((r = container_user(root, &p->user, q->user, &user, err)) < 0 ||
        (r = container_chdir(root, q->cwd ? q->cwd : p->cwd, err)) < 0 ||
        (q->terminal && (r = open_terminal(root, &slave, err)) < 0))
        return r;
    if (slave >= 0)
        (void)!fchown(slave, user.uid, (gid_t)-1);
    _cleanup_strv_ char **env = make_environment(q, &user);
    const struct container_process become = {
        .oci = p,
        .user = &user,
        .filter = q->filter.instructions ? &q->filter : NULL,
        .all_capabilities = q->privileged,
    };
    if ((r = container_become(&become, err)) < 0)
        return r;
    /* clone3 is not among the calls that the filter allows. */
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        return error_errno(err, errno, "make the process");
    if (pid > 0)
        return 0;
    if ((r = container_session(slave, err)) == 0)
        r = container_execute(q->argv, env, err);
    channel_send_error(EXEC_CHANNEL_FD, err);
    _exit(127);
}

static _noreturn_ void helper(struct request *q)
{
    struct error err = ERROR_INIT;
    char text[16];
    int r = 0;
    if (q->config->process.has_oom_score_adj) {
        snprintf(text, sizeof(text), "%d", q->config->process.oom_score_adj);
        r = file_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text);
        if (r < 0)
            r = error_errno(&err, r, "set oom_score_adj");
    }
    if (r == 0)
        r = join(q, &err);
    if (r == 0)
        r = become_and_execute(q, &err);
    if (r < 0)
        channel_send_error(EXEC_CHANNEL_FD, &err);
    _exit(r < 0 ? 127 : 0);
}

/* The status of the process: the child that is not the helper. */
static int wait_children(pid_t helper_pid, bool detach)
{
    int status, result = 127, ignored;
    (void)!process_wait(helper_pid, &ignored);
    if (detach)
        return 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, 0);
        if (pid > 0)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        else if (errno != EINTR)
            return result;
    }
}

static int run(int argc, char **argv, int *ret_status, struct error *err)
{
    struct request q = {.cgroup = CGROUP_INIT, .pidfd = -EBADF};
    int r;
    if ((r = parse_arguments(argc, argv, &q, err)) < 0 || (r = load(&q, err)) < 0 ||
        (r = find_target(&q, err)) < 0)
        return r;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, errno, "hide the process");
    pid_t pid = ns_clone(0, q.cgroup.dirs[CGROUP_UNIFIED], NULL);
    if (pid == 0)
        helper(&q);
    if (pid < 0)
        return error_errno(err, pid, "make a process in the container's control group");
    /* Only the process itself holds its descriptors from now on. */
    syscall(SYS_close_range, 0, ~0U, 0);
    *ret_status = wait_children(pid, q.detach);
    return 0;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    int status = 127;
    syscall(SYS_close_range, EXEC_CHANNEL_FD + 1, ~0U, 0);
    if (fd_set_cloexec(EXEC_CHANNEL_FD, true) == 0 && run(argc, argv, &status, &err) < 0)
        channel_send_error(EXEC_CHANNEL_FD, &err);
    return status;
}
