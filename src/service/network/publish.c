/*
 * Published ports: their text, and their reservation.
 *
 * A host port is reserved by a socket that is bound to it and never used: the kernel is then the
 * one authority on who has which port, other programs included, and a killed holder frees it. The
 * traffic itself is rewritten before it could reach that socket (rules.c).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define PUBLISH_MAX 4096 /* of one instance */

struct port_range {
    uint32_t first, last;
};

static int parse_port(const char *text, uint32_t *ret)
{
    return parse_u32(text, ret) < 0 || *ret < 1 || *ret > 65535 ? -EINVAL : 0;
}

/* "80" or "80-83". */
static int parse_range(const char *text, struct port_range *ret)
{
    char first[16] = "";
    const char *dash = strchr(text, '-');
    if (!dash) {
        int r = parse_port(text, &ret->first);
        ret->last = ret->first;
        return r;
    }
    if ((size_t)(dash - text) >= sizeof(first))
        return -EINVAL;
    memcpy(first, text, (size_t)(dash - text));
    if (parse_port(first, &ret->first) < 0 || parse_port(dash + 1, &ret->last) < 0 ||
        ret->first > ret->last)
        return -EINVAL;
    return 0;
}

static int parse_protocol(char *spec, uint8_t *ret)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
    char *slash = strchr(spec, '/');
    *ret = IPPROTO_TCP;
    if (!slash)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        if (strcmp(slash + 1, protocol_name(protocols[i])) == 0) {
            *slash = '\0';
            *ret = protocols[i];
            return 0;
        }
    return -EINVAL;
}

static int parse_host_address(char *text, struct network_publish *p)
{
    size_t len = strlen(text);
    p->both = false;
    if (*text != '[')
        return inet_pton(AF_INET, text, &p->host_address) == 1 ? 0 : -EINVAL;
    if (len < 3 || text[len - 1] != ']')
        return -EINVAL;
    text[len - 1] = '\0';
    p->ipv6 = true;
    return inet_pton(AF_INET6, text + 1, &p->host_address6) == 1 ? 0 : -EINVAL;
}

/* What is left of the last colon: "", "host-port", "address:host-port" or "address:". */
static int parse_host_side(char *host, struct network_publish *p, struct port_range *ret_ports)
{
    char *colon = strrchr(host, ':');
    const char *ports = host;
    if (colon && strchr(colon, ']')) /* an address in brackets and nothing behind it */
        return -EINVAL;
    if (colon) {
        *colon = '\0';
        ports = colon + 1;
        if (parse_host_address(host, p) < 0)
            return -EINVAL;
    }
    if (*ports == '\0')
        return colon ? 0 : -EINVAL;
    return parse_range(ports, ret_ports);
}

int network_publish_parse(const char *text, struct network_publish **list, size_t *n,
                          struct error *err)
{
    _cleanup_free_ char *spec = xstrndup(text, 128);
    struct network_publish one = {.both = true};
    struct port_range host = {0, 0}, inside;
    bool good = strlen(text) < 128 && parse_protocol(spec, &one.protocol) == 0;
    char *colon = good ? strrchr(spec, ':') : NULL;
    if (colon)
        *colon = '\0';
    good = good && parse_range(colon ? colon + 1 : spec, &inside) == 0 &&
           (!colon || parse_host_side(spec, &one, &host) == 0);
    if (!good)
        return error_invalid(err,
                             "\"%.128s\" is not a port to publish: "
                             "[[ADDRESS:]HOST-PORT:]PORT[/tcp|udp|sctp]",
                             text);
    if (one.ipv6 && IN6_IS_ADDR_LOOPBACK(&one.host_address6))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "\"%s\": Linux leads no connection from ::1 elsewhere: publish on "
                         "127.0.0.1",
                         text);
    size_t count = inside.last - inside.first + 1;
    if (host.first && host.last - host.first + 1 != count)
        return error_invalid(err, "\"%s\": the two port ranges differ in length", text);
    if (*n + count > PUBLISH_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %d published ports", PUBLISH_MAX);
    *list = xreallocarray(*list, *n + count, sizeof(**list));
    for (size_t i = 0; i < count; i++) {
        one.host_port = (uint16_t)(host.first ? host.first + i : 0);
        one.port = (uint16_t)(inside.first + i);
        (*list)[(*n)++] = one;
    }
    return 0;
}

/* --- reservation --- */

union host_socket {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static socklen_t host_socket(const struct network_publish *p, union host_socket *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (p->ipv6) {
        ret->ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                          .sin6_addr = p->host_address6,
                                          .sin6_port = htons(p->host_port)};
        return sizeof(ret->ipv6);
    }
    ret->ipv4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr = p->host_address, .sin_port = htons(p->host_port)};
    return sizeof(ret->ipv4);
}

static int bind_once(const struct network_publish *p, bool reuse, int *ret_fd)
{
    union host_socket at;
    socklen_t len = host_socket(p, &at);
    int one = 1;
    bool stream = p->protocol != IPPROTO_UDP;
    _cleanup_close_ int fd =
        socket(at.any.sa_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, p->protocol);
    if (fd < 0)
        return -errno;
    if (p->ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
        return -errno;
    if (reuse && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (bind(fd, &at.any, len) < 0)
        return -errno;
    /* With reuse only a listening socket keeps others away. */
    if (reuse && listen(fd, 0) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int reserve_failed(const struct network_publish *p, int r, struct error *err)
{
    const char *protocol = protocol_name(p->protocol);
    char address[INET6_ADDRSTRLEN];
    snprintf(address, sizeof(address), "%s",
             p->ipv6 ? address6_text(&p->host_address6).s : address_text(p->host_address).s);
    if (r == -EADDRINUSE)
        return error_set(err, ERROR_CONFLICT, EADDRINUSE, "port %u/%s is already in use on %s",
                         p->host_port, protocol, address);
    if (r == -EACCES)
        return error_set(err, ERROR_DENIED, EACCES,
                         "port %u/%s is not for ordinary users (sysctl "
                         "net.ipv4.ip_unprivileged_port_start): choose a higher one",
                         p->host_port, protocol);
    if (r == -EADDRNOTAVAIL)
        return error_set(err, ERROR_INVALID, EADDRNOTAVAIL, "%s is not an address of this host",
                         address);
    return error_errno(err, r, "reserve port %u/%s", p->host_port, protocol);
}

/* *ret_fd stays -EBADF for what needs no reservation. */
static int reserve_one(struct network_publish *p, int *ret_fd, struct error *err)
{
    union host_socket at;
    socklen_t len = sizeof(at);
    int r = bind_once(p, false, ret_fd);
    /* Connections of an earlier server that linger in TIME_WAIT are no reason to refuse. */
    if (r == -EADDRINUSE && p->protocol == IPPROTO_TCP)
        r = bind_once(p, true, ret_fd);
    /* A kernel that has no SCTP of its own still translates it, and has nobody who could be in the
     * way; nor anybody who could find a free port. */
    if (r == -EPROTONOSUPPORT && p->protocol == IPPROTO_SCTP) {
        if (p->host_port)
            return 0;
        return error_set(err, ERROR_UNSUPPORTED, EPROTONOSUPPORT,
                         "this kernel has no SCTP to choose a free port: name the host's port");
    }
    if (r < 0)
        return reserve_failed(p, r, err);
    if (getsockname(*ret_fd, &at.any, &len) < 0)
        return error_errno(err, errno, "read the chosen port");
    p->host_port = ntohs(p->ipv6 ? at.ipv6.sin6_port : at.ipv4.sin_port);
    return 0;
}

/* One that was published without an address, for IPv6, too. */
static void add_twins(struct network_publish **list, size_t *n)
{
    size_t count = *n;
    *list = xreallocarray(*list, count * 2 + 1, sizeof(**list));
    for (size_t i = 0; i < count; i++)
        if ((*list)[i].both) {
            struct network_publish twin = (*list)[i];
            twin.ipv6 = true;
            (*list)[(*n)++] = twin;
        }
}

int publish_reserve(struct network_publish **list, size_t *n, bool ipv6, int **ret_fds,
                    struct error *err)
{
    size_t first = *n;
    if (ipv6)
        add_twins(list, n);
    int *fds = xcalloc(*n + 1, sizeof(int));
    for (size_t i = 0; i < *n; i++)
        fds[i] = -EBADF;
    for (size_t i = 0, twin_of = 0; i < *n; i++) {
        if (i >= first) { /* its twin has the port by now */
            while (!(*list)[twin_of].both)
                twin_of++;
            (*list)[i].host_port = (*list)[twin_of++].host_port;
        }
        int r = reserve_one(&(*list)[i], &fds[i], err);
        if (r == 0)
            continue;
        for (size_t j = 0; j <= i; j++)
            close_fd(fds[j]);
        free(fds);
        return r;
    }
    *ret_fds = fds;
    return 0;
}
