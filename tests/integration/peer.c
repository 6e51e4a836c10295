/*
 * One end of the connections that tests of policies try: a static program, for instances of any
 * kind and for network namespaces.
 *
 *     peer PORT...
 *
 * It answers on every port, by TCP and by UDP and both families: what comes is sent back. When it
 * does, it says "up", and then one line for each line of standard input:
 *
 *     try CASE...         a digit for each PROTOCOL,ADDRESS,PORT: 1 where something came back
 *     hold ADDRESS PORT   a TCP connection that stays: "echo", or "no"
 *     use                 a word for each that is held: "echo", "ended" or "silent"
 *     drop                closes them: "dropped"
 *
 * What is refused is told so at once; what gets no answer is waited for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS   2000
#define ENDS_MAX  1024
#define TRIES_MAX 512
#define HELD_MAX  64

enum kind { LISTENER, DATAGRAMS, STREAM };

static struct pollfd ends[ENDS_MAX]; /* what others speak to */
static enum kind kinds[ENDS_MAX];
static size_t n_ends;
static int held[HELD_MAX]; /* -1: it has ended */
static size_t n_held;

struct address {
    struct sockaddr_storage at;
    socklen_t len;
};

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool parse(const char *text, const char *port, struct address *ret)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&ret->at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&ret->at;
    in_port_t number = htons((uint16_t)strtoul(port, NULL, 10));
    memset(ret, 0, sizeof(*ret));
    if (strchr(text, ':')) {
        six->sin6_family = AF_INET6;
        six->sin6_port = number;
        ret->len = sizeof(*six);
        return inet_pton(AF_INET6, text, &six->sin6_addr) == 1;
    }
    four->sin_family = AF_INET;
    four->sin_port = number;
    ret->len = sizeof(*four);
    return inet_pton(AF_INET, text, &four->sin_addr) == 1;
}

/* --- what is spoken to --- */

static void add_end(int fd, enum kind kind)
{
    if (n_ends == ENDS_MAX) {
        close(fd);
        return;
    }
    kinds[n_ends] = kind;
    ends[n_ends++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* Where a family is not to be had, nobody will ask for it. */
static void listen_on(const char *any, const char *port, int type)
{
    struct address a;
    int one = 1;
    parse(any, port, &a);
    int fd = socket(a.at.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a.at.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (type == SOCK_DGRAM && a.at.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
    else if (type == SOCK_DGRAM)
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a.at, a.len) < 0 ||
        (type == SOCK_STREAM && listen(fd, 512) < 0))
        close(fd);
    else
        add_end(fd, type == SOCK_STREAM ? LISTENER : DATAGRAMS);
}

static void accept_from(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        add_end(fd, STREAM);
}

/* From the address that it was sent to, which is what comes beside it. */
static void answer_datagram(int fd)
{
    char data[64];
    _Alignas(struct cmsghdr) char beside[128];
    struct sockaddr_storage from;
    struct iovec part = {data, sizeof(data)};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = beside,
                       .msg_controllen = sizeof(beside)};
    ssize_t n = recvmsg(fd, &m, 0);
    if (n < 0)
        return;
    part.iov_len = (size_t)n;
    (void)!sendmsg(fd, &m, 0);
}

/* False when it has ended. */
static bool echo(int fd)
{
    char data[64];
    ssize_t n = recv(fd, data, sizeof(data), 0);
    if (n > 0)
        (void)!send(fd, data, (size_t)n, MSG_NOSIGNAL);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void serve(size_t i)
{
    if (kinds[i] == LISTENER) {
        accept_from(ends[i].fd);
    } else if (kinds[i] == DATAGRAMS) {
        answer_datagram(ends[i].fd);
    } else if (!echo(ends[i].fd)) {
        close(ends[i].fd);
        ends[i].fd = -1; /* which poll() passes over */
    }
}

static void forget_ended(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < n_ends; i++) {
        kinds[kept] = kinds[i];
        ends[kept] = ends[i];
        kept += ends[i].fd >= 0;
    }
    n_ends = kept;
}

/* Serves until one of the others is ready, or for that long at most. */
static void wait_for(struct pollfd *others, size_t n, int timeout_ms)
{
    static struct pollfd all[ENDS_MAX + TRIES_MAX];
    size_t served = n_ends;
    memcpy(all, ends, served * sizeof(*all));
    memcpy(all + served, others, n * sizeof(*all));
    if (poll(all, served + n, timeout_ms) < 0)
        exit(1);
    memcpy(others, all + served, n * sizeof(*all));
    for (size_t i = 0; i < served; i++)
        if (all[i].revents)
            serve(i);
    forget_ended();
}

/* --- what is tried --- */

static int begin(const char *protocol, const char *address, const char *port)
{
    struct address a;
    bool tcp = strcmp(protocol, "tcp") == 0;
    if (!parse(address, port, &a))
        exit(2);
    int fd = socket(a.at.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int r = connect(fd, (struct sockaddr *)&a.at, a.len);
    if ((r == 0 || errno == EINPROGRESS) && (tcp || send(fd, "?", 1, MSG_NOSIGNAL) == 1))
        return fd;
    close(fd);
    return -1;
}

static char outcome(const struct pollfd *p)
{
    char byte;
    int error = 0;
    socklen_t len = sizeof(error);
    if (p->events == POLLIN)
        return recv(p->fd, &byte, 1, 0) == 1 ? '1' : '0';
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error ? '0' : '1';
}

/* TCP is done when it can be written to, UDP when there is something to read. */
static void run(struct pollfd *tries, char *digits, size_t n)
{
    long end = now_ms() + WAIT_MS, left;
    size_t open = 0;
    for (size_t i = 0; i < n; i++)
        open += tries[i].fd >= 0;
    while (open > 0 && (left = end - now_ms()) > 0) {
        wait_for(tries, n, (int)left);
        for (size_t i = 0; i < n; i++)
            if (tries[i].fd >= 0 && tries[i].revents) {
                digits[i] = outcome(&tries[i]);
                close(tries[i].fd);
                tries[i].fd = -1;
                open--;
            }
    }
    for (size_t i = 0; i < n; i++)
        if (tries[i].fd >= 0)
            close(tries[i].fd);
}

static void try_all(char *rest)
{
    static struct pollfd tries[TRIES_MAX];
    static char digits[TRIES_MAX + 1];
    char *word, *save;
    size_t n = 0;
    for (word = strtok_r(rest, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        char *inner, *protocol = strtok_r(word, ",", &inner);
        char *address = strtok_r(NULL, ",", &inner), *port = strtok_r(NULL, ",", &inner);
        if (!port || n == TRIES_MAX)
            exit(2);
        digits[n] = '0';
        tries[n++] = (struct pollfd){.fd = begin(protocol, address, port),
                                     .events = protocol[0] == 't' ? POLLOUT : POLLIN};
    }
    digits[n] = '\0';
    run(tries, digits, n);
    printf("%s\n", digits);
}

/* --- what is held --- */

static const char *use(int *fd)
{
    struct pollfd p = {.fd = *fd, .events = POLLIN};
    long end = now_ms() + WAIT_MS, left;
    char byte;
    if (*fd < 0 || send(*fd, "x", 1, MSG_NOSIGNAL) < 0)
        p.revents = POLLERR;
    while (!p.revents && (left = end - now_ms()) > 0)
        wait_for(&p, 1, (int)left);
    if (!p.revents)
        return "silent";
    if (p.fd >= 0 && recv(p.fd, &byte, 1, 0) == 1)
        return "echo";
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return "ended";
}

static void hold(char *rest)
{
    char *save, *address = strtok_r(rest, " \n", &save), *port = strtok_r(NULL, " \n", &save);
    struct pollfd p = {.fd = -1, .events = POLLOUT};
    if (!port || n_held == HELD_MAX)
        exit(2);
    p.fd = begin("tcp", address, port);
    for (long end = now_ms() + WAIT_MS, left; !p.revents && (left = end - now_ms()) > 0;)
        wait_for(&p, 1, (int)left);
    bool good = p.fd >= 0 && p.revents && outcome(&p) == '1';
    if (good)
        held[n_held] = p.fd;
    else if (p.fd >= 0)
        close(p.fd);
    puts(good && strcmp(use(&held[n_held++]), "echo") == 0 ? "echo" : "no");
}

static void use_all(void)
{
    for (size_t i = 0; i < n_held; i++)
        printf("%s%s", i ? " " : "", use(&held[i]));
    puts("");
}

static void drop(void)
{
    while (n_held > 0)
        if (held[--n_held] >= 0)
            close(held[n_held]);
    puts("dropped");
}

static void obey(char *line)
{
    if (strncmp(line, "try ", 4) == 0)
        try_all(line + 4);
    else if (strncmp(line, "hold ", 5) == 0)
        hold(line + 5);
    else if (strcmp(line, "use\n") == 0)
        use_all();
    else if (strcmp(line, "drop\n") == 0)
        drop();
    else
        exit(2);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char *line = NULL;
    size_t size = 0;
    for (int i = 1; i < argc; i++)
        for (int six = 0; six < 2; six++) {
            listen_on(six ? "::" : "0.0.0.0", argv[i], SOCK_STREAM);
            listen_on(six ? "::" : "0.0.0.0", argv[i], SOCK_DGRAM);
        }
    puts("up");
    fflush(stdout);
    for (;;) {
        wait_for(&in, 1, -1);
        if (!in.revents)
            continue;
        if (getline(&line, &size, stdin) < 0)
            return 0;
        obey(line);
    }
}
