/*
 * The session with a guest's agent (runtime/vm/qga.h), as a command:
 *
 *   qga_probe SOCKET exec [i][d] USER DIRECTORY ENV|- COMMAND…   what `proa exec` asks for
 *   qga_probe SOCKET out|follow|in PATH                          a tree, on stdout or from stdin
 *   qga_probe SOCKET ps|stats|info
 *   qga_probe SOCKET hold MS                                     "held", and after MS "moving"
 *   qga_probe SOCKET gone COMMAND…                               leaves as soon as it has started
 *
 * Ends as the request does; 125 and a line on stderr when it failed.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/qga.h"

#define STREAM 7u

static struct {
    struct qga *q;
    bool reads_stdin, done, closed, leaves;
    uint32_t credit;
    int status;
    int64_t let_go_ms;
} probe;

static void send_frame(const struct buf *b)
{
    struct agent_frame f;
    size_t used;
    if (agent_frame_parse(b->data, b->len, &f, &used, NULL) == 0 && used > 0)
        qga_more(probe.q, &f);
}

static void send_close(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    probe.closed = true;
    if (agent_add_close(&b, STREAM, 0) == 0)
        send_frame(&b);
}

static void on_data(const struct agent_frame *f)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    uint8_t channel;
    const char *data;
    size_t len;
    if (agent_get_data(f, &channel, &data, &len, NULL) < 0)
        return;
    (void)!fd_write_all(channel, data, len);
    if (agent_add_credit(&b, STREAM, channel, (uint32_t)len) == 0)
        send_frame(&b);
}

static void on_stats(const struct agent_frame *f)
{
    struct agent_stats s;
    if (agent_stats_get(f, &s, NULL) == 0)
        printf("%llu %llu %llu\n", (unsigned long long)s.cpu_ns, (unsigned long long)s.net_rx_bytes,
               (unsigned long long)s.net_tx_bytes);
}

static void on_started(const struct agent_frame *f)
{
    (void)f;
    if (probe.let_go_ms) {
        probe.let_go_ms += time_monotonic_ms();
        puts("held");
        fflush(stdout);
    }
    probe.done = probe.leaves;
}

static void emit(void *context, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    const char *text;
    uint8_t channel;
    uint32_t n = 0;
    (void)context;
    switch (f->type) {
    case AGENT_DATA:
        on_data(f);
        return;
    case AGENT_CREDIT:
        if (agent_get_credit(f, &channel, &n, NULL) == 0)
            probe.credit += n;
        return;
    case AGENT_STARTED:
        on_started(f);
        return;
    case AGENT_CLOSE:
        return;
    case AGENT_STATS_REPLY:
        on_stats(f);
        break;
    case AGENT_TEXT:
        puts(agent_get_string(f, &text, NULL) == 0 ? text : "no text");
        break;
    case AGENT_EXIT:
        probe.status = agent_get_u32(f, &n, NULL) == 0 ? (int)n : 125;
        break;
    case AGENT_ERROR:
        (void)!agent_get_error(f, &err);
        fprintf(stderr, "%s: %s\n", error_kind_name(err.kind), err.msg);
        probe.status = 125;
        break;
    default:
        if (probe.let_go_ms)
            puts("moving");
        break;
    }
    probe.done = true;
}

static void measure(void *context, struct agent_stats *ret)
{
    (void)context;
    ret->cpu_ns = 42;
}

static int open_request(int argc, char **argv, struct buf *b)
{
    static const struct {
        const char *name;
        enum agent_type type;
    } names[] = {{"out", AGENT_TREE_OUT}, {"follow", AGENT_TREE_FOLLOW}, {"in", AGENT_TREE_IN},
                 {"ps", AGENT_PROCESSES}, {"stats", AGENT_STATS},        {"info", AGENT_GUEST_INFO},
                 {"hold", AGENT_QUIESCE}};
    const char *what = argv[2];
    if (strcmp(what, "gone") == 0) {
        struct agent_exec e = {.argv = argv + 3};
        probe.leaves = true;
        return agent_exec_add(b, STREAM, &e);
    }
    if (strcmp(what, "exec") == 0 && argc > 7) {
        char *env[] = {argv[6], NULL};
        struct agent_exec e = {.argv = argv + 7,
                               .env = strcmp(argv[6], "-") == 0 ? NULL : env,
                               .user = argv[4],
                               .cwd = argv[5],
                               .stdin_open = strchr(argv[3], 'i') != NULL,
                               .terminal = strchr(argv[3], 't') != NULL,
                               .detach = strchr(argv[3], 'd') != NULL};
        probe.reads_stdin = e.stdin_open;
        probe.leaves = e.detach;
        return agent_exec_add(b, STREAM, &e);
    }
    probe.reads_stdin = strcmp(what, "in") == 0;
    if (strcmp(what, "hold") == 0)
        probe.let_go_ms = strtol(argv[3], NULL, 10);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(what, names[i].name) == 0)
            return argc > 3 && !probe.let_go_ms
                       ? agent_add_string(b, names[i].type, STREAM, argv[3])
                       : agent_frame_add(b, names[i].type, STREAM, NULL, 0);
    return -EINVAL;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror(path);
        exit(2);
    }
    (void)!fd_set_nonblock(fd, true);
    return fd;
}

static void read_stdin(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(AGENT_PAYLOAD_MAX);
    char data[16384];
    ssize_t n = read(0, data, MIN(sizeof(data), (size_t)probe.credit));
    if (n <= 0) {
        send_close();
        return;
    }
    probe.credit -= (uint32_t)n;
    if (agent_add_data(&b, STREAM, 0, data, (size_t)n) == 0)
        send_frame(&b);
}

static void turn(int fd)
{
    struct pollfd set[2] = {{fd, qga_events(probe.q), 0}, {-1, POLLIN, 0}};
    int64_t next = qga_deadline_ms(probe.q), now = time_monotonic_ms();
    if (probe.reads_stdin && !probe.closed && probe.credit > 0)
        set[1].fd = 0;
    if (probe.let_go_ms > now && (!next || probe.let_go_ms < next))
        next = probe.let_go_ms;
    (void)poll(set, 2, next ? (int)MAX(next - now, (int64_t)0) : -1);
    if (set[1].revents)
        read_stdin();
    if (probe.let_go_ms > 1000000 && !probe.closed && time_monotonic_ms() >= probe.let_go_ms)
        send_close();
    qga_turn(probe.q);
}

static void wait_for_agent(int fd)
{
    for (int64_t end = time_monotonic_ms() + 5000;
         time_monotonic_ms() < end && strcmp(qga_state(probe.q), "answers") != 0;)
        turn(fd);
}

int main(int argc, char **argv)
{
    _cleanup_buf_ struct buf b = BUF_INIT(2 * AGENT_PAYLOAD_MAX);
    struct qga_hooks hooks = {.emit = emit, .measure = measure};
    struct agent_frame f;
    size_t used;
    if (argc < 3 || open_request(argc, argv, &b) < 0 ||
        agent_frame_parse(b.data, b.len, &f, &used, NULL) < 0) {
        fprintf(stderr, "usage: qga_probe SOCKET WHAT…\n");
        return 2;
    }
    int fd = connect_to(argv[1]);
    probe.q = qga_new(fd, &hooks);
    probe.credit = AGENT_WINDOW;
    if (f.type == AGENT_GUEST_INFO) /* which does not wait for an agent */
        wait_for_agent(fd);
    qga_open(probe.q, &f);
    while (!probe.done)
        turn(fd);
    qga_gone(probe.q, STREAM);
    /* What is left in the guest is put away. */
    for (int64_t end = time_monotonic_ms() + 500; time_monotonic_ms() < end;) {
        struct pollfd p = {fd, qga_events(probe.q), 0};
        (void)poll(&p, 1, 20);
        qga_turn(probe.q);
    }
    if (strcmp(argv[2], "ps") != 0 && probe.status == 125)
        fprintf(stderr, "agent: %s\n", qga_state(probe.q));
    qga_free(probe.q);
    return probe.status;
}
