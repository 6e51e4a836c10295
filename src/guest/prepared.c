/*
 * What a template has done before its memory is kept: everything about a machine that is the same
 * for all. The disks are known, a new writable disk is mounted, and the workload's process exists:
 * process 1 of its namespaces, in its control group, with the usual mounts standing in
 * GUEST_PREPARED. It waits for its orders on a socket pair, which is afterwards what it reports on.
 *
 * Orders are the two messages of the host as they came, read there once more by the same code, and
 * with the first of them the descriptors: stdin, stdout, stderr (none with a terminal) and the root
 * file system as a detached mount. A workload that wants other mounts makes them itself.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "guest/guest.h"
#include "kernel/mount.h"

#define CHUNK ((size_t)32 << 10)

struct guest_prepared {
    pid_t pid;
    int channel;
    struct buf orders; /* frames */
};

/* The first message: how many bytes of frames follow, in messages of at most CHUNK. */
struct orders_head {
    uint32_t len;
    bool stdio;
};

/* --- in the prepared process --- */

static int take_orders(int channel, int stdio[3], int *ret_root, struct buf *ret)
{
    struct orders_head head;
    int fds[FD_PASS_MAX];
    if (fd_take(channel, &head, sizeof(head), fds) != (ssize_t)sizeof(head) || head.len > ret->max)
        return -EPROTO;
    *ret_root = fds[0];
    for (size_t i = 0; i < 3; i++)
        stdio[i] = head.stdio ? fds[i + 1] : -EBADF;
    while (ret->len < head.len) {
        char *space;
        int r = buf_reserve(ret, CHUNK, &space);
        ssize_t n = r < 0 ? r : recv(channel, space, CHUNK, 0);
        if (n <= 0)
            return -EPROTO;
        ret->len += (size_t)n;
    }
    return 0;
}

static int read_orders(struct guest *g, const struct buf *orders, struct guest_spawn *ret,
                       struct error *err)
{
    struct agent_configure c;
    struct agent_frame f;
    size_t used, at;
    int r = agent_frame_parse(orders->data, orders->len, &f, &used, err);
    if (r == 0)
        r = agent_configure_get(&f, &c, err);
    if (r < 0)
        return r;
    guest_remember(g, &c);
    agent_configure_done(&c);
    at = used;
    r = agent_frame_parse(orders->data + at, orders->len - at, &f, &used, err);
    return r < 0 ? r : guest_start_read(g, &f, ret, err);
}

static int attach_root(int tree, struct error *err)
{
    _cleanup_close_ int target = open(GUEST_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = target < 0 ? -errno : mount_attach(tree, target);
    return r < 0 ? error_errno(err, r, "take the root file system") : 0;
}

static _noreturn_ void serve(int channel)
{
    static struct buf orders = BUF_INIT(4 * AGENT_PAYLOAD_MAX);
    struct guest g = {.mounts_ready = true};
    struct guest_spawn spawn;
    struct error err = ERROR_INIT;
    int stdio[3], root = -EBADF;
    if (take_orders(channel, stdio, &root, &orders) < 0)
        _exit(1);
    if (attach_root(root, &err) == 0 && read_orders(&g, &orders, &spawn, &err) == 0) {
        close(root);
        guest_spawn_child(&g, &spawn, stdio, channel);
    }
    (void)!send(channel, &err, sizeof(err), MSG_NOSIGNAL);
    _exit(127);
}

/* Its first byte says that all stands; an error otherwise. */
static _noreturn_ void prepare_child(int channel)
{
    struct error err = ERROR_INIT;
    int keep[] = {channel};
    fd_close_others(keep, 1);
    (void)!guest_enter_cgroup();
    int r = unshare(CLONE_NEWCGROUP) < 0 ? error_errno(&err, errno, "make a cgroup namespace")
                                         : guest_mounts_prepare(&err);
    if (r < 0) {
        (void)!send(channel, &err, sizeof(err), MSG_NOSIGNAL);
        _exit(1);
    }
    if (send(channel, "", 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    serve(channel);
}

/* --- in the agent --- */

static int make_process(struct guest *g, struct error *err)
{
    struct error e = ERROR_INIT;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "prepare a process");
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, NULL,
                               NULL, NULL, NULL);
    if (pid == 0)
        prepare_child(pair[1]);
    close(pair[1]);
    ssize_t n = pid < 0 ? -1 : recv(pair[0], &e, sizeof(e), 0);
    if (n != 1) {
        close(pair[0]);
        if (n == (ssize_t)sizeof(e))
            *err = e;
        else
            error_set(err, ERROR_SYSTEM, EIO, "prepare a process");
        return -EIO;
    }
    g->prepared = xcalloc(1, sizeof(*g->prepared));
    *g->prepared = (struct guest_prepared){
        .pid = pid, .channel = pair[0], .orders = BUF_INIT(4 * AGENT_PAYLOAD_MAX)};
    return 0;
}

int guest_prepare(struct guest *g, uint32_t flags, struct error *err)
{
    int r = guest_network_prepare(err);
    if (r == 0)
        r = guest_root_prepare(flags & AGENT_PREPARE_DISK, err);
    return r < 0 ? r : make_process(g, err);
}

int guest_prepared_keep(struct guest *g, const struct agent_frame *f, struct error *err)
{
    if (!g->prepared)
        return 0;
    int r = agent_frame_add(&g->prepared->orders, f->type, f->stream, f->payload, f->len);
    return r < 0 ? error_errno(err, r, "keep the machine's orders") : 0;
}

static int give_orders(const struct guest_prepared *p, const int stdio[3])
{
    struct orders_head head = {.len = (uint32_t)p->orders.len, .stdio = stdio[0] >= 0};
    _cleanup_close_ int root = mount_clone(AT_FDCWD, GUEST_ROOT, false);
    const int fds[FD_PASS_MAX] = {root, stdio[0], stdio[1], stdio[2]};
    int r =
        root < 0 ? root : fd_pass_many(p->channel, &head, sizeof(head), fds, head.stdio ? 4 : 1);
    for (size_t at = 0; r == 0 && at < p->orders.len;) {
        size_t n = MIN(CHUNK, p->orders.len - at);
        if (send(p->channel, p->orders.data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
            r = -EPIPE;
        at += n;
    }
    return r;
}

int guest_prepared_start(struct guest *g, const int stdio[3], pid_t *ret_pid, int *ret_report)
{
    struct guest_prepared *p = g->prepared;
    if (!p)
        return -ENOENT;
    g->prepared = NULL;
    int r = give_orders(p, stdio);
    buf_done(&p->orders);
    if (r < 0) {
        kill(p->pid, SIGKILL);
        close(p->channel);
    } else {
        *ret_pid = p->pid;
        *ret_report = p->channel;
    }
    free(p);
    return r;
}
