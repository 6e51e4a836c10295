/*
 * Addresses, routes and link state of the machine's interfaces, by the old ioctls: they need no
 * library and cover all that is wanted.
 *
 * Cards are told by their hardware addresses, since nothing else says in which order the kernel has
 * found them; the nth network's becomes ethN. A machine that was cloned has cards with another
 * machine's addresses: then the card that is ethN already is taken, and gets its own.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "guest/address.h"
#include "guest/guest.h"
#include "wire/agent/networks.h"

#define LINK_WAIT_MS 5000

/* As <linux/ipv6.h> has it, which cannot stand beside <net/route.h>. */
struct ipv6_request {
    struct in6_addr address;
    uint32_t prefix;
    int index;
};

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

static int link_set(int fd, const char *name, bool up)
{
    struct ifreq r;
    set_name(&r, name);
    if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
        return -errno;
    r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

static int link_up(int fd, const char *name)
{
    return link_set(fd, name, true);
}

/* --- which card is which --- */

static bool parse_mac(const char *text, unsigned char mac[6])
{
    return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3],
                  &mac[4], &mac[5]) == 6;
}

/* The name of the card with this address. */
static bool find_card(int fd, const unsigned char mac[6], char ret_name[IFNAMSIZ])
{
    struct if_nameindex *list = if_nameindex();
    bool found = false;
    for (struct if_nameindex *i = list; i && i->if_name && !found; i++) {
        struct ifreq r;
        set_name(&r, i->if_name);
        found = ioctl(fd, SIOCGIFHWADDR, &r) == 0 && r.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
                memcmp(r.ifr_hwaddr.sa_data, mac, 6) == 0;
        if (found)
            snprintf(ret_name, IFNAMSIZ, "%s", i->if_name);
    }
    if_freenameindex(list);
    return found;
}

static int rename_card(int fd, const char *from, const char *to)
{
    struct ifreq r;
    set_name(&r, from);
    snprintf(r.ifr_newname, sizeof(r.ifr_newname), "%s", to);
    return ioctl(fd, SIOCSIFNAME, &r) < 0 ? -errno : 0;
}

/* Whoever has the name now gets another one first. */
static int take_name(int fd, const char *from, const char *to)
{
    static const char aside[] = "wasproa";
    int r = rename_card(fd, from, to);
    if (r != -EEXIST)
        return r;
    r = rename_card(fd, to, aside);
    return r < 0 ? r : rename_card(fd, from, to);
}

static int give_mac(int fd, const char *name, const unsigned char mac[6])
{
    struct ifreq r;
    set_name(&r, name);
    r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(r.ifr_hwaddr.sa_data, mac, 6);
    return ioctl(fd, SIOCSIFHWADDR, &r) < 0 ? -errno : 0;
}

static size_t count_cards(int fd)
{
    struct if_nameindex *list = if_nameindex();
    size_t n = 0;
    for (struct if_nameindex *i = list; i && i->if_name; i++) {
        struct ifreq r;
        set_name(&r, i->if_name);
        if (ioctl(fd, SIOCGIFHWADDR, &r) == 0 && r.ifr_hwaddr.sa_family == ARPHRD_ETHER)
            n++;
    }
    if_freenameindex(list);
    return n;
}

/* The template's cards are up and in order, with hardware addresses of its own; its sockets are
 * there to be used. */
#define PREPARED_MTU 1500
static bool prepared;
static int prepared_fd = -EBADF, prepared_netlink = -EBADF;

/* Cards appear when their driver has found them: waits until this one has. When all are there and
 * none has the address, they are another machine's. */
static int place_card(int fd, const struct agent_network *n, const char *name, size_t n_cards)
{
    int64_t until = time_monotonic_ms() + LINK_WAIT_MS;
    unsigned char mac[6];
    char now[IFNAMSIZ];
    if (!parse_mac(n->mac, mac))
        return -EINVAL;
    if (prepared)
        return give_mac(fd, name, mac);
    for (;;) {
        if (find_card(fd, mac, now))
            return strcmp(now, name) == 0 ? 0 : take_name(fd, now, name);
        if (count_cards(fd) >= n_cards)
            return give_mac(fd, name, mac);
        if (time_monotonic_ms() > until)
            return -ENODEV;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* --- addresses and routes --- */

static int set_mtu(int fd, const char *name, uint32_t mtu)
{
    struct ifreq r;
    set_name(&r, name);
    r.ifr_mtu = (int)mtu;
    return mtu && ioctl(fd, SIOCSIFMTU, &r) < 0 ? -errno : 0;
}

static int set_ipv4(int fd, const char *name, const struct agent_network *n)
{
    struct ifreq r;
    if (!*n->address)
        return 0;
    set_name(&r, name);
    int bad = set_address(&r.ifr_addr, n->address);
    if (bad == 0 && ioctl(fd, SIOCSIFADDR, &r) < 0)
        bad = -errno;
    set_name(&r, name);
    set_netmask(&r.ifr_netmask, n->prefix);
    if (bad == 0 && ioctl(fd, SIOCSIFNETMASK, &r) < 0)
        bad = -errno;
    return bad;
}

static int add_default_route(int fd, const char *gateway)
{
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    if (!*gateway)
        return 0;
    route.rt_dst.sa_family = AF_INET;
    route.rt_genmask.sa_family = AF_INET;
    int r = set_address(&route.rt_gateway, gateway);
    if (r == 0 && ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST)
        r = -errno;
    return r;
}

/* Before the link comes up: its addresses are Proa's and unique, so nothing is asked first, and no
 * router but the given one is listened to. */
static void set_ipv6_manners(const char *name, bool wanted)
{
    const struct {
        const char *file, *value;
    } values[] = {{"disable_ipv6", wanted ? "0" : "1"}, {"accept_dad", "0"}, {"accept_ra", "0"}};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        _cleanup_free_ char *path =
            xasprintf("/proc/sys/net/ipv6/conf/%s/%s", name, values[i].file);
        (void)!file_write_kernel(AT_FDCWD, path, values[i].value);
    }
}

static int set_ipv6(const char *name, const struct agent_network *n, bool *way_out)
{
    struct ipv6_request address = {.prefix = n->prefix6, .index = (int)if_nametoindex(name)};
    struct in6_rtmsg route = {
        .rtmsg_flags = RTF_UP | RTF_GATEWAY, .rtmsg_metric = 1024, .rtmsg_ifindex = 0};
    if (!*n->address6)
        return 0;
    _cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (inet_pton(AF_INET6, n->address6, &address.address) != 1)
        return -EINVAL;
    if (ioctl(fd, SIOCSIFADDR, &address) < 0 && errno != EEXIST)
        return -errno;
    if (!*n->gateway6 || *way_out)
        return 0;
    *way_out = true;
    route.rtmsg_ifindex = address.index;
    if (inet_pton(AF_INET6, n->gateway6, &route.rtmsg_gateway) != 1)
        return -EINVAL;
    return ioctl(fd, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
}

/* The first gateway of a family is the way out. */
struct ways {
    bool ipv4, ipv6;
};

static int card_up(int fd, const struct agent_network *n, const char *name, struct ways *ways,
                   struct error *err)
{
    int r = set_mtu(fd, name, n->mtu);
    if (r == 0)
        r = set_ipv4(fd, name, n);
    set_ipv6_manners(name, *n->address6);
    if (r == 0)
        r = link_up(fd, name);
    if (r == 0)
        r = set_ipv6(name, n, &ways->ipv6);
    if (r < 0)
        return error_errno(err, r, "configure %s as %s", name, *n->address ? n->address : n->mac);
    r = ways->ipv4 ? 0 : add_default_route(fd, n->gateway);
    ways->ipv4 |= *n->gateway != '\0';
    return r < 0 ? error_errno(err, r, "route by %s", n->gateway) : 0;
}

/* One that is on no network only gets its name. */
static int network_up(int fd, const struct agent_network *n, const char *name, size_t n_cards,
                      struct ways *ways, struct error *err)
{
    int r = place_card(fd, n, name, n_cards);
    if (r < 0)
        return error_errno(err, r, "find the network card %s", n->mac);
    return agent_network_is_free(n) ? 0 : card_up(fd, n, name, ways, err);
}

/* As if_nametoindex(3), which makes a socket for it. */
static int index_of(int fd, const char *name)
{
    struct ifreq r;
    set_name(&r, name);
    return ioctl(fd, SIOCGIFINDEX, &r) < 0 ? 0 : r.ifr_ifindex;
}

/* What is left to do on a clone's card. */
static int finish_card(const struct agent_network *n, const char *name, struct ways *ways,
                       struct error *err)
{
    if (agent_network_is_free(n))
        return 0;
    int r = place_card(prepared_fd, n, name, 0), index = index_of(prepared_fd, name);
    if (r == 0 && n->mtu != PREPARED_MTU)
        r = set_mtu(prepared_fd, name, n->mtu);
    if (r == 0 && *n->address)
        r = guest_address_add(prepared_netlink, index, n->address, n->prefix);
    if (r == 0 && *n->address6) {
        set_ipv6_manners(name, true);
        r = set_ipv6(name, n, &ways->ipv6);
    }
    if (r < 0)
        return error_errno(err, r, "configure %s as %s", name, *n->address ? n->address : n->mac);
    if (*n->gateway && !ways->ipv4) {
        ways->ipv4 = true;
        r = guest_route_add(prepared_netlink, n->gateway);
    }
    return r < 0 ? error_errno(err, r, "route by %s", n->gateway) : 0;
}

static bool is_free_card(int fd, const char *name)
{
    unsigned char mac[6], free_card[6];
    struct ifreq r;
    char text[18];
    snprintf(text, sizeof(text), AGENT_FREE_CARD_FORMAT, 0u);
    set_name(&r, name);
    if (!parse_mac(text, free_card) || ioctl(fd, SIOCGIFHWADDR, &r) < 0)
        return false;
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    return memcmp(mac, free_card, 5) == 0;
}

/* The cards are up, which takes longest, with IPv6 off, so that no address is made of what is not
 * theirs for long. */
int guest_network_prepare(struct error *err)
{
    int fd = prepared_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    prepared_netlink = guest_netlink_open();
    int r = fd < 0 || prepared_netlink < 0 ? -errno : link_up(fd, "lo");
    struct if_nameindex *list = if_nameindex();
    for (struct if_nameindex *i = list; r == 0 && i && i->if_name; i++)
        if (strncmp(i->if_name, "eth", 3) == 0 && !is_free_card(fd, i->if_name)) {
            set_ipv6_manners(i->if_name, false);
            r = link_up(fd, i->if_name);
        }
    if_freenameindex(list);
    prepared = r == 0;
    return r < 0 ? error_errno(err, r, "bring up the network") : 0;
}

static size_t cards; /* that the machine has: eth0 and on */

int guest_network_up(const struct agent_configure *c, struct error *err)
{
    _cleanup_close_ int fd = prepared ? -EBADF : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = prepared ? 0 : fd < 0 ? -errno : link_up(fd, "lo");
    struct ways ways = {false, false};
    if (r < 0)
        return error_errno(err, r, "bring up lo");
    cards = c->n_networks;
    for (size_t i = 0; r == 0 && i < c->n_networks; i++) {
        char name[IFNAMSIZ];
        snprintf(name, sizeof(name), "eth%u", (unsigned int)i & 255);
        r = prepared ? finish_card(&c->networks[i], name, &ways, err)
                     : network_up(fd, &c->networks[i], name, c->n_networks, &ways, err);
    }
    return r;
}

static bool has_address(int fd, const char *name, const char *address)
{
    struct ifreq r;
    struct sockaddr wanted;
    set_name(&r, name);
    if (!*address)
        return ioctl(fd, SIOCGIFADDR, &r) < 0;
    return set_address(&wanted, address) == 0 && ioctl(fd, SIOCGIFADDR, &r) == 0 &&
           memcmp(&((struct sockaddr_in *)(void *)&r.ifr_addr)->sin_addr,
                  &((struct sockaddr_in *)(void *)&wanted)->sin_addr, sizeof(struct in_addr)) == 0;
}

/* With the last address of a card its routes go, too. */
static void drop_address(int fd, const char *name)
{
    struct ifreq r;
    set_name(&r, name);
    if (set_address(&r.ifr_addr, "0.0.0.0") == 0)
        (void)!ioctl(fd, SIOCSIFADDR, &r);
}

static bool has_mac(int fd, const char *name, const unsigned char mac[6])
{
    struct ifreq r;
    set_name(&r, name);
    return ioctl(fd, SIOCGIFHWADDR, &r) == 0 && memcmp(r.ifr_hwaddr.sa_data, mac, 6) == 0;
}

/* Which families have a way out now. The kernel would take any number of them, the last one first,
 * or all at once. */
static struct ways find_ways(void)
{
    static const char nowhere[] = "00000000000000000000000000000000";
    _cleanup_free_ char *ipv4 = NULL, *ipv6 = NULL;
    struct ways ways = {false, false};
    char to[40], by[40];
    unsigned int prefix;
    if (file_read_kernel(AT_FDCWD, "/proc/net/route", 65536, &ipv4) == 0)
        for (const char *line = ipv4; line && *line; line = strchr(line, '\n')) {
            line += *line == '\n';
            ways.ipv4 |= sscanf(line, "%*s %39s %*s", to) == 1 && strcmp(to, "00000000") == 0;
        }
    if (file_read_kernel(AT_FDCWD, "/proc/net/ipv6_route", 65536, &ipv6) == 0)
        for (const char *line = ipv6; line && *line; line = strchr(line, '\n')) {
            line += *line == '\n';
            ways.ipv6 |= sscanf(line, "%39s %x %*s %*x %39s", to, &prefix, by) == 3 &&
                         prefix == 0 && strcmp(to, nowhere) == 0 && strcmp(by, nowhere) != 0;
        }
    return ways;
}

/* What a card is to be: as list says, or on no network. text: of the hardware address. */
static struct agent_network wanted_of(const struct agent_network *list, size_t n, size_t card,
                                      char text[static 18])
{
    snprintf(text, 18, AGENT_FREE_CARD_FORMAT, (unsigned int)card & 255);
    if (card < n && *list[card].mac)
        return list[card];
    return (struct agent_network){
        .mac = text, .address = "", .gateway = "", .address6 = "", .gateway6 = ""};
}

/* Whatever it has that it is not to have goes. */
static int let_go(int fd, const struct agent_network *n, const char *name)
{
    unsigned char mac[6];
    if (!parse_mac(n->mac, mac))
        return -EINVAL;
    bool same = has_mac(fd, name, mac);
    if (same && has_address(fd, name, n->address))
        return 0;
    drop_address(fd, name);
    int r = same ? 0 : link_set(fd, name, false);
    return r < 0 || same ? r : give_mac(fd, name, mac);
}

/* What has its address is only asked whether it is the way out now. */
static int take_up(int fd, const struct agent_network *n, const char *name, struct ways *ways,
                   struct error *err)
{
    if (agent_network_is_free(n))
        return 0;
    if (!has_address(fd, name, n->address))
        return card_up(fd, n, name, ways, err);
    int r = set_ipv6(name, n, &ways->ipv6);
    if (r == 0 && !ways->ipv4)
        r = add_default_route(fd, n->gateway);
    ways->ipv4 |= *n->gateway != '\0';
    return r < 0 ? error_errno(err, r, "route by %s", n->gateway) : 0;
}

int guest_network_move(const struct agent_network *list, size_t n, struct error *err)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char name[IFNAMSIZ], text[18];
    int r = fd < 0 ? -errno : 0;
    for (size_t i = 0; r == 0 && i < MAX(n, cards); i++) {
        const struct agent_network one = wanted_of(list, n, i, text);
        snprintf(name, sizeof(name), "eth%u", (unsigned int)i & 255);
        r = let_go(fd, &one, name);
        if (r < 0)
            return error_errno(err, r, "change %s", name);
    }
    if (r < 0)
        return error_errno(err, r, "change the network");
    struct ways ways = find_ways();
    for (size_t i = 0; r == 0 && i < MAX(n, cards); i++) {
        const struct agent_network one = wanted_of(list, n, i, text);
        snprintf(name, sizeof(name), "eth%u", (unsigned int)i & 255);
        r = take_up(fd, &one, name, &ways, err);
    }
    return r;
}
