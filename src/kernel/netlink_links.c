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
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int r = netlink_act(nl, h);
    return r < 0 ? error_errno(err, r, "create link %s", v->name) : 0;
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
