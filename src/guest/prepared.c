/*
 * What a template has done before its memory is kept: everything about a machine that is the same
 * for all. The disks are known, a new writable disk is mounted, and the workload's process exists:
 * process 1 of its namespaces, in its control group, with the usual mounts standing in
 * GUEST_PREPARED. It has pipes for stdin, stdout and stderr, one on which it waits for its orders,
 * and one on which it reports; a socket pair is for descriptors: a terminal's, and roots.
 *
 * Orders are the two messages of the host as they came, read there once more by the same code. A
 * workload that wants other mounts makes them itself, in a root that comes with its orders.
 *
 * A template of one image has its root, too: the process got it before its orders, twice, has moved
 * the usual mounts on one of them, and made that its root.
 *
 * All of this is to have little left to do. A clone under emulation runs every piece of code for
 * the first time, and translating it takes far longer than running it.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "guest/guest.h"
#include "kernel/mount.h"
#include "kernel/passwd.h"
#include "wire/agent/prepare.h"

/* What the engine asks for where nothing else is (engine/spec-resources.c); a machine with other
 * limits gets those. */
#define USUAL_PIDS 2048

/* Ends of what is between the agent and the process: each has its own. */
struct ends {
    int socket, orders, report, stdio[3];
};
struct guest_prepared {
    pid_t pid;
    struct ends ours;
    bool has_root;
    struct buf orders; /* frames */
};

/* Before the orders: how many bytes of frames follow, and whether a root comes on the socket.
 * place: two roots do, and the bytes are what guest_rehearse wants. rehearsal: others will come. */
struct orders_head {
    uint32_t len;
    bool place, root, rehearsal;
};

/* --- in the prepared process --- */

static int attach_root(int tree, const char *place, struct error *err)
{
    _cleanup_close_ int target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = target < 0 ? -errno : mount_attach(tree, target);
    return r < 0 ? error_errno(err, r, "take the root file system") : 0;
}

static int take_roots(const struct ends *e, int fds[static FD_PASS_MAX], struct error *err)
{
    char byte;
    return fd_take(e->socket, &byte, 1, fds) == 1
               ? 0
               : error_set(err, ERROR_SYSTEM, EPROTO, "take the root file system");
}

/* The spare root is attached, too: dropping one that is not takes a while. */
static int place(struct guest *g, const struct ends *e, const char *program, struct error *err)
{
    int roots[FD_PASS_MAX];
    mkdir(GUEST_SPARE, 0755);
    int r = take_roots(e, roots, err);
    if (r == 0)
        r = attach_root(roots[1], GUEST_SPARE, err);
    if (r == 0)
        r = attach_root(roots[0], GUEST_ROOT, err);
    if (r == 0)
        r = guest_mounts_place(&g->outer, err);
    if (r < 0)
        return r;
    close(roots[0]);
    close(roots[1]);
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *home = root < 0 ? NULL : passwd_home(root, 0);
    g->home = home && *home ? home : xstrdup("/");
    guest_rehearse(program);
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

static int take_root(const struct ends *e, struct error *err)
{
    int roots[FD_PASS_MAX];
    int r = take_roots(e, roots, err);
    if (r == 0)
        r = attach_root(roots[0], GUEST_ROOT, err);
    if (r == 0)
        close(roots[0]);
    return r;
}

static _noreturn_ void start(struct guest *g, const struct ends *e, const struct buf *orders,
                             bool root)
{
    struct guest_spawn spawn;
    struct error err = ERROR_INIT;
    int stdio[3] = {e->stdio[0], e->stdio[1], e->stdio[2]};
    int r = root ? take_root(e, &err) : 0;
    if (r == 0)
        r = read_orders(g, orders, &spawn, &err);
    if (r == 0)
        r = guest_mounts_check(g, &err);
    if (r == 0 && !spawn.stdin_open)
        stdio[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (r == 0)
        guest_spawn_child(g, &spawn, stdio, spawn.terminal ? e->socket : e->report);
    (void)!write(e->report, &err, sizeof(err));
    _exit(127);
}

/* All that a start does, in a child with mounts of its own, up to a program that ends at once:
 * ours. What it has come to does not matter; what it has run through is known from then on. */
static void rehearse(const struct guest *prepared, const struct buf *orders)
{
    char *argv[] = {(char *)"/proc/self/exe", NULL};
    struct guest g = *prepared;
    struct guest_spawn spawn;
    struct error ignored = ERROR_INIT;
    pid_t pid = fork();
    if (pid > 0)
        waitpid(pid, NULL, 0);
    if (pid != 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || unshare(CLONE_NEWNS) < 0 || read_orders(&g, orders, &spawn, &ignored) < 0 ||
        guest_mounts_check(&g, &ignored) < 0)
        _exit(1);
    spawn.argv = argv;
    spawn.init = false;
    guest_spawn_child(&g, &spawn, (int[]){null, null, null}, null);
}

static int take_orders(const struct ends *e, struct orders_head *ret_head, struct buf *ret)
{
    char *space;
    if (fd_read_full(e->orders, ret_head, sizeof(*ret_head)) != (ssize_t)sizeof(*ret_head) ||
        ret_head->len > ret->max || buf_reserve(ret, ret_head->len, &space) < 0 ||
        fd_read_full(e->orders, space, ret_head->len) != (ssize_t)ret_head->len)
        return -EPROTO;
    ret->len = ret_head->len;
    return 0;
}

/* One byte that says that all stands, or an error. */
static void answer(const struct ends *e, int r, const struct error *err)
{
    ssize_t n = r == 0 ? write(e->report, "", 1) : write(e->report, err, sizeof(*err));
    if (r < 0 || n != 1)
        _exit(1);
}

static _noreturn_ void prepare_child(struct ends *e)
{
    static struct buf orders = BUF_INIT(4 * AGENT_PAYLOAD_MAX);
    int keep[] = {e->socket, e->orders, e->report, e->stdio[0], e->stdio[1], e->stdio[2]};
    struct guest g = {.mounts_ready = true};
    struct orders_head head;
    struct error err = ERROR_INIT;
    fd_close_others(keep, ARRAY_SIZE(keep));
    setsid();
    (void)!guest_enter_cgroup();
    int r = unshare(CLONE_NEWCGROUP) < 0 ? error_errno(&err, errno, "make a cgroup namespace")
                                         : guest_mounts_prepare(&err);
    answer(e, r, &err);
    while (take_orders(e, &head, &orders) == 0) {
        if (!head.place && !head.rehearsal)
            start(&g, e, &orders, head.root);
        if (head.rehearsal)
            rehearse(&g, &orders);
        _cleanup_free_ char *program = xstrndup(orders.data, orders.len);
        buf_reset(&orders);
        answer(e, head.place ? place(&g, e, program, &err) : 0, &err);
    }
    _exit(1);
}

/* --- in the agent --- */

static int wait_ready(const struct ends *e, struct error *err)
{
    struct error theirs = ERROR_INIT;
    ssize_t n = read(e->report, &theirs, sizeof(theirs));
    if (n == 1)
        return 0;
    if (n == (ssize_t)sizeof(theirs))
        *err = theirs;
    else
        error_set(err, ERROR_SYSTEM, EIO, "prepare a process");
    return -EIO;
}

/* For as long as the machine lives: taking them apart would only delay the news of the workload's
 * end. */
static void hold_namespaces(pid_t pid)
{
    static const char *const names[] = {"mnt", "ipc", "cgroup"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/ns/%s", (int)pid, names[i]);
        (void)!open(path, O_RDONLY | O_CLOEXEC);
    }
}

static int open_pipe(int *ret_read, int *ret_write)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = ends[0];
    *ret_write = ends[1];
    return 0;
}

/* Only at a template's making: what is opened when it fails goes with it. */
static int open_ends(struct ends *ours, struct ends *theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours->socket = pair[0];
    theirs->socket = pair[1];
    int r = open_pipe(&theirs->orders, &ours->orders);
    if (r == 0)
        r = open_pipe(&ours->report, &theirs->report);
    if (r == 0)
        r = open_pipe(&theirs->stdio[0], &ours->stdio[0]);
    for (int i = 1; i < 3 && r == 0; i++)
        r = open_pipe(&ours->stdio[i], &theirs->stdio[i]);
    for (int i = 0; i < 3 && r == 0; i++)
        r = fd_set_nonblock(ours->stdio[i], true);
    return r;
}

static void close_ends(const struct ends *e)
{
    close(e->socket);
    close(e->orders);
    close(e->report);
    for (int i = 0; i < 3; i++)
        close(e->stdio[i]);
}

static int make_process(struct guest *g, struct error *err)
{
    struct ends ours, theirs;
    int r = open_ends(&ours, &theirs);
    pid_t pid = r < 0
                    ? r
                    : (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD,
                                     NULL, NULL, NULL, NULL);
    if (pid == 0)
        prepare_child(&theirs);
    if (pid < 0)
        return error_errno(err, r < 0 ? r : errno, "prepare a process");
    close_ends(&theirs);
    r = wait_ready(&ours, err);
    if (r < 0)
        return r;
    hold_namespaces(pid);
    g->prepared = xcalloc(1, sizeof(*g->prepared));
    *g->prepared = (struct guest_prepared){
        .pid = pid, .ours = ours, .orders = BUF_INIT(4 * AGENT_PAYLOAD_MAX)};
    return 0;
}

static int apply_usual_limits(struct error *err)
{
    struct oci_resources usual;
    oci_resources_init(&usual);
    usual.pids_limit = USUAL_PIDS;
    int r = guest_limits_apply(&usual, err);
    oci_resources_done(&usual);
    return r;
}

int guest_prepare(struct guest *g, uint32_t flags, struct error *err)
{
    int r = guest_network_prepare(err);
    (void)!guest_open_random();
    if (r == 0)
        r = apply_usual_limits(err);
    if (r == 0)
        r = guest_root_prepare(flags & AGENT_PREPARE_DISK, err);
    return r < 0 ? r : make_process(g, err);
}

static int give(const struct guest_prepared *p, const struct orders_head *head, const void *data,
                const int *roots, size_t n_roots)
{
    int r = fd_write_all(p->ours.orders, head, sizeof(*head));
    if (r == 0)
        r = fd_write_all(p->ours.orders, data, head->len);
    if (r == 0 && n_roots > 0)
        r = fd_pass_many(p->ours.socket, "", 1, roots, n_roots);
    return r;
}

static int give_roots(struct guest_prepared *p, const char *program, struct error *err)
{
    const struct orders_head head = {.len = (uint32_t)strlen(program), .place = true};
    _cleanup_close_ int first = mount_clone(AT_FDCWD, GUEST_ROOT, false),
                        second = mount_clone(AT_FDCWD, GUEST_ROOT, false);
    const int roots[] = {first, second};
    int r = MIN(first, second);
    if (r >= 0)
        r = give(p, &head, program, roots, ARRAY_SIZE(roots));
    if (r < 0)
        return error_errno(err, r, "give the root file system");
    r = wait_ready(&p->ours, err);
    p->has_root = r == 0;
    return r;
}

int guest_prepare_root(struct guest *g, uint32_t n_layers, struct error *err)
{
    const struct agent_configure c = {.n_layers = n_layers, .has_disk = true};
    int r = guest_root_build(&c, err);
    if (r == 0)
        r = guest_files_prepare(GUEST_USUAL_FILES, err);
    return r < 0 ? r : give_roots(g->prepared, g->program ? g->program : "", err);
}

int guest_prepared_keep(struct guest *g, const struct agent_frame *f, struct error *err)
{
    if (!g->prepared)
        return 0;
    int r = agent_frame_add(&g->prepared->orders, f->type, f->stream, f->payload, f->len);
    return r < 0 ? error_errno(err, r, "keep the machine's orders") : 0;
}

void guest_prepared_forget(struct guest *g)
{
    if (g->prepared)
        buf_reset(&g->prepared->orders);
}

int guest_prepared_rehearse(struct guest *g, const struct agent_frame *f, struct error *err)
{
    struct guest_prepared *p = g->prepared;
    if (!p || !p->has_root)
        return 0;
    size_t kept = p->orders.len;
    struct orders_head head = {.rehearsal = true};
    int r = agent_frame_add(&p->orders, AGENT_START, AGENT_WORKLOAD, f->payload, f->len);
    head.len = (uint32_t)p->orders.len;
    if (r == 0)
        r = give(p, &head, p->orders.data, NULL, 0);
    p->orders.len = kept;
    return r < 0 ? error_errno(err, r, "rehearse a start") : wait_ready(&p->ours, err);
}

static int give_orders(const struct guest_prepared *p)
{
    struct orders_head head = {.len = (uint32_t)p->orders.len, .root = !p->has_root};
    _cleanup_close_ int root = head.root ? mount_clone(AT_FDCWD, GUEST_ROOT, false) : -EBADF;
    return head.root && root < 0 ? root : give(p, &head, p->orders.data, &root, head.root);
}

int guest_prepared_start(struct guest *g, bool terminal, int ret_stdio[3], pid_t *ret_pid,
                         int *ret_report)
{
    struct guest_prepared *p = g->prepared;
    g->prepared = NULL;
    int r = give_orders(p);
    buf_done(&p->orders);
    if (r < 0)
        kill(p->pid, SIGKILL);
    for (int i = 0; i < 3; i++)
        if (r == 0 && !terminal)
            ret_stdio[i] = p->ours.stdio[i];
        else
            close(p->ours.stdio[i]);
    *ret_pid = p->pid;
    *ret_report = r == 0 && terminal ? p->ours.socket : p->ours.report;
    /* The other ones stay: a few descriptors cost less than their end. */
    free(p);
    return r;
}
