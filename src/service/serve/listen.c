/*
 * Where the server listens, and what is refused: whoever asks for an address that others can reach
 * must have TLS, or say that it is not wanted; and nobody may change the store from there without
 * having shown who he is.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/alloc.h"
#include "service/serve/server-internal.h"

#define BACKLOG  128
#define ATTEMPTS 20

struct place {
    struct sockaddr_storage address;
    socklen_t len;
};

static bool is_loopback(const struct place *p)
{
    if (p->address.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&p->address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&p->address)->sin6_addr);
}

/* "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT"; numbers only, but for "localhost". */
static int parse_place(const char *text, struct place *ret, struct error *err)
{
    const char *colon = strrchr(text, ':');
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (!colon || !colon[1])
        return error_invalid(err,
                             "--listen %.100s: an address is ADDRESS:PORT, or the path of a "
                             "Unix socket",
                             text);
    _cleanup_free_ char *host = xstrndup(text, (size_t)(colon - text));
    size_t len = strlen(host);
    char *name = host;
    if (len > 1 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        name++;
    }
    if (strcmp(name, "localhost") == 0)
        xreplace(&host, "127.0.0.1"), name = host;
    if (getaddrinfo(*name ? name : "::", colon + 1, &hints, &found) != 0)
        return error_invalid(err, "--listen %.100s: not a numeric address and port", text);
    memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int check_policy(const struct serve_options *o, const struct place *p, struct error *err)
{
    if (is_loopback(p))
        return 0;
    if (!o->tls_cert && !o->insecure_http)
        return error_set(err, ERROR_DENIED, EPERM,
                         "%s can be reached by other hosts: give --tls-cert and --tls-key, or say "
                         "--insecure-http",
                         o->listen);
    if ((o->push || o->remove) && !o->users && !o->tls_client_ca)
        return error_set(err, ERROR_DENIED, EPERM,
                         "everybody who can reach %s could change the store: give --users or "
                         "--tls-client-ca",
                         o->listen);
    return 0;
}

/* A socket that nobody answers on was left by a server that was killed. */
static void remove_dead(const struct sockaddr *address, socklen_t len, const char *path)
{
    _cleanup_close_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0 && connect(probe, address, len) < 0 && errno == ECONNREFUSED)
        unlink(path);
}

/* Whoever starts a server at once when one was killed finds its address taken for a moment, until
 * its last process has gone. path: of a Unix socket, or NULL. */
static int bind_patiently(int fd, const struct sockaddr *address, socklen_t len, const char *path)
{
    const struct timespec moment = {0, 50000000};
    for (int attempt = 0; bind(fd, address, len) < 0; attempt++) {
        if (errno != EADDRINUSE || attempt == ATTEMPTS)
            return -errno;
        if (path)
            remove_dead(address, len, path);
        nanosleep(&moment, NULL);
    }
    return 0;
}

static int open_unix(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return error_invalid(err, "--listen %.100s: the path is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "make a socket");
    mode_t mask = umask(0077);
    int r = bind_patiently(fd, (struct sockaddr *)&address, sizeof(address), path);
    umask(mask);
    if (r < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, r < 0 ? r : errno, "listen on %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int open_tcp(const struct place *p, int *ret_fd, struct error *err)
{
    int one = 1, zero = 0;
    _cleanup_close_ int fd = socket(p->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "make a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (p->address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    int r = bind_patiently(fd, (const struct sockaddr *)&p->address, p->len, NULL);
    if (r < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, r < 0 ? r : errno, "listen");
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* With the port that was really taken, for ":0". */
static char *show(int fd, bool tls)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char host[64] = "?", port[16] = "?";
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool six = strchr(host, ':');
    return xasprintf("%s://%s%s%s:%s", tls ? "https" : "http", six ? "[" : "", host, six ? "]" : "",
                     port);
}

static const char *unix_path(const struct serve_options *o)
{
    if (strncmp(o->listen, "unix:", 5) == 0)
        return o->listen + 5;
    return o->listen[0] == '/' ? o->listen : NULL;
}

int listen_open(const struct serve_options *o, int *ret_fd, char **ret_shown, struct error *err)
{
    struct place p = {0};
    int r;
    if (unix_path(o)) {
        if ((r = open_unix(unix_path(o), ret_fd, err)) == 0)
            *ret_shown = xasprintf("unix:%s", unix_path(o));
        return r;
    }
    if ((r = parse_place(o->listen, &p, err)) < 0 || (r = check_policy(o, &p, err)) < 0)
        return r;
    if ((r = open_tcp(&p, ret_fd, err)) < 0)
        return error_prefix(err, "--listen %s", o->listen);
    *ret_shown = show(*ret_fd, o->tls_cert != NULL);
    return 0;
}

void listen_close(const struct serve_options *o)
{
    if (unix_path(o))
        unlink(unix_path(o));
}
