/* Kinds of links beside the usual ones: VXLAN, macvlan; and how fast a link may be. */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/alloc.h"
#include "kernel/netlink-internal.h"

int netlink_vxlan_create(struct netlink *nl, const struct netlink_vxlan *v, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h =
        netlink_request_link(&q, nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, true);
    mnl_attr_put_strz(h, IFLA_IFNAME, v->name);
    mnl_attr_put_u32(h, IFLA_MTU, v->mtu);
    mnl_attr_put_u32(h, IFLA_MASTER, v->master);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    mnl_attr_put_u32(h, IFLA_VXLAN_ID, v->id);
    mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(v->port));
    mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 1);
    if (v->link)
        mnl_attr_put_u32(h, IFLA_VXLAN_LINK, v->link);
    if (v->local.s_addr)
        mnl_attr_put_u32(h, IFLA_VXLAN_LOCAL, v->local.s_addr);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    return r < 0 ? error_errno(err, r, "create link %s", v->name) : 0;
}

int netlink_macvlan_create(struct netlink *nl, const struct netlink_macvlan *m, struct error *err)
{
    struct netlink_request q;
    struct nlmsghdr *h =
        netlink_request_link(&q, nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, false);
    if (m->tap) { /* what groups its guest is in, the kernel does not know */
        struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
        info->ifi_flags |= IFF_ALLMULTI;
        info->ifi_change |= IFF_ALLMULTI;
    }
    mnl_attr_put_strz(h, IFLA_IFNAME, m->name);
    mnl_attr_put_u32(h, IFLA_LINK, m->parent);
    mnl_attr_put_u32(h, IFLA_MTU, m->mtu);
    mnl_attr_put(h, IFLA_ADDRESS, sizeof(m->mac->bytes), m->mac->bytes);
    if (m->namespace_fd >= 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)m->namespace_fd);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, m->tap ? "macvtap" : "macvlan");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    return r < 0 ? error_errno(err, r, "create a %s of link %u", m->tap ? "macvtap" : "macvlan",
                               m->parent)
                 : 0;
}

/* Frames for nobody known go to each peer. */
int netlink_vxlan_peer_add(struct netlink *nl, uint32_t index, struct in_addr peer,
                           struct error *err)
{
    static const uint8_t nobody[6];
    struct netlink_request q;
    struct nlmsghdr *h = mnl_nlmsg_put_header(q.bytes);
    h->nlmsg_type = RTM_NEWNEIGH;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND;
    h->nlmsg_seq = ++nl->sequence;
    struct ndmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ndm_family = AF_BRIDGE;
    m->ndm_ifindex = (int)index;
    m->ndm_state = NUD_PERMANENT | NUD_NOARP;
    m->ndm_flags = NTF_SELF;
    mnl_attr_put(h, NDA_LLADDR, sizeof(nobody), nobody);
    mnl_attr_put_u32(h, NDA_DST, peer.s_addr);
    int r = netlink_act(nl, h);
    return r < 0 && r != -EEXIST ? error_errno(err, r, "add a peer to link %u", index) : 0;
}

/* --- how fast --- */

static struct nlmsghdr *qdisc_request(struct netlink_request *q, struct netlink *nl, uint16_t type,
                                      uint16_t flags, uint32_t index)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(q->bytes);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = ++nl->sequence;
    struct tcmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->tcm_family = AF_UNSPEC;
    m->tcm_ifindex = (int)index;
    m->tcm_parent = TC_H_ROOT;
    return h;
}

/* The root discipline of a link that has none of its own is removed by nobody. */
static int remove_rate(struct netlink *nl, uint32_t index)
{
    struct netlink_request q;
    int r = netlink_act(nl, qdisc_request(&q, nl, RTM_DELQDISC, 0, index));
    return r == -ENOENT || r == -EINVAL ? 0 : r;
}

static int put_bucket(struct netlink *nl, uint32_t index, uint64_t bytes_per_s,
                      uint64_t burst_bytes)
{
    struct netlink_request q;
    struct nlmsghdr *h = qdisc_request(&q, nl, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index);
    uint32_t burst = (uint32_t)MIN(burst_bytes, (uint64_t)UINT32_MAX);
    /* Queued: a tenth of a second, or what the kernel sends as one packet a few times over. */
    uint32_t limit = (uint32_t)MIN(MAX(bytes_per_s / 10, (uint64_t)256 << 10), (uint64_t)64 << 20);
    struct tc_tbf_qopt bucket = {
        .rate = {.linklayer = TC_LINKLAYER_ETHERNET,
                 .rate = (uint32_t)MIN(bytes_per_s, (uint64_t)UINT32_MAX)},
        .limit = limit,
    };
    mnl_attr_put_strz(h, TCA_KIND, "tbf");
    struct nlattr *options = mnl_attr_nest_start(h, TCA_OPTIONS);
    mnl_attr_put(h, TCA_TBF_PARMS, sizeof(bucket), &bucket);
    mnl_attr_put_u32(h, TCA_TBF_BURST, burst);
    if (bytes_per_s > UINT32_MAX)
        mnl_attr_put_u64(h, TCA_TBF_RATE64, bytes_per_s);
    mnl_attr_nest_end(h, options);
    return netlink_act(nl, h);
}

int netlink_link_rate(struct netlink *nl, const char *name, uint64_t bytes_per_s,
                      uint64_t burst_bytes, struct error *err)
{
    uint32_t index;
    int r = netlink_link_index(nl, name, &index, err);
    if (r < 0)
        return r;
    r = bytes_per_s ? put_bucket(nl, index, bytes_per_s, burst_bytes) : remove_rate(nl, index);
    return r < 0 ? error_errno(err, r, "limit the rate of link %s (tbf)", name) : 0;
}
