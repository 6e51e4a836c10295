/*
 * What can be done to a running machine. Everything inside it goes through agent.sock; freezing is
 * proa-vm's own affair (QEMU stops the processors); ending everything is killing the workload, so
 * that what it wrote reaches the disk as a killed container's files do, and only where that does
 * not help killing proa-vm, with which QEMU dies.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "kernel/cgroup.h"
#include "runtime/group-stats.h"
#include "runtime/vm/client.h"
#include "runtime/vm/networks.h"
#include "runtime/vm/ops-internal.h"

#define END_WAIT_MS 8000 /* less than what the engine grants a kill */

/* What came of adding a request to c->out; then it is sent, and the answer must be of that type. */
static int answered(struct agent_client *c, int added, enum agent_type type,
                    struct agent_frame *ret, struct error *err)
{
    if (added < 0)
        return error_errno(err, added, "talk to the machine");
    int r = agent_client_answer(c, ret, err);
    if (r == 0 && ret->type != type)
        r = error_set(err, ERROR_CORRUPT, EPROTO, "unexpected answer from the machine");
    return r;
}

static int simple(const struct runtime_target *t, enum agent_type type, uint32_t value,
                  struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    int r = agent_client_open(&c, t, err);
    if (r < 0)
        return r;
    return answered(&c, agent_add_u32(&c.out, type, 1, value), AGENT_OK, &f, err);
}

static int ops_signal(const struct runtime_target *t, int signum, struct error *err)
{
    if (signum < 1 || signum > 64)
        return error_invalid(err, "%d is no signal", signum);
    return simple(t, AGENT_SIGNAL, (uint32_t)signum, err);
}

int vm_set_networks(const struct runtime_target *t, const struct bundle *b, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct vm_networks networks;
    struct agent_frame f;
    int r = agent_client_open(&c, t, err);
    if (r < 0)
        return r;
    vm_describe_networks(b, b->n_networks, &networks);
    return answered(&c, agent_networks_add(&c.out, 1, networks.list, networks.n), AGENT_OK, &f,
                    err);
}

static int ops_freeze(const struct runtime_target *t, bool frozen, struct error *err)
{
    return simple(t, AGENT_FREEZE, frozen, err);
}

/* The number may have been used again by a process that is no proa-vm: asked once it is held. */
static bool is_machine(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/comm", (int)pid), *name = NULL;
    return pid > 0 && file_read_kernel(AT_FDCWD, path, 64, &name) == 0 &&
           strcmp(name, "proa-vm\n") == 0;
}

/* Holds t's proa-vm in *ret; 0 when there is none. */
static int hold_machine(const struct runtime_target *t, int *ret)
{
    int fd = t->pid > 0 ? (int)syscall(SYS_pidfd_open, t->pid, 0) : -1;
    if (fd >= 0 && !is_machine(t->pid))
        fd = close_fd(fd);
    *ret = fd;
    return fd >= 0;
}

static int kill_machine(int pidfd, struct error *err)
{
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return error_errno(err, errno, "kill the machine");
    return 0;
}

/* True when the workload's end was the machine's, with its disk written. */
static bool end_by_agent(const struct runtime_target *t, int pidfd)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct error ignored = ERROR_INIT;
    struct pollfd p = {pidfd, POLLIN, 0};
    return agent_client_open(&c, t, &ignored) == 0 &&
           agent_add_u32(&c.out, AGENT_SIGNAL, 1, SIGKILL) == 0 &&
           agent_client_flush(&c, &ignored) == 0 && poll(&p, 1, END_WAIT_MS) > 0;
}

static int ops_kill_all(const struct runtime_target *t, struct error *err)
{
    _cleanup_close_ int pidfd = -EBADF;
    if (!hold_machine(t, &pidfd) || end_by_agent(t, pidfd))
        return 0;
    return kill_machine(pidfd, err);
}

/* seconds: how long the answer may take; 0: as long as any. */
static int request(const struct runtime_target *t, enum agent_type type, enum agent_type answer,
                   unsigned int seconds, struct agent_client *c, struct agent_frame *ret,
                   struct error *err)
{
    struct timeval patience = {.tv_sec = seconds};
    int r = agent_client_open(c, t, err);
    if (r < 0)
        return r;
    if (seconds) /* less than what every command waits */
        (void)!setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return answered(c, agent_frame_add(&c->out, type, 1, NULL, 0), answer, ret, err);
}

static int ops_stats(const struct runtime_target *t, struct runtime_stats *ret, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    struct agent_stats s;
    int r = request(t, AGENT_STATS, AGENT_STATS_REPLY, 0, &c, &f, err);
    if (r == 0)
        r = agent_stats_get(&f, &s, err);
    if (r < 0)
        return r;
    *ret = (struct runtime_stats){
        .cpu_ns = s.cpu_ns,
        .memory_bytes = s.memory_bytes,
        .memory_limit = s.memory_limit,
        .pids = s.pids,
        .pids_limit = s.pids_limit,
        .net_rx_bytes = s.net_rx_bytes,
        .net_tx_bytes = s.net_tx_bytes,
        .block_read_bytes = s.block_read_bytes,
        .block_write_bytes = s.block_write_bytes,
    };
    return 0;
}

int vm_stats_outside(const struct runtime_target *t, struct runtime_stats *ret, struct error *err)
{
    _cleanup_free_ char *path = bundle_group_of(t->bundle, t->id);
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct cgroup_stats s;
    int r = cgroup_open(path, &g, err);
    if (r == 0)
        r = cgroup_stats(&g, &s, err);
    if (r < 0)
        return r;
    *ret = runtime_stats_of_group(&s);
    return 0;
}

static int ops_processes(const struct runtime_target *t, char **ret_json, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    const char *text;
    int r = request(t, AGENT_PROCESSES, AGENT_TEXT, 0, &c, &f, err);
    if (r == 0)
        r = agent_get_string(&f, &text, err);
    if (r == 0)
        *ret_json = xstrdup(text);
    return r;
}

int vm_guest_info(const struct runtime_target *t, char **ret_json, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    const char *text;
    int r = request(t, AGENT_GUEST_INFO, AGENT_TEXT, 3, &c, &f, err);
    if (r == 0)
        r = agent_get_string(&f, &text, err);
    if (r == 0)
        *ret_json = xstrdup(text);
    return r;
}

bool vm_halted(const struct runtime_target *t, char *ret_why, size_t size)
{
    _cleanup_free_ char *path = path_join(t->run_dir, RUNTIME_HALTED), *why = NULL;
    if (file_read_kernel(AT_FDCWD, path, 128, &why) < 0 || !*why)
        return false;
    snprintf(ret_why, size, "%s", why);
    return true;
}

bool vm_silent(const struct runtime_target *t, int64_t *ret_since_ns, char *ret_who, size_t size)
{
    _cleanup_free_ char *path = path_join(t->run_dir, RUNTIME_SILENT), *line = NULL;
    uint64_t since;
    if (file_read_kernel(AT_FDCWD, path, 128, &line) < 0)
        return false;
    char *who = strchr(line, ' ');
    if (!who)
        return false;
    *who++ = '\0';
    if (parse_u64(line, INT64_MAX, &since) < 0)
        return false;
    *ret_since_ns = (int64_t)since;
    snprintf(ret_who, size, "%s", who);
    return true;
}

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int ops_clean(const struct runtime_target *t, struct error *err)
{
    _cleanup_free_ char *group = bundle_group_of(t->bundle, t->id);
    _cleanup_close_ int pidfd = -EBADF;
    int r =
        hold_machine(t, &pidfd) ? kill_machine(pidfd, err) : 0; /* QEMU, virtiofsd end with it */
    _cleanup_(cleanup_dir) DIR *d = opendir(t->run_dir);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (strcmp(entry->d_name, "agent.sock") == 0 || strcmp(entry->d_name, "vnc.sock") == 0 ||
            strcmp(entry->d_name, "timing") == 0 || strcmp(entry->d_name, RUNTIME_HALTED) == 0 ||
            strcmp(entry->d_name, RUNTIME_SILENT) == 0 || strncmp(entry->d_name, "share", 5) == 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    return r < 0 ? r : cgroup_remove(group, err);
}

const struct runtime_ops vm_ops = {
    .name = "vm",
    .exec = vm_ops_exec,
    .signal = ops_signal,
    .kill_all = ops_kill_all,
    .freeze = ops_freeze,
    .stats = ops_stats,
    .processes = ops_processes,
    .copy_out = vm_ops_copy_out,
    .copy_in = vm_ops_copy_in,
    .send_tree = vm_ops_send_tree,
    .snapshot = vm_ops_snapshot,
    .update = vm_ops_update,
    .clean = ops_clean,
};
