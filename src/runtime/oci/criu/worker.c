/*
 * One conversation with `criu swrk`: it is started with one end of a socket, gets the request, and
 * is answered each notification until its own answer comes.
 *
 * The worker is a child of this process. What it restores is born as its sibling, so that it is a
 * child of this process, too, and of whoever this one leaves it to.
 *
 * CRIU wants the root that it restores to be a mount. That is made in a mount namespace that only
 * the worker is left in: nothing of it stays on the host, whatever is killed.
 *
 * CRIU lets a process run to a breakpoint of the processor's while it leaves it. Where those never
 * fire it would wait for ever, and is told to go there step by step (its "fault" 130).
 *
 * What went wrong is in CRIU's log. The first line of it that says Error becomes part of the
 * message; the caller is told where the rest is.
 */
#include "runtime/oci/criu/worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/breakpoint.h"
#include "kernel/ns.h"

#define PROGRAM  "criu"
#define FALLBACK "/usr/sbin/criu"
#define MAX_LOG  ((size_t)64 << 20)
#define MAX_SAID 200

static char *const step_by_step[] = {
    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    (char *)"LC_ALL=C.UTF-8", (char *)"CRIU_FAULT=130", NULL};

struct worker {
    pid_t pid;
    int socket;
};

static int start_program(const struct criu_call *call, int socket, const char *path, pid_t *ret_pid,
                         struct error *err)
{
    struct process_fd fds[4 + CRIU_MAX_GIVEN];
    char *argv[] = {(char *)PROGRAM, (char *)"swrk", (char *)"3", NULL};
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        fds[n++] = (struct process_fd){call->stdio[i], i};
    fds[n++] = (struct process_fd){socket, CRIU_SOCKET};
    for (size_t i = 0; i < call->n_given; i++)
        fds[n++] = (struct process_fd){call->given[i], CRIU_FIRST_FD + (int)i};
    const struct process_spec spec = {.path = path,
                                      .argv = argv,
                                      .env = breakpoint_fires() ? NULL : step_by_step,
                                      .fds = fds,
                                      .n_fds = n};
    return process_start(&spec, ret_pid, err);
}

static int start_worker(const struct criu_call *call, int socket, pid_t *ret_pid, struct error *err)
{
    int r = start_program(call, socket, PROGRAM, ret_pid, err);
    if (r == -ENOENT)
        r = start_program(call, socket, FALLBACK, ret_pid, err);
    if (r == -ENOENT)
        return error_set(
            err, ERROR_UNSUPPORTED, EOPNOTSUPP,
            "%s needs the program criu, which is not installed (Debian's package criu)",
            call->action);
    return r;
}

static int bind_root(const struct criu_call *call, struct error *err)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return error_errno(err, errno, "separate the mounts of criu");
    if (mount(call->root, call->root_place, NULL, MS_BIND | MS_REC, NULL) < 0 ||
        mount(NULL, call->root_place, NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return error_errno(err, errno, "mount the root %s", call->root);
    return 0;
}

/* Where its files go. It works in these directories and mounts there: they have to be opened in the
 * namespace that it is in. */
static int open_directories(const struct criu_call *call, struct criu_request *q, struct error *err)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    if (!call->image_path)
        return 0;
    q->images_fd = open(call->image_path, flags);
    if (q->images_fd < 0)
        return error_errno(err, errno, "open %s", call->image_path);
    q->work_fd = call->work_path ? open(call->work_path, flags) : -EBADF;
    if (call->work_path && q->work_fd < 0)
        return error_errno(err, errno, "open %s", call->work_path);
    return 0;
}

static int start(const struct criu_call *call, struct criu_request *q, int socket, pid_t *ret_pid,
                 struct error *err)
{
    int r = open_directories(call, q, err);
    return r < 0 ? r : start_worker(call, socket, ret_pid, err);
}

/* In its own mount namespace, with the root where it wants it; this process is back in its own
 * before anything else happens. */
static int start_with_root(const struct criu_call *call, struct criu_request *q, int socket,
                           pid_t *ret_pid, struct error *err)
{
    _cleanup_close_ int own = ns_open("/proc/self/ns/mnt", CLONE_NEWNS);
    _cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (own < 0 || cwd < 0)
        return error_errno(err, own < 0 ? own : errno, "open the mount namespace");
    int r = bind_root(call, err);
    if (r == 0)
        r = start(call, q, socket, ret_pid, err);
    int back = ns_enter(own, CLONE_NEWNS);
    if (back == 0 && fchdir(cwd) < 0)
        back = -errno;
    return r == 0 && back < 0 ? error_errno(err, back, "go back to the own mounts") : r;
}

static int send_message(int socket, const struct buf *b)
{
    while (send(socket, b->data, b->len, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* -ECONNRESET when the worker has ended. */
static int receive(int socket, struct criu_answer *ret, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char bytes[16384];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control.space)};
    ssize_t n;
    while ((n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR)
            return -errno;
    if (n == 0)
        return -ECONNRESET;
    _cleanup_close_ int fd = -EBADF;
    struct cmsghdr *header = CMSG_FIRSTHDR(&m);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    if (m.msg_flags & MSG_TRUNC)
        return -EMSGSIZE;
    int r = criu_answer_decode(bytes, (size_t)n, ret);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* The first thing that its log calls an error: what follows is mostly about that. A limit that may
 * not be raised is none. */
static char *first_complaint(const char *log)
{
    _cleanup_strv_ char **lines = strv_split(log, '\n');
    for (size_t i = 0; lines[i]; i++) {
        const char *at = strstr(lines[i], "Error (");
        const char *said = at ? strstr(at, "): ") : NULL;
        if (said && !strstr(said, "rlimit:"))
            return xstrndup(said + 3, MAX_SAID);
    }
    return NULL;
}

static int failed(const struct criu_call *call, const struct criu_request *q,
                  const struct criu_answer *a, struct error *err)
{
    const char *directory = call->work_path ? call->work_path : call->image_path;
    _cleanup_free_ char *path = NULL, *log = NULL, *said = NULL;
    if (!directory)
        return error_set(err, ERROR_SYSTEM, EIO, "%s: criu does not work", call->action);
    path = path_join(directory, q->log_file);
    if (file_read(AT_FDCWD, path, MAX_LOG, &log) == 0)
        said = first_complaint(log);
    const char *what = said ? said : *a->complaint ? a->complaint : NULL;
    char number[64] = "it ended without an answer";
    if (a->errnum)
        error_text(a->errnum, number, sizeof(number));
    return error_set(err, ERROR_SYSTEM, EIO, "%s: criu failed: %s (its log: %s)", call->action,
                     what ? what : number, path);
}

static int serve_notification(const struct criu_call *call, const struct worker *w,
                              const struct criu_answer *a, int fd, struct error *err)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(64);
    int r = call->notify ? call->notify(call->context, a->script, a->pid, fd, err) : 0;
    if (r < 0 && call->last_script && strcmp(call->last_script, a->script) == 0) {
        kill(w->pid, SIGKILL);
        return r;
    }
    int sent = criu_reply_encode(r == 0, &reply);
    if (sent == 0)
        sent = send_message(w->socket, &reply);
    return r == 0 && sent < 0 ? error_errno(err, sent, "answer criu") : r;
}

/* A refusal of our own is the error; the worker then undoes, and its answer is waited for. */
static int converse(const struct criu_call *call, const struct criu_request *q,
                    const struct worker *w, struct criu_answer *ret, struct error *err)
{
    int refused = 0;
    for (;;) {
        struct criu_answer a = {.type = 0};
        _cleanup_close_ int fd = -EBADF;
        int r = receive(w->socket, &a, &fd);
        if (refused < 0 && (r < 0 || a.type != CRIU_NOTIFY))
            return refused;
        if (r == -EPROTO || r == -EMSGSIZE)
            return error_errno(err, r, "understand criu");
        if (r < 0 || !a.success)
            return failed(call, q, &a, err);
        if (a.type != CRIU_NOTIFY) {
            *ret = a;
            return 0;
        }
        if (refused == 0)
            refused = serve_notification(call, w, &a, fd, err);
    }
}

static int ask(const struct criu_call *call, const struct criu_request *q, const struct worker *w,
               struct criu_answer *ret, struct error *err)
{
    _cleanup_buf_ struct buf bytes = BUF_INIT(CRIU_MESSAGE_MAX);
    int r = call->group ? cgroup_add(call->group, w->pid, true, err) : 0;
    if (r < 0)
        return r;
    r = criu_request_encode(q, &bytes);
    if (r == 0)
        r = send_message(w->socket, &bytes);
    if (r == -EPIPE)
        r = 0; /* it has ended: which is seen when there is no answer */
    return r < 0 ? error_errno(err, r, "ask criu") : converse(call, q, w, ret, err);
}

static int run(const struct criu_call *call, struct criu_request *q, struct criu_answer *ret,
               struct error *err)
{
    int ends[2], status;
    pid_t worker;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, errno, "make a socket for criu");
    _cleanup_close_ int own = ends[0], others = ends[1];
    int r = call->root ? start_with_root(call, q, others, &worker, err)
                       : start(call, q, others, &worker, err);
    if (r < 0)
        return r;
    others = close_fd(others);
    r = ask(call, q, &(struct worker){worker, own}, ret, err);
    /* It ends when it sees that nobody asks for more. */
    own = close_fd(own);
    (void)!process_wait(worker, &status);
    return r;
}

int criu_run(const struct criu_call *call, struct criu_request *request, struct criu_answer *ret,
             struct error *err)
{
    request->images_fd = request->work_fd = -EBADF;
    int r = run(call, request, ret, err);
    close_fd(request->images_fd);
    close_fd(request->work_fd);
    return r;
}

int criu_version(const char *action, unsigned int *ret, struct error *err)
{
    const struct criu_call call = {.action = action, .stdio = {-EBADF, -EBADF, -EBADF}};
    struct criu_request q = {.type = CRIU_VERSION};
    struct criu_answer a;
    int r = criu_run(&call, &q, &a, err);
    if (r < 0)
        return r;
    *ret = a.major * 100 + a.minor;
    return 0;
}
