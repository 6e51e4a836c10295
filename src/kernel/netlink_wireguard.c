/* WireGuard: see wireguard.h. The messages are those of linux/wireguard.h. */
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <linux/wireguard.h>
#include <net/if.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "kernel/netlink-internal.h"
#include "kernel/netns.h"
#include "kernel/wireguard.h"

#define ERRAND_LINK   "errand"
#define PEER_BYTES    160 /* of one in a message, at most */
#define MESSAGE_BYTES (WIREGUARD_PEERS_MAX * PEER_BYTES + 512)

int wireguard_create(struct netlink *nl, const char *name, uint16_t mtu, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h =
        netlink_request_link(&q, nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, false);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    mnl_attr_put_u32(h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, WG_GENL_NAME);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    if (r == -EOPNOTSUPP)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "this host's kernel has no WireGuard (the module wireguard): without it "
                         "say --peer ADDRESS, and have the packets encrypted below");
    return r < 0 ? error_errno(err, r, "create link %s", name) : 0;
}

/* --- its family of messages --- */

static int take_family(const struct nlmsghdr *h, void *context)
{
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct genlmsghdr))
    {
        if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID &&
            mnl_attr_get_payload_len(a) == sizeof(uint16_t))
            *(uint16_t *)context = mnl_attr_get_u16(a);
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *put_header(void *buffer, struct netlink *nl, uint16_t family, uint8_t cmd,
                                   uint16_t flags)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
    h->nlmsg_type = family;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = ++nl->sequence;
    struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->cmd = cmd;
    g->version = 1;
    return h;
}

static int open_family(struct netlink **ret, uint16_t *ret_family, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    struct netlink_request q;
    int r = netlink_open_protocol(NETLINK_GENERIC, &nl, err);
    if (r < 0)
        return r;
    struct nlmsghdr *h = put_header(q.bytes, nl, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
    mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
    *ret_family = 0;
    r = netlink_ask(nl, h, take_family, ret_family);
    if (r == 0 && *ret_family == 0)
        r = -ENOENT;
    if (r < 0)
        return error_errno(err, r, "speak with the kernel about WireGuard");
    *ret = TAKE_PTR(nl);
    return 0;
}

/* --- told --- */

static void put_peer(struct nlmsghdr *h, const struct wireguard_peer *p)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr = p->endpoint};
    struct nlattr *peer = mnl_attr_nest_start(h, 0);
    mnl_attr_put(h, WGPEER_A_PUBLIC_KEY, WIREGUARD_KEY_SIZE, p->public_key.bytes);
    mnl_attr_put_u32(h, WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
    mnl_attr_put(h, WGPEER_A_ENDPOINT, sizeof(at), &at);
    struct nlattr *list = mnl_attr_nest_start(h, WGPEER_A_ALLOWEDIPS);
    struct nlattr *one = mnl_attr_nest_start(h, 0);
    mnl_attr_put_u16(h, WGALLOWEDIP_A_FAMILY, AF_INET);
    mnl_attr_put_u32(h, WGALLOWEDIP_A_IPADDR, p->inside.s_addr);
    mnl_attr_put_u8(h, WGALLOWEDIP_A_CIDR_MASK, 32);
    mnl_attr_nest_end(h, one);
    mnl_attr_nest_end(h, list);
    mnl_attr_nest_end(h, peer);
}

int wireguard_configure(const char *name, const struct wireguard_key *private_key, uint16_t port,
                        const struct wireguard_peer *peers, size_t n, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    uint16_t family;
    if (n > WIREGUARD_PEERS_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u peers", WIREGUARD_PEERS_MAX);
    int r = open_family(&nl, &family, err);
    if (r < 0)
        return r;
    char *bytes = xcalloc(1, MESSAGE_BYTES);
    struct nlmsghdr *h = put_header(bytes, nl, family, WG_CMD_SET_DEVICE, 0);
    mnl_attr_put_strz(h, WGDEVICE_A_IFNAME, name);
    mnl_attr_put_u32(h, WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
    mnl_attr_put(h, WGDEVICE_A_PRIVATE_KEY, WIREGUARD_KEY_SIZE, private_key->bytes);
    mnl_attr_put_u16(h, WGDEVICE_A_LISTEN_PORT, port);
    struct nlattr *list = mnl_attr_nest_start(h, WGDEVICE_A_PEERS);
    for (size_t i = 0; i < n; i++)
        put_peer(h, &peers[i]);
    mnl_attr_nest_end(h, list);
    r = netlink_act(nl, h);
    explicit_bzero(bytes, MESSAGE_BYTES);
    free(bytes);
    return r < 0 ? error_errno(err, r, "set up link %s with port %u/udp", name, port) : 0;
}

/* --- asked --- */

struct seen {
    struct wireguard_key *public_key;
    struct wireguard_peer *peers;
    size_t max, n;
};

static bool is_key(const struct nlattr *a)
{
    return mnl_attr_get_payload_len(a) == WIREGUARD_KEY_SIZE;
}

static void take_peer(const struct nlattr *nest, struct wireguard_peer *p)
{
    const struct nlattr *a;
    mnl_attr_for_each_nested(a, nest)
    {
        uint16_t type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);
        const void *data = mnl_attr_get_payload(a);
        if (type == WGPEER_A_PUBLIC_KEY && is_key(a))
            memcpy(p->public_key.bytes, data, WIREGUARD_KEY_SIZE);
        else if (type == WGPEER_A_RX_BYTES && len == sizeof(uint64_t))
            p->received = mnl_attr_get_u64(a);
        else if (type == WGPEER_A_TX_BYTES && len == sizeof(uint64_t))
            p->sent = mnl_attr_get_u64(a);
        else if (type == WGPEER_A_LAST_HANDSHAKE_TIME && len >= sizeof(int64_t))
            memcpy(&p->agreed_s, data, sizeof(p->agreed_s));
        else if (type == WGPEER_A_ENDPOINT && len == sizeof(struct sockaddr_in)) {
            struct sockaddr_in at;
            memcpy(&at, data, sizeof(at));
            p->endpoint = at.sin_addr;
            p->port = ntohs(at.sin_port);
        }
    }
}

static int take_device(const struct nlmsghdr *h, void *context)
{
    struct seen *seen = context;
    const struct nlattr *a, *peer;
    mnl_attr_for_each(a, h, sizeof(struct genlmsghdr))
    {
        if (mnl_attr_get_type(a) == WGDEVICE_A_PUBLIC_KEY && is_key(a))
            memcpy(seen->public_key->bytes, mnl_attr_get_payload(a), WIREGUARD_KEY_SIZE);
        if (mnl_attr_get_type(a) != WGDEVICE_A_PEERS)
            continue;
        mnl_attr_for_each_nested(peer, a)
        {
            if (seen->n < seen->max)
                take_peer(peer, &seen->peers[seen->n++]);
        }
    }
    return MNL_CB_OK;
}

int wireguard_show(const char *name, struct wireguard_key *ret_public, struct wireguard_peer *peers,
                   size_t max, size_t *ret_n, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    struct seen seen = {.public_key = ret_public, .peers = peers, .max = max};
    struct netlink_request q;
    uint16_t family;
    int r = open_family(&nl, &family, err);
    if (r < 0)
        return r;
    memset(ret_public, 0, sizeof(*ret_public));
    for (size_t i = 0; i < max; i++)
        memset(&peers[i], 0, sizeof(peers[i]));
    struct nlmsghdr *h = put_header(q.bytes, nl, family, WG_CMD_GET_DEVICE, NLM_F_ACK | NLM_F_DUMP);
    mnl_attr_put_strz(h, WGDEVICE_A_IFNAME, name);
    r = netlink_ask(nl, h, take_device, &seen);
    if (r < 0)
        return error_errno(err, r, "ask about link %s", name);
    *ret_n = seen.n;
    return 0;
}

/* --- keys --- */

struct errand {
    const struct wireguard_key *private_key;
    struct wireguard_key *ret;
};

static int derive(void *context, struct error *err)
{
    struct errand *e = context;
    _cleanup_netlink_ struct netlink *nl = NULL;
    size_t none;
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = wireguard_create(nl, ERRAND_LINK, 1420, err);
    if (r == 0)
        r = wireguard_configure(ERRAND_LINK, e->private_key, 0, NULL, 0, err);
    return r < 0 ? r : wireguard_show(ERRAND_LINK, e->ret, NULL, 0, &none, err);
}

/* By a link in a namespace of its own, with which it goes whatever happens. */
int wireguard_public(const struct wireguard_key *private_key, struct wireguard_key *ret,
                     struct error *err)
{
    struct errand e = {private_key, ret};
    _cleanup_close_ int namespace_fd = -EBADF;
    int r = netns_create(&namespace_fd, NULL, err);
    return r < 0 ? r : netns_visit(namespace_fd, derive, &e, err);
}
