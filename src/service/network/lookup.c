/*
 * Asking the network's own dnsmasq whether it knows an instance yet: it learns of a name by
 * watching a directory, so there is a moment in which the instance runs and its name does not
 * answer. A start ends when it does. One question, one answer (RFC 1035, section 4); the answer is
 * only counted.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define TRY_MS 10

/* A question for the A record of a name of one label. Gives its length. */
static size_t question(const char *name, unsigned char *out, size_t size)
{
    static const unsigned char head[12] = {'P', 'a', 1 /* recursion wanted */, 0, 0, 1};
    static const unsigned char tail[5] = {0, 0, 1 /* A */, 0, 1 /* IN */};
    size_t len = strlen(name);
    if (len == 0 || len > 63 || sizeof(head) + 1 + len + sizeof(tail) > size)
        return 0;
    memcpy(out, head, sizeof(head));
    out[sizeof(head)] = (unsigned char)len;
    memcpy(out + sizeof(head) + 1, name, len);
    memcpy(out + sizeof(head) + 1 + len, tail, sizeof(tail));
    return sizeof(head) + 1 + len + sizeof(tail);
}

static bool answered(int fd)
{
    unsigned char reply[512];
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, TRY_MS) <= 0)
        return false;
    ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);
    return n >= 12 && reply[0] == 'P' && reply[1] == 'a' && (reply[6] || reply[7]);
}

bool network_name_settle(const struct network_port *port, const char *instance_id, int timeout_ms)
{
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(NAMES_PORT), .sin_addr = port->gateway};
    unsigned char query[128];
    char short_id[13];
    snprintf(short_id, sizeof(short_id), "%s", instance_id);
    size_t len = question(short_id, query, sizeof(query));
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (port->lan || fd < 0 || len == 0 ||
        connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
        return false;
    int64_t until = time_monotonic_ms() + timeout_ms;
    do {
        if (send(fd, query, len, MSG_NOSIGNAL) == (ssize_t)len && answered(fd))
            return true;
        poll(NULL, 0, 1); /* it said "unknown" at once: let it read its directory */
    } while (time_monotonic_ms() < until);
    return false;
}
