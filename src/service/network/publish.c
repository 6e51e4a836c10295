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
#include "base/text.h"
#include "service/network/network-internal.h"

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
    char *slash = strchr(spec, '/');
    *ret = IPPROTO_TCP;
    if (!slash || strcmp(slash, "/tcp") == 0) {
        if (slash)
            *slash = '\0';
        return 0;
    }
    if (strcmp(slash, "/udp") != 0)
        return -EINVAL;
    *slash = '\0';
    *ret = IPPROTO_UDP;
    return 0;
}

/* What is left of the last colon: "", "host-port", "address:host-port" or "address:". */
static int parse_host_side(char *host, struct in_addr *ret_address, struct port_range *ret_ports)
{
    char *colon = strrchr(host, ':');
    const char *ports = host;
    if (colon) {
        *colon = '\0';
        ports = colon + 1;
        if (*host == '[' || inet_pton(AF_INET, host, ret_address) != 1)
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
    struct in_addr address = {htonl(INADDR_ANY)};
    struct port_range host = {0, 0}, inside;
    uint8_t protocol;
    bool good = strlen(text) < 128 && parse_protocol(spec, &protocol) == 0;
    char *colon = good ? strrchr(spec, ':') : NULL;
    if (colon)
        *colon = '\0';
    good = good && parse_range(colon ? colon + 1 : spec, &inside) == 0 &&
           (!colon || parse_host_side(spec, &address, &host) == 0);
    if (!good)
        return error_invalid(err,
                             "\"%.128s\" is not a port to publish: "
                             "[[ADDRESS:]HOST-PORT:]PORT[/tcp|udp]",
                             text);
    size_t count = inside.last - inside.first + 1;
    if (host.first && host.last - host.first + 1 != count)
        return error_invalid(err, "\"%s\": the two port ranges differ in length", text);
    if (*n + count > PUBLISH_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %d published ports", PUBLISH_MAX);
    *list = xreallocarray(*list, *n + count, sizeof(**list));
    for (size_t i = 0; i < count; i++)
        (*list)[(*n)++] = (struct network_publish){
            .host_address = address,
            .host_port = (uint16_t)(host.first ? host.first + i : 0),
            .port = (uint16_t)(inside.first + i),
            .protocol = protocol,
        };
    return 0;
}

static int bind_once(const struct network_publish *p, bool reuse, int *ret_fd)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr = p->host_address, .sin_port = htons(p->host_port)};
    int one = 1;
    bool tcp = p->protocol == IPPROTO_TCP;
    _cleanup_close_ int fd =
        socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, p->protocol);
    if (fd < 0)
        return -errno;
    if (reuse && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return -errno;
    /* With reuse only a listening socket keeps others away. */
    if (reuse && listen(fd, 0) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int reserve_one(struct network_publish *p, int *ret_fd, struct error *err)
{
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    int r = bind_once(p, false, ret_fd);
    /* Connections of an earlier server that linger in TIME_WAIT are no reason to refuse. */
    if (r == -EADDRINUSE && p->protocol == IPPROTO_TCP)
        r = bind_once(p, true, ret_fd);
    const char *protocol = p->protocol == IPPROTO_TCP ? "tcp" : "udp";
    if (r == -EADDRINUSE)
        return error_set(err, ERROR_CONFLICT, EADDRINUSE, "port %u/%s is already in use on %s",
                         p->host_port, protocol, address_text(p->host_address).s);
    if (r == -EADDRNOTAVAIL)
        return error_set(err, ERROR_INVALID, EADDRNOTAVAIL, "%s is not an address of this host",
                         address_text(p->host_address).s);
    if (r < 0)
        return error_errno(err, r, "reserve port %u/%s", p->host_port, protocol);
    if (getsockname(*ret_fd, (struct sockaddr *)&at, &len) < 0)
        return error_errno(err, errno, "read the chosen port");
    p->host_port = ntohs(at.sin_port);
    return 0;
}

int publish_reserve(struct network_publish *list, size_t n, int **ret_fds, struct error *err)
{
    int *fds = n ? xcalloc(n, sizeof(int)) : NULL;
    for (size_t i = 0; i < n; i++)
        fds[i] = -EBADF;
    for (size_t i = 0; i < n; i++) {
        int r = reserve_one(&list[i], &fds[i], err);
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
