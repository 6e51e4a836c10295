/*
 * Waiting for machines. A connection is a process of its own, so that one that hangs, or is killed,
 * is nobody else's affair; it parses nothing before proa-parcel has seen a certificate.
 */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "engine/migrate-internal.h"

#define BACKLOG      16
#define SESSIONS_MAX 32
#define TICK_MS      1000

/* "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT", "ADDRESS"; numbers only. */
static int parse_listen(const char *text, struct addrinfo **ret, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    _cleanup_free_ char *all = xstrdup(text);
    char *host = all, *end = all[0] == '[' ? strchr(all, ']') : NULL;
    char *colon = strrchr(end ? end : all, ':');
    const char *port = colon && colon[1] ? colon + 1 : MIGRATE_PORT;
    if (colon)
        *colon = '\0';
    if (end) {
        *end = '\0';
        host++;
    }
    if (getaddrinfo(*host ? host : "::", port, &hints, ret) != 0)
        return error_invalid(err, "--listen %.100s: not a numeric address and port", text);
    return 0;
}

static int open_listening(const char *text, int *ret, char shown[static 80], struct error *err)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    struct addrinfo *a = NULL;
    char host[46], port[6];
    const int on = 1;
    int r = parse_listen(text, &a, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        r = error_errno(err, errno, "listen on %s", text);
    freeaddrinfo(a);
    if (r < 0)
        return r;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0 ||
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return error_errno(err, errno, "listen on %s", text);
    snprintf(shown, 80, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    *ret = TAKE_FD(fd);
    return 0;
}

static void keep_alive(int fd)
{
    const int on = 1, idle_s = 20, every_s = 10, times = 4;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

static int receive(const struct migrate_serve *o, int fd, const char *peer)
{
    _cleanup_engine_ struct engine *e = NULL;
    _cleanup_free_ char *name = NULL, *line = NULL;
    struct error err = ERROR_INIT;
    int r = engine_open(o->root, &e, &err);
    if (r == 0)
        r = migrate_receive(e, fd, &o->tls, &name, &err);
    line = r < 0 ? xasprintf("%s: %s", peer, err.msg) : xasprintf("%s: %s is here", peer, name);
    o->note(line);
    return r < 0 ? 1 : 0;
}

static void start_session(const struct migrate_serve *o, int listening, size_t *sessions)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    char peer[46] = "?";
    _cleanup_close_ int fd = accept4(listening, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
    if (fd < 0 || *sessions == SESSIONS_MAX)
        return;
    (void)getnameinfo((struct sockaddr *)&from, len, peer, sizeof(peer), NULL, 0, NI_NUMERICHOST);
    keep_alive(fd);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(listening);
        _exit(receive(o, fd, peer));
    }
    *sessions += pid > 0;
}

int migrate_serve(const struct migrate_serve *o, struct error *err)
{
    _cleanup_close_ int listening = -EBADF;
    char shown[80];
    size_t sessions = 0;
    int r = parcel_tls_check(&o->tls, err);
    if (r == 0)
        r = parcel_tls_try(&o->tls, err);
    if (r == 0)
        r = open_listening(o->listen, &listening, shown, err);
    if (r < 0)
        return r;
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* a lost connection is an error of ours */
        return error_errno(err, errno, "ignore a signal");
    o->ready(shown);
    for (;;) {
        struct pollfd set = {listening, POLLIN, 0};
        if (poll(&set, 1, sessions > 0 ? TICK_MS : -1) > 0)
            start_session(o, listening, &sessions);
        while (sessions > 0 && waitpid(-1, NULL, WNOHANG) > 0)
            sessions--;
    }
}
