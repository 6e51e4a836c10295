/*
 * The agent: one poll loop over the port to the host, the children's descriptors and SIGCHLD.
 *
 * A stream is a slot in a table. It ends when its process has ended and what the process wrote has
 * been read: AGENT_EXIT is the last frame of it. Descriptors that grandchildren keep open do not
 * hold a stream: after the process's end they are read until they would block.
 *
 * Output to the host is collected in one buffer. Streams are read only while the buffer is short
 * and they have credit, so it is bounded by the control messages of AGENT_STREAMS_MAX streams.
 */
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/terminal.h"
#include "guest/guest.h"
#include "kernel/tree.h"

#define OUT_SOFT_MAX ((size_t)256 << 10)
#define OUT_MAX      ((size_t)8 << 20)

enum stream_kind {
    STREAM_FREE = 0,
    STREAM_PROCESS,
    STREAM_TREE,
};

struct stream {
    enum stream_kind kind;
    uint32_t id;
    pid_t pid; /* 0 once it has ended */
    int status;
    int fds[3];
    int error_fd;  /* tree: the child's error */
    bool tree_out; /* tree: fds[1] is read, otherwise fds[0] written */
    bool close_in; /* close fds[0] when `in` is empty */
    bool no_in;    /* the process does not read any more: drop what comes */
    bool terminal;
    struct buf in;      /* for fds[0]; at most AGENT_WINDOW */
    uint32_t credit[3]; /* what may still be sent on channels 1 and 2 */
};

struct agent {
    struct guest guest;
    int port, signals;
    struct buf in, out;
    struct stream streams[AGENT_STREAMS_MAX];
    bool configured;
};

static _noreturn_ void die(const char *what, const char *why)
{
    fprintf(stderr, "guest: %s: %s\n", what, why);
    sync();
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

/* Memory gone or a bound passed in the agent itself: the machine cannot be kept. */
static void must(int r)
{
    if (r < 0)
        die("output", strerror(-r));
}

static struct stream *stream_find(struct agent *a, uint32_t id)
{
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++)
        if (a->streams[i].kind != STREAM_FREE && a->streams[i].id == id)
            return &a->streams[i];
    return NULL;
}

static int stream_new(struct agent *a, uint32_t id, struct stream **ret, struct error *err)
{
    if (id == 0 || stream_find(a, id))
        return error_invalid(err, "stream %u is in use", id);
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        struct stream *s = &a->streams[i];
        if (s->kind != STREAM_FREE)
            continue;
        *s = (struct stream){.id = id,
                             .fds = {-EBADF, -EBADF, -EBADF},
                             .error_fd = -EBADF,
                             .in = BUF_INIT(AGENT_WINDOW),
                             .credit = {0, AGENT_WINDOW, AGENT_WINDOW}};
        *ret = s;
        return 0;
    }
    return error_set(err, ERROR_LIMIT, EMFILE, "the machine runs %u commands already",
                     AGENT_STREAMS_MAX);
}

static void stream_free(struct stream *s)
{
    for (int i = 0; i < 3; i++)
        s->fds[i] = close_fd(s->fds[i]);
    s->error_fd = close_fd(s->error_fd);
    buf_done(&s->in);
    s->kind = STREAM_FREE;
}

/* The process's terminal or pipes have no reader or writer any more. */
static void channel_end(struct agent *a, struct stream *s, int channel)
{
    s->fds[channel] = close_fd(s->fds[channel]);
    must(agent_add_close(&a->out, s->id, (uint8_t)channel));
}

/* True while there may be more at once. */
static bool channel_read(struct agent *a, struct stream *s, int channel)
{
    char data[16384];
    size_t want = MIN(sizeof(data), (size_t)s->credit[channel]);
    if (s->fds[channel] < 0 || want == 0 || a->out.len >= OUT_SOFT_MAX)
        return false;
    ssize_t n = read(s->fds[channel], data, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        channel_end(a, s, channel);
        return false;
    }
    s->credit[channel] -= (uint32_t)n;
    must(agent_add_data(&a->out, s->id, (uint8_t)channel, data, (size_t)n));
    return true;
}

static void stop_input(struct agent *a, struct stream *s)
{
    if (s->in.len)
        must(agent_add_credit(&a->out, s->id, 0, (uint32_t)s->in.len));
    buf_reset(&s->in);
    s->fds[0] = close_fd(s->fds[0]);
    s->no_in = true;
}

static void stream_write(struct agent *a, struct stream *s)
{
    if (s->fds[0] < 0)
        return;
    if (s->in.len > 0) {
        ssize_t n = write(s->fds[0], s->in.data, s->in.len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            stop_input(a, s);
            return;
        }
        buf_consume(&s->in, (size_t)n);
        must(agent_add_credit(&a->out, s->id, 0, (uint32_t)n));
    }
    if (s->in.len == 0 && s->close_in) {
        if (s->terminal) { /* what ^D is for */
            static const char end = 4;
            (void)!write(s->fds[0], &end, 1);
        }
        s->fds[0] = close_fd(s->fds[0]);
        s->no_in = true;
    }
}

/* The error that a copy's child left, if it did. */
static void tree_result(struct agent *a, struct stream *s)
{
    struct error e = ERROR_INIT;
    ssize_t n = recv(s->error_fd, &e, sizeof(e), MSG_DONTWAIT);
    if (n != (ssize_t)sizeof(e) && s->status != 0)
        error_set(&e, ERROR_SYSTEM, EIO, "the copy in the machine failed");
    if (e.kind == ERROR_NONE)
        must(agent_frame_add(&a->out, AGENT_OK, s->id, NULL, 0));
    else
        must(agent_add_error(&a->out, s->id, &e));
}

/* After its process has ended: what is left to read, then the last frame. */
static void stream_finish(struct agent *a, struct stream *s)
{
    if (s->kind == STREAM_FREE || s->pid != 0)
        return;
    for (int i = 1; i < 3; i++) {
        while (channel_read(a, s, i))
            ;
        struct pollfd p = {s->fds[i], POLLIN, 0};
        if (s->fds[i] >= 0 && poll(&p, 1, 0) > 0)
            return; /* waits for credit, or for the host to take what is there */
    }
    if (s->kind == STREAM_TREE)
        tree_result(a, s);
    else
        must(agent_add_u32(&a->out, AGENT_EXIT, s->id, (uint32_t)s->status));
    stream_free(s);
}

static void reap(struct agent *a)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
            struct stream *s = &a->streams[i];
            if (s->kind == STREAM_FREE || s->pid != pid)
                continue;
            s->pid = 0;
            s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
}

/* The machine's own clock and random numbers; a failure here is not worth a machine. */
static void set_clock_and_seed(const struct agent_configure *c)
{
    struct timespec now = {c->clock_ns / 1000000000, c->clock_ns % 1000000000};
    struct {
        struct rand_pool_info info;
        char bytes[256];
    } pool = {.info = {.entropy_count = (int)MIN(c->seed_len, (size_t)256) * 8,
                       .buf_size = (int)MIN(c->seed_len, (size_t)256)}};
    if (c->clock_ns)
        (void)!clock_settime(CLOCK_REALTIME, &now);
    _cleanup_close_ int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
    if (fd < 0 || c->seed_len == 0)
        return;
    memcpy(&pool.info.buf, c->seed, (size_t)pool.info.buf_size);
    (void)!ioctl(fd, RNDADDENTROPY, &pool);
    (void)!ioctl(fd, RNDRESEEDCRNG);
}

static void remember(struct guest *g, const struct agent_configure *c)
{
    g->files = xcalloc(c->n_files + 1, sizeof(*g->files));
    for (size_t i = 0; i < c->n_files; i++)
        g->files[i] = (struct guest_file){xstrdup(c->files[i].path), c->files[i].readonly};
    g->n_files = c->n_files;
    g->shares = xcalloc(c->n_shares + 1, sizeof(*g->shares));
    for (size_t i = 0; i < c->n_shares; i++)
        g->shares[i] = (struct guest_share){xstrdup(c->shares[i].tag), xstrdup(c->shares[i].path),
                                            c->shares[i].readonly};
    g->n_shares = c->n_shares;
}

static int on_configure(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_configure c;
    if (a->configured)
        return error_invalid(err, "the machine is configured already");
    int r = agent_configure_get(f, &c, err);
    if (r < 0)
        return r;
    set_clock_and_seed(&c);
    if (*c.hostname && sethostname(c.hostname, strlen(c.hostname)) < 0)
        r = error_errno(err, errno, "set the host name");
    if (r == 0 && c.n_shares > 0)
        r = guest_prepare_shares(err);
    if (r == 0)
        r = guest_root_build(&c, err);
    if (r == 0)
        r = guest_files_store(&c, err);
    if (r == 0)
        r = guest_network_up(&c, err);
    if (r == 0) {
        remember(&a->guest, &c);
        a->configured = true;
        must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
    }
    agent_configure_done(&c);
    return r;
}

static int open_process(struct agent *a, uint32_t id, const struct guest_spawn *spawn,
                        struct error *err)
{
    struct guest_spawned started;
    struct stream *s;
    int r = stream_new(a, id, &s, err);
    if (r == 0)
        r = guest_spawn(&a->guest, spawn, &started, err);
    if (r < 0)
        return r;
    s->kind = STREAM_PROCESS;
    s->pid = started.pid;
    s->terminal = spawn->terminal;
    memcpy(s->fds, started.fds, sizeof(s->fds));
    s->no_in = s->fds[0] < 0;
    must(agent_frame_add(&a->out, AGENT_STARTED, id, NULL, 0));
    return 0;
}

static int on_start(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_start start;
    struct oci_config *config;
    if (!a->configured || a->guest.config || f->stream != AGENT_WORKLOAD)
        return error_invalid(err, "the machine cannot start its workload now");
    int r = agent_start_get(f, &start, err);
    if (r == 0)
        r = oci_config_parse(start.config, strlen(start.config), &config, err);
    if (r < 0)
        return r;
    if (!config->has_process) {
        oci_config_free(config);
        return error_invalid(err, "the configuration has no process");
    }
    a->guest.config = config;
    struct guest_spawn spawn = {
        .process = &config->process,
        .argv = config->process.args,
        .env = config->process.env,
        .cwd = config->process.cwd,
        .terminal = config->process.terminal,
        .stdin_open = start.stdin_open,
        .workload = true,
        .init = start.init,
        .rows = start.rows,
        .columns = start.columns,
    };
    r = open_process(a, AGENT_WORKLOAD, &spawn, err);
    if (r == 0)
        a->guest.workload = stream_find(a, AGENT_WORKLOAD)->pid;
    return r;
}

static int need_workload(const struct agent *a, struct error *err)
{
    return a->guest.workload
               ? 0
               : error_set(err, ERROR_CONFLICT, ESRCH, "the machine runs no workload");
}

static int on_exec(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_exec e;
    int r = need_workload(a, err);
    if (r == 0)
        r = agent_exec_get(f, &e, err);
    if (r < 0)
        return r;
    const struct oci_process *p = &a->guest.config->process;
    char **env = strv_copy(p->env);
    for (char **v = e.env; *v; v++)
        if (strchr(*v, '='))
            env_set(&env, *v);
    struct guest_spawn spawn = {
        .process = p,
        .argv = e.argv,
        .env = env,
        .cwd = *e.cwd ? e.cwd : p->cwd,
        .user = *e.user ? e.user : NULL,
        .terminal = e.terminal,
        .stdin_open = e.stdin_open,
        .discard_output = e.detach,
        .privileged = e.privileged,
        .rows = e.rows,
        .columns = e.columns,
    };
    r = open_process(a, f->stream, &spawn, err);
    strv_free(env);
    agent_exec_done(&e);
    return r;
}

static int send_plain(int rootfd, const char *path, int fd, struct error *err)
{
    return tree_send(rootfd, path, false, fd, err);
}

static int send_followed(int rootfd, const char *path, int fd, struct error *err)
{
    return tree_send(rootfd, path, true, fd, err);
}

static int on_tree(struct agent *a, const struct agent_frame *f, struct error *err)
{
    bool out = f->type != AGENT_TREE_IN;
    const char *path;
    struct stream *s;
    int r = need_workload(a, err);
    if (r == 0)
        r = agent_get_string(f, &path, err);
    if (r == 0)
        r = stream_new(a, f->stream, &s, err);
    if (r < 0)
        return r;
    guest_tree_fn run = f->type == AGENT_TREE_IN       ? tree_receive
                        : f->type == AGENT_TREE_FOLLOW ? send_followed
                                                       : send_plain;
    r = guest_spawn_tree(&a->guest, run, path, out, &s->pid, &s->fds[out ? 1 : 0], &s->error_fd,
                         err);
    if (r < 0)
        return r;
    s->kind = STREAM_TREE;
    s->tree_out = out;
    s->no_in = out;
    return 0;
}

static int on_data(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint8_t channel;
    const char *data;
    size_t len;
    struct stream *s = stream_find(a, f->stream);
    int r = agent_get_data(f, &channel, &data, &len, err);
    if (r < 0 || !s || channel != 0)
        return r; /* a stream that has just ended */
    if (s->no_in || s->close_in) {
        must(agent_add_credit(&a->out, s->id, 0, (uint32_t)len));
        return 0;
    }
    r = buf_add(&s->in, data, len);
    return r < 0 ? error_errno(err, r, "more data than was allowed") : 0;
}

static int on_stream(struct agent *a, const struct agent_frame *f, struct error *err)
{
    uint8_t channel = 0;
    uint32_t value = 0, columns;
    struct stream *s = stream_find(a, f->stream);
    int r;
    if (f->type == AGENT_CLOSE) {
        r = agent_get_close(f, &channel, err);
        if (r == 0 && s && channel == 0)
            s->close_in = true;
        return r;
    }
    if (f->type == AGENT_CREDIT) {
        r = agent_get_credit(f, &channel, &value, err);
        if (r == 0 && s && channel > 0)
            s->credit[channel] = MIN(s->credit[channel] + value, AGENT_WINDOW);
        return r;
    }
    if (f->type == AGENT_RESIZE) {
        r = agent_get_resize(f, &value, &columns, err);
        struct terminal_size size = {(unsigned short)value, (unsigned short)columns};
        if (r == 0 && s && s->terminal && s->fds[1] >= 0)
            (void)!terminal_set_size(s->fds[1], size);
        return r;
    }
    r = agent_get_u32(f, &value, err);
    if (r == 0 && s && s->kind == STREAM_PROCESS && s->pid > 0 && value < 65)
        kill(s->pid, (int)value);
    return r;
}

static void on_shutdown(struct agent *a)
{
    guest_stop();
    must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
}

static int handle(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_stats stats;
    uint32_t version;
    switch (f->type) {
    case AGENT_HELLO:
        return agent_get_u32(f, &version, err);
    case AGENT_CONFIGURE:
        return on_configure(a, f, err);
    case AGENT_START:
        return on_start(a, f, err);
    case AGENT_EXEC:
        return on_exec(a, f, err);
    case AGENT_TREE_OUT:
    case AGENT_TREE_FOLLOW:
    case AGENT_TREE_IN:
        return on_tree(a, f, err);
    case AGENT_DATA:
        return on_data(a, f, err);
    case AGENT_CLOSE:
    case AGENT_CREDIT:
    case AGENT_RESIZE:
    case AGENT_SIGNAL:
        return on_stream(a, f, err);
    case AGENT_STATS:
        guest_stats(&stats);
        must(agent_stats_add(&a->out, f->stream, &stats));
        return 0;
    case AGENT_PROCESSES: {
        _cleanup_free_ char *text = guest_processes(&a->guest);
        int r = agent_add_string(&a->out, AGENT_TEXT, f->stream, text);
        return r < 0 ? error_errno(err, r, "list the processes") : 0;
    }
    case AGENT_SHUTDOWN:
        on_shutdown(a);
        return 0;
    default:
        return error_invalid(err, "message %d is not for the machine", (int)f->type);
    }
}

static void port_read(struct agent *a)
{
    char *space;
    must(buf_reserve(&a->in, 65536, &space));
    ssize_t n = read(a->port, space, 65536);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        die("port", n == 0 ? "the host has gone" : strerror(errno));
    a->in.len += (size_t)n;
    size_t at = 0;
    for (;;) {
        struct agent_frame f;
        struct error err = ERROR_INIT;
        size_t used;
        if (agent_frame_parse(a->in.data + at, a->in.len - at, &f, &used, &err) < 0)
            die("protocol", err.msg);
        if (used == 0)
            break;
        if (handle(a, &f, &err) < 0)
            must(agent_add_error(&a->out, f.stream, &err));
        at += used;
    }
    buf_consume(&a->in, at);
}

static void port_write(struct agent *a)
{
    while (a->out.len > 0) {
        ssize_t n = write(a->port, a->out.data, MIN(a->out.len, (size_t)32768));
        if (n == 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
            return;
        if (n < 0)
            die("port", strerror(errno));
        buf_consume(&a->out, (size_t)n);
    }
}

/* Polls the streams' descriptors; owner[] says whose a slot is. */
static nfds_t poll_set(struct agent *a, struct pollfd *set, struct stream **owner)
{
    nfds_t n = 0;
    set[n++] = (struct pollfd){a->port, (short)(POLLIN | (a->out.len ? POLLOUT : 0)), 0};
    set[n++] = (struct pollfd){a->signals, POLLIN, 0};
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++) {
        struct stream *s = &a->streams[i];
        if (s->kind == STREAM_FREE)
            continue;
        for (int c = 0; c < 3; c++) {
            bool wanted = c == 0 ? s->in.len > 0 || s->close_in
                                 : s->credit[c] > 0 && a->out.len < OUT_SOFT_MAX;
            if (s->fds[c] < 0 || !wanted)
                continue;
            owner[n] = s;
            set[n++] = (struct pollfd){s->fds[c], (short)(c == 0 ? POLLOUT : POLLIN), 0};
        }
    }
    return n;
}

static void turn(struct agent *a)
{
    struct pollfd set[2 + 3 * AGENT_STREAMS_MAX];
    struct stream *owner[2 + 3 * AGENT_STREAMS_MAX];
    nfds_t n = poll_set(a, set, owner);
    if (poll(set, n, -1) < 0)
        return;
    for (nfds_t i = 2; i < n; i++) {
        struct stream *s = owner[i];
        if (!set[i].revents)
            continue;
        if (set[i].events & POLLOUT && set[i].fd == s->fds[0])
            stream_write(a, s);
        else if (set[i].fd == s->fds[1])
            channel_read(a, s, 1);
        else if (set[i].fd == s->fds[2])
            channel_read(a, s, 2);
    }
    if (set[1].revents) {
        struct signalfd_siginfo info;
        (void)!read(a->signals, &info, sizeof(info));
        reap(a);
    }
    if (set[0].revents & (POLLIN | POLLHUP | POLLERR))
        port_read(a);
    for (size_t i = 0; i < AGENT_STREAMS_MAX; i++)
        stream_finish(a, &a->streams[i]);
    port_write(a);
}

void guest_agent(int port)
{
    static struct agent a = {.in = BUF_INIT(2 * AGENT_PAYLOAD_MAX), .out = BUF_INIT(OUT_MAX)};
    sigset_t child;
    a.port = port;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signal(SIGPIPE, SIG_IGN);
    a.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    must(agent_add_u32(&a.out, AGENT_HELLO, 0, AGENT_VERSION));
    port_write(&a);
    for (;;)
        turn(&a);
}
