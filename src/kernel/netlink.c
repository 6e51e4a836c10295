#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "base/alloc.h"
#include "kernel/netlink-internal.h"

#define ANSWER_BYTES 32768

int netlink_open_protocol(int protocol, struct netlink **ret, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = xnew(struct netlink);
    nl->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
    if (!nl->socket)
        return error_errno(err, errno, "open a netlink socket");
    if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return error_errno(err, errno, "bind a netlink socket");
    nl->port = mnl_socket_get_portid(nl->socket);
    nl->answer = xcalloc(1, ANSWER_BYTES);
    *ret = TAKE_PTR(nl);
    return 0;
}

int netlink_open(struct netlink **ret, struct error *err)
{
    return netlink_open_protocol(NETLINK_ROUTE, ret, err);
}

void netlink_free(struct netlink *nl)
{
    if (!nl)
        return;
    if (nl->socket)
        mnl_socket_close(nl->socket);
    free(nl->answer);
    free(nl);
}

int link_mac_parse(const char *text, struct link_mac *ret)
{
    struct link_mac mac;
    size_t len = strlen(text);
    if (len != 17)
        return -EINVAL;
    for (size_t i = 0; i < 6; i++) {
        const char digits[3] = {text[i * 3], text[i * 3 + 1], '\0'};
        static const char hex[] = "0123456789abcdefABCDEF";
        if (strspn(digits, hex) != 2 || (i < 5 && text[i * 3 + 2] != ':'))
            return -EINVAL;
        mac.bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    static const uint8_t zero[6];
    if (mac.bytes[0] & 1 || memcmp(mac.bytes, zero, 6) == 0)
        return -EINVAL;
    *ret = mac;
    return 0;
}

void link_mac_format(const struct link_mac *mac, char ret[18])
{
    const uint8_t *b = mac->bytes;
    snprintf(ret, 18, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
}

struct nlmsghdr *netlink_request_link(struct netlink_request *q, struct netlink *nl, uint16_t type,
                                      uint16_t flags, uint32_t index, bool up)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(q->bytes);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = ++nl->sequence;
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = (int)index;
    info->ifi_flags = up ? IFF_UP : 0;
    info->ifi_change = up ? IFF_UP : 0;
    return h;
}

int netlink_ask(struct netlink *nl, struct nlmsghdr *h, mnl_cb_t each, void *context)
{
    if (mnl_socket_sendto(nl->socket, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl->socket, nl->answer, ANSWER_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = mnl_cb_run(nl->answer, (size_t)n, nl->sequence, nl->port, each, context);
        if (r < 0)
            return -errno;
        if (r == MNL_CB_STOP)
            return 0;
    }
}

int netlink_act(struct netlink *nl, struct nlmsghdr *h)
{
    h->nlmsg_flags |= NLM_F_ACK;
    return netlink_ask(nl, h, NULL, NULL);
}

static int take_index(const struct nlmsghdr *h, void *context)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    *(uint32_t *)context = (uint32_t)info->ifi_index;
    return MNL_CB_OK;
}

int netlink_link_index(struct netlink *nl, const char *name, uint32_t *ret, struct error *err)
{
    struct netlink_request q;
    uint32_t index = 0;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_GETLINK, NLM_F_ACK, 0, false);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    int r = netlink_ask(nl, h, take_index, &index);
    if (r == 0 && index == 0)
        r = -ENODEV;
    if (r < 0)
        return error_errno(err, r, "find link %s", name);
    *ret = index;
    return 0;
}

int netlink_bridge_create(struct netlink *nl, const char *name, const struct link_mac *mac,
                          uint16_t mtu, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h =
        netlink_request_link(&q, nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, true);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    /* Its own address, or the bridge would take that of whichever port is lowest at the time. */
    mnl_attr_put(h, IFLA_ADDRESS, sizeof(mac->bytes), mac->bytes);
    mnl_attr_put_u32(h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    mnl_attr_put_u32(h, IFLA_BR_STP_STATE, 0);
    mnl_attr_put_u32(h, IFLA_BR_FORWARD_DELAY, 0);
    mnl_attr_put_u8(h, IFLA_BR_MCAST_SNOOPING, 0);
    mnl_attr_put_u8(h, IFLA_BR_NF_CALL_IPTABLES, 1);
    mnl_attr_put_u8(h, IFLA_BR_NF_CALL_IP6TABLES, 1);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    if (r < 0)
        return error_errno(err, r, "create bridge %s", name);
    return 0;
}

/* One message makes both ends and puts each in its place. The peer cannot come up with it: the
 * kernel opens it before it knows its other end. */
int netlink_veth_create(struct netlink *nl, const struct netlink_veth *veth, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h =
        netlink_request_link(&q, nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, true);
    mnl_attr_put_strz(h, IFLA_IFNAME, veth->name);
    mnl_attr_put_u32(h, IFLA_MTU, veth->mtu);
    mnl_attr_put_u32(h, IFLA_MASTER, veth->master);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, veth->peer_name);
    mnl_attr_put_u32(h, IFLA_MTU, veth->mtu);
    mnl_attr_put(h, IFLA_ADDRESS, sizeof(veth->peer_mac->bytes), veth->peer_mac->bytes);
    mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)veth->peer_namespace);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    if (r < 0)
        return error_errno(err, r, "create link %s", veth->name);
    return 0;
}

int netlink_link_up(struct netlink *nl, uint32_t index, uint32_t master, uint16_t mtu,
                    struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_NEWLINK, 0, index, true);
    if (master)
        mnl_attr_put_u32(h, IFLA_MASTER, master);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    int r = netlink_act(nl, h);
    if (r < 0)
        return error_errno(err, r, "bring link %u up", index);
    return 0;
}

int netlink_link_rename(struct netlink *nl, const char *from, const char *to, struct error *err)
{
    struct netlink_request q;
    uint32_t index;
    int r = netlink_link_index(nl, from, &index, err);
    if (r < 0)
        return r;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_NEWLINK, 0, index, false);
    mnl_attr_put_strz(h, IFLA_IFNAME, to);
    r = netlink_act(nl, h);
    return r < 0 ? error_errno(err, r, "rename link %s to %s", from, to) : 0;
}

int netlink_link_down(struct netlink *nl, const char *name, struct error *err)
{
    struct netlink_request q;
    uint32_t index;
    int r = netlink_link_index(nl, name, &index, err);
    if (r < 0)
        return r;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_NEWLINK, 0, index, false);
    struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    info->ifi_change = IFF_UP;
    mnl_attr_put_u32(h, IFLA_MASTER, 0);
    r = netlink_act(nl, h);
    return r < 0 ? error_errno(err, r, "take link %s down", name) : 0;
}

static int set_port(struct netlink *nl, const char *name, uint16_t flag, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_NEWLINK, 0, 0, false);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_SLAVE_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
    mnl_attr_put_u8(h, flag, 1);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    if (r < 0)
        return error_errno(err, r, "set up bridge port %s", name);
    return 0;
}

int netlink_port_hairpin(struct netlink *nl, const char *name, struct error *err)
{
    return set_port(nl, name, IFLA_BRPORT_MODE, err);
}

int netlink_port_isolate(struct netlink *nl, const char *name, struct error *err)
{
    return set_port(nl, name, IFLA_BRPORT_ISOLATED, err);
}

int netlink_link_no_ipv6_address(struct netlink *nl, uint32_t index, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_NEWLINK, 0, index, false);
    struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(h, AF_INET6);
    mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(h, inet6);
    mnl_attr_nest_end(h, spec);
    int r = netlink_act(nl, h);
    if (r < 0 && r != -EAFNOSUPPORT)
        return error_errno(err, r, "keep IPv6 off link %u", index);
    return 0;
}

int netlink_link_remove(struct netlink *nl, const char *name, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h = netlink_request_link(&q, nl, RTM_DELLINK, 0, 0, false);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    int r = netlink_act(nl, h);
    if (r < 0 && r != -ENODEV)
        return error_errno(err, r, "remove link %s", name);
    return 0;
}

/* addresses are of `family`, in network order; an IPv6 one is used at once, without asking whether
 * somebody has it: it is given out once. */
static int change_address(struct netlink *nl, uint16_t type, uint32_t index, uint8_t family,
                          const void *address, uint8_t prefix)
{
    struct netlink_request q;
    size_t len = family == AF_INET ? 4 : 16;
    struct nlmsghdr *h = mnl_nlmsg_put_header(q.bytes);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0);
    h->nlmsg_seq = ++nl->sequence;
    struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(h, sizeof(*a));
    a->ifa_family = family;
    a->ifa_prefixlen = prefix;
    a->ifa_index = index;
    a->ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0;
    mnl_attr_put(h, IFA_LOCAL, len, address);
    mnl_attr_put(h, IFA_ADDRESS, len, address);
    if (family == AF_INET && prefix < 31) {
        const struct in_addr *v4 = address;
        mnl_attr_put_u32(h, IFA_BROADCAST, v4->s_addr | htonl(0xffffffffu >> prefix));
    }
    return netlink_act(nl, h);
}

int netlink_address_add(struct netlink *nl, uint32_t index, struct in_addr address, uint8_t prefix,
                        struct error *err)
{
    int r = change_address(nl, RTM_NEWADDR, index, AF_INET, &address, prefix);
    return r < 0 ? error_errno(err, r, "give link %u an address", index) : 0;
}

int netlink_address_remove(struct netlink *nl, uint32_t index, struct in_addr address,
                           uint8_t prefix, struct error *err)
{
    int r = change_address(nl, RTM_DELADDR, index, AF_INET, &address, prefix);
    return r < 0 && r != -EADDRNOTAVAIL ? error_errno(err, r, "take an address from link %u", index)
                                        : 0;
}

int netlink_address6_add(struct netlink *nl, uint32_t index, const struct in6_addr *address,
                         uint8_t prefix, struct error *err)
{
    int r = change_address(nl, RTM_NEWADDR, index, AF_INET6, address, prefix);
    return r < 0 ? error_errno(err, r, "give link %u an IPv6 address", index) : 0;
}

static struct nlmsghdr *route_request(struct netlink_request *q, struct netlink *nl, uint8_t family,
                                      uint8_t scope)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(q->bytes);
    h->nlmsg_type = RTM_NEWROUTE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
    h->nlmsg_seq = ++nl->sequence;
    struct rtmsg *route = mnl_nlmsg_put_extra_header(h, sizeof(*route));
    route->rtm_family = family;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = scope;
    route->rtm_type = RTN_UNICAST;
    return h;
}

static int add_default_route(struct netlink *nl, uint32_t index, uint8_t family,
                             const void *gateway)
{
    struct netlink_request q;
    struct nlmsghdr *h = route_request(&q, nl, family, RT_SCOPE_UNIVERSE);
    mnl_attr_put(h, RTA_GATEWAY, family == AF_INET ? 4 : 16, gateway);
    mnl_attr_put_u32(h, RTA_OIF, index);
    return netlink_act(nl, h);
}

int netlink_host_route_add(struct netlink *nl, uint32_t index, struct in_addr to,
                           struct in_addr from, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h = route_request(&q, nl, AF_INET, RT_SCOPE_LINK);
    struct rtmsg *route = mnl_nlmsg_get_payload(h);
    route->rtm_dst_len = 32;
    mnl_attr_put_u32(h, RTA_DST, to.s_addr);
    mnl_attr_put_u32(h, RTA_PREFSRC, from.s_addr);
    mnl_attr_put_u32(h, RTA_OIF, index);
    int r = netlink_act(nl, h);
    return r < 0 && r != -EEXIST ? error_errno(err, r, "add a route to link %u", index) : 0;
}

/* The first one stays: what an instance has on another network already. */
int netlink_default_route_add(struct netlink *nl, uint32_t index, struct in_addr gateway,
                              struct error *err)
{
    int r = add_default_route(nl, index, AF_INET, &gateway);
    return r < 0 && r != -EEXIST ? error_errno(err, r, "add a default route to link %u", index) : 0;
}

int netlink_default_route6_add(struct netlink *nl, uint32_t index, const struct in6_addr *gateway,
                               struct error *err)
{
    int r = add_default_route(nl, index, AF_INET6, gateway);
    return r < 0 && r != -EEXIST
               ? error_errno(err, r, "add an IPv6 default route to link %u", index)
               : 0;
}

/* One walk: what the caller wants to see, and what its callback gave. */
struct walk {
    int (*link)(void *context, const struct netlink_link *link);
    int (*subnet)(void *context, const struct netlink_subnet *subnet);
    void *context;
    int result;
};

/* The dump is always read to its end, so that the socket is clean for the next request. */
static int see_link(const struct nlmsghdr *h, void *context)
{
    struct walk *walk = context;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    struct netlink_link link = {.index = (uint32_t)info->ifi_index};
    struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(*info))
    {
        uint16_t type = mnl_attr_get_type(a);
        if (type == IFLA_IFNAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) == 0)
            link.name = mnl_attr_get_str(a);
        else if (type == IFLA_MASTER && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
            link.master = mnl_attr_get_u32(a);
    }
    if (link.name && walk->result == 0)
        walk->result = walk->link(walk->context, &link);
    return MNL_CB_OK;
}

static int see_subnet(const struct nlmsghdr *h, void *context)
{
    struct walk *walk = context;
    bool is_route = h->nlmsg_type == RTM_NEWROUTE;
    size_t header = is_route ? sizeof(struct rtmsg) : sizeof(struct ifaddrmsg);
    struct netlink_subnet subnet = {.prefix = 0};
    struct nlattr *a;
    if (is_route) {
        subnet.prefix = ((const struct rtmsg *)mnl_nlmsg_get_payload(h))->rtm_dst_len;
    } else {
        const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
        subnet.prefix = m->ifa_prefixlen;
        subnet.index = m->ifa_index;
    }
    mnl_attr_for_each(a, h, header)
    {
        uint16_t type = mnl_attr_get_type(a);
        size_t len = mnl_attr_get_payload_len(a);
        if (type == (is_route ? RTA_DST : IFA_ADDRESS) && len == 16) {
            memcpy(&subnet.address6, mnl_attr_get_payload(a), 16);
            subnet.ipv6 = true;
        }
        if (len != 4)
            continue;
        if (type == (is_route ? RTA_DST : IFA_ADDRESS))
            subnet.address.s_addr = mnl_attr_get_u32(a);
        else if (is_route && type == RTA_OIF)
            subnet.index = mnl_attr_get_u32(a);
    }
    if (subnet.ipv6 && walk->result == 0) {
        if (subnet.prefix > 0)
            walk->result = walk->subnet(walk->context, &subnet);
    } else if (subnet.prefix > 0 && subnet.prefix <= 32 && walk->result == 0) {
        subnet.address.s_addr &= htonl(~0u << (32 - subnet.prefix));
        walk->result = walk->subnet(walk->context, &subnet);
    }
    return MNL_CB_OK;
}

static int dump(struct netlink *nl, uint16_t type, unsigned char family, mnl_cb_t each,
                struct walk *walk)
{
    struct netlink_request q;
    struct nlmsghdr *h = mnl_nlmsg_put_header(q.bytes);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = ++nl->sequence;
    /* Long enough for the header of any of the three kinds; the kernel reads the family only. */
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(
        h, type == RTM_GETLINK
               ? sizeof(struct ifinfomsg)
               : (type == RTM_GETROUTE ? sizeof(struct rtmsg) : sizeof(struct ifaddrmsg)));
    m->ifi_family = family;
    return netlink_ask(nl, h, each, walk);
}

int netlink_links(struct netlink *nl, int (*each)(void *context, const struct netlink_link *link),
                  void *context, struct error *err)
{
    struct walk walk = {.link = each, .context = context};
    int r = dump(nl, RTM_GETLINK, AF_UNSPEC, see_link, &walk);
    if (r < 0)
        return error_errno(err, r, "list links");
    return walk.result;
}

int netlink_subnets(struct netlink *nl,
                    int (*each)(void *context, const struct netlink_subnet *subnet), void *context,
                    struct error *err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct walk walk = {.subnet = each, .context = context};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++) {
        r = dump(nl, RTM_GETADDR, families[i], see_subnet, &walk);
        if (r == 0)
            r = dump(nl, RTM_GETROUTE, families[i], see_subnet, &walk);
    }
    if (r < 0)
        return error_errno(err, r, "list routes");
    return walk.result;
}
