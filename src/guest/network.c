/* Address, route and link state of the machine's one interface, by the old ioctls: they need no
 * library and cover all that a first interface wants. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/text.h"
#include "guest/guest.h"

#define LINK_WAIT_MS 5000

static void set_name(struct ifreq *r, const char *name)
{
    memset(r, 0, sizeof(*r));
    snprintf(r->ifr_name, sizeof(r->ifr_name), "%s", name);
}

static int set_address(struct sockaddr *sa, const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &in.sin_addr) != 1)
        return -EINVAL;
    memcpy(sa, &in, sizeof(in));
    return 0;
}

static void set_netmask(struct sockaddr *sa, uint32_t prefix)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    in.sin_addr.s_addr = htonl(prefix ? ~(uint32_t)0 << (32 - prefix) : 0);
    memcpy(sa, &in, sizeof(in));
}

static int link_up(int fd, const char *name)
{
    struct ifreq r;
    set_name(&r, name);
    if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
        return -errno;
    r.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

static int wait_link(int fd, const char *name)
{
    int64_t until = time_monotonic_ms() + LINK_WAIT_MS;
    struct ifreq r;
    set_name(&r, name);
    while (ioctl(fd, SIOCGIFINDEX, &r) < 0) {
        if (time_monotonic_ms() > until)
            return -ENODEV;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

static int configure_link(int fd, const struct agent_configure *c)
{
    struct ifreq r;
    int bad = 0;
    set_name(&r, "eth0");
    if (c->mtu) {
        r.ifr_mtu = (int)c->mtu;
        if (ioctl(fd, SIOCSIFMTU, &r) < 0)
            return -errno;
    }
    set_name(&r, "eth0");
    bad = set_address(&r.ifr_addr, c->address);
    if (bad == 0 && ioctl(fd, SIOCSIFADDR, &r) < 0)
        bad = -errno;
    set_name(&r, "eth0");
    set_netmask(&r.ifr_netmask, c->prefix);
    if (bad == 0 && ioctl(fd, SIOCSIFNETMASK, &r) < 0)
        bad = -errno;
    return bad < 0 ? bad : link_up(fd, "eth0");
}

static int add_default_route(int fd, const char *gateway)
{
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    route.rt_dst.sa_family = AF_INET;
    route.rt_genmask.sa_family = AF_INET;
    int r = set_address(&route.rt_gateway, gateway);
    if (r == 0 && ioctl(fd, SIOCADDRT, &route) < 0)
        r = -errno;
    return r;
}

int guest_network_up(const struct agent_configure *c, struct error *err)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : link_up(fd, "lo");
    if (r < 0)
        return error_errno(err, r, "bring up lo");
    if (!c->has_network)
        return 0;
    r = wait_link(fd, "eth0");
    if (r == 0)
        r = configure_link(fd, c);
    if (r < 0)
        return error_errno(err, r, "configure eth0 as %s/%u", c->address, c->prefix);
    r = *c->gateway ? add_default_route(fd, c->gateway) : 0;
    return r < 0 ? error_errno(err, r, "route by %s", c->gateway) : 0;
}
