/*
 * proa-exec (exec.h): reads the bundle, has the process made (enter.h), and ends as it does.
 */
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/ns.h"
#include "runtime/container/enter.h"
#include "runtime/container/exec.h"
#include "runtime/container/internal.h"

extern char **environ;

struct request {
    const char *id, *bundle, *user, *cwd;
    pid_t pid;
    uint64_t start_ticks; /* of it; 0: its group tells it from others */
    bool terminal, privileged, detach;
    struct terminal_size size;
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
        {"start-ticks", required_argument, NULL, 's'},
        {"user", required_argument, NULL, 'u'},
        {"cwd", required_argument, NULL, 'w'},
        {"terminal", no_argument, NULL, 't'},
        {"privileged", no_argument, NULL, 'P'},
        {"detach", no_argument, NULL, 'd'},
        {"size", required_argument, NULL, 'S'},
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
        if (option == '?' || (option == 'p' && parse_u32(optarg, &pid) < 0) ||
            (option == 'S' && terminal_size_parse(optarg, &q->size) < 0) ||
            (option == 's' && parse_u64(optarg, UINT64_MAX, &q->start_ticks) < 0))
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

/* The number could have been used again: the process must be in this container's group, or, where
 * an ordinary user's has none, be the one that was started then. */
static int find_target(struct request *q, struct error *err)
{
    _cleanup_free_ char *wanted = container_cgroup_path(q->config, q->id);
    const char *path = *wanted == '/' ? wanted + 1 : wanted;
    size_t len = strlen(path);
    uint64_t ticks;
    q->pidfd = ns_pidfd(q->pid);
    int r = q->pidfd < 0 ? q->pidfd : cgroup_of_process(q->pid, &q->cgroup, NULL);
    bool grouped = r == 0 && q->cgroup.path && strncmp(q->cgroup.path, path, len) == 0 &&
                   (q->cgroup.path[len] == '\0' || q->cgroup.path[len] == '/');
    bool is_it = grouped || (q->start_ticks && process_start_ticks(q->pid, &ticks) == 0 &&
                             ticks == q->start_ticks);
    if (!grouped) { /* it is in somebody else's, whose place is not here */
        cgroup_done(&q->cgroup);
        q->cgroup = (struct cgroup)CGROUP_INIT;
    }
    q->own_user_namespace = is_it && container_has_user_namespace(q->pid);
    if (!is_it || ns_pidfd_wait(q->pidfd, 0) != -ETIMEDOUT)
        return error_set(err, ERROR_CONFLICT, ESRCH, "the container is not running");
    return 0;
}

/* What the configuration says, changed as asked. */
static void change_process(struct request *q)
{
    struct oci_process *p = &q->config->process;
    strv_free(p->args);
    p->args = strv_copy(q->argv);
    if (q->cwd)
        xreplace(&p->cwd, q->cwd);
    if (q->terminal && !env_get(p->env, "TERM"))
        env_set(&p->env, "TERM=xterm");
    for (size_t i = 0; environ[i]; i++)
        env_set(&p->env, environ[i]);
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
    pid_t pid;
    int r;
    if ((r = parse_arguments(argc, argv, &q, err)) < 0 || (r = load(&q, err)) < 0 ||
        (r = find_target(&q, err)) < 0)
        return r;
    change_process(&q);
    const struct container_enter e = {
        .process = &q.config->process,
        .linux_ = &q.config->linux_,
        .user = q.user,
        .filter = q.filter.instructions ? &q.filter : NULL,
        .cgroup = &q.cgroup,
        .pidfd = q.pidfd,
        .pid = q.pid,
        .own_user_namespace = q.own_user_namespace,
        .all_capabilities = q.privileged,
        .terminal = q.terminal,
        .size = q.size,
        .channel = EXEC_CHANNEL_FD,
    };
    if ((r = container_enter(&e, &pid, err)) < 0)
        return r;
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
