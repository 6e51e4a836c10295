#include "kernel/conntrack.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

#define ANSWER_BYTES 32768
#define FLOWS_MAX    ((size_t)16 << 20) /* of tuples to forget */

struct tuple {
    struct in_addr source; /* of the two, the one of its family; the other is 0 */
    struct in6_addr source6;
    uint16_t destination_port; /* host order */
    uint8_t protocol;
};

struct search {
    const uint16_t *ports;
    size_t n;
    struct in_addr answered_by;
    struct in6_addr answered_by6;
    struct in_addr asker; /* not 0.0.0.0: only what it sent to one of the ports */
    struct buf found;     /* struct nfgenmsg and attribute CTA_TUPLE_ORIG of each */
};

static void read_tuple(const struct nlattr *nest, struct tuple *t)
{
    struct nlattr *part, *a;
    memset(t, 0, sizeof(*t));
    mnl_attr_for_each_nested(part, nest)
    {
        uint16_t kind = mnl_attr_get_type(part);
        mnl_attr_for_each_nested(a, part)
        {
            uint16_t type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);
            if (kind == CTA_TUPLE_IP && type == CTA_IP_V4_SRC && len == 4)
                t->source.s_addr = mnl_attr_get_u32(a);
            else if (kind == CTA_TUPLE_IP && type == CTA_IP_V6_SRC && len == 16)
                memcpy(&t->source6, mnl_attr_get_payload(a), sizeof(t->source6));
            else if (kind == CTA_TUPLE_PROTO && type == CTA_PROTO_NUM && len == 1)
                t->protocol = mnl_attr_get_u8(a);
            else if (kind == CTA_TUPLE_PROTO && type == CTA_PROTO_DST_PORT && len == 2)
                t->destination_port = ntohs(mnl_attr_get_u16(a));
        }
    }
}

static bool wanted(const struct search *s, const struct tuple *original, const struct tuple *reply)
{
    if (original->protocol != IPPROTO_UDP)
        return false;
    if (s->asker.s_addr && original->source.s_addr != s->asker.s_addr)
        return false;
    if (s->answered_by.s_addr && reply->source.s_addr == s->answered_by.s_addr)
        return true;
    if (!IN6_IS_ADDR_UNSPECIFIED(&s->answered_by6) &&
        IN6_ARE_ADDR_EQUAL(&reply->source6, &s->answered_by6))
        return true;
    for (size_t i = 0; i < s->n; i++)
        if (original->destination_port == s->ports[i])
            return true;
    return false;
}

static int see_flow(const struct nlmsghdr *h, void *context)
{
    struct search *s = context;
    const struct nlattr *original = NULL;
    struct tuple there = {.protocol = 0}, back = {.protocol = 0};
    struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG) {
            original = a;
            read_tuple(a, &there);
        } else if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY) {
            read_tuple(a, &back);
        }
    }
    if (original && wanted(s, &there, &back) &&
        buf_add(&s->found, mnl_nlmsg_get_payload(h), sizeof(struct nfgenmsg)) == 0)
        (void)!buf_add(&s->found, original, (size_t)MNL_ALIGN(original->nla_len));
    return MNL_CB_OK;
}

static struct nlmsghdr *request(char *space, uint16_t type, uint16_t flags, uint8_t family,
                                uint32_t sequence)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(space);
    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = sequence;
    struct nfgenmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->nfgen_family = family;
    m->version = NFNETLINK_V0;
    return h;
}

static int talk(struct mnl_socket *socket, struct nlmsghdr *h, mnl_cb_t each, void *context)
{
    _cleanup_free_ char *answer = xcalloc(1, ANSWER_BYTES);
    if (mnl_socket_sendto(socket, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(socket, answer, ANSWER_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int r = mnl_cb_run(answer, (size_t)n, h->nlmsg_seq, mnl_socket_get_portid(socket), each,
                           context);
        if (r < 0)
            return -errno;
        if (r == MNL_CB_STOP)
            return 0;
    }
}

static int forget(struct mnl_socket *socket, const struct search *s)
{
    char space[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
    uint32_t sequence = 1;
    for (size_t at = 0; at + sizeof(struct nfgenmsg) + sizeof(struct nlattr) <= s->found.len;) {
        const struct nfgenmsg *m = (const void *)(s->found.data + at);
        const struct nlattr *a = (const void *)(m + 1);
        struct nlmsghdr *h =
            request(space, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, m->nfgen_family, ++sequence);
        if (a->nla_len > 512)
            return -EBADMSG;
        mnl_attr_put(h, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(a),
                     mnl_attr_get_payload(a));
        int r = talk(socket, h, NULL, NULL);
        if (r < 0 && r != -ENOENT) /* it ended by itself */
            return r;
        at += sizeof(*m) + (size_t)MNL_ALIGN(a->nla_len);
    }
    return 0;
}

static int search_and_forget(struct search *s, struct error *err)
{
    char space[256] __attribute__((aligned(NLMSG_ALIGNTO)));
    s->found = (struct buf)BUF_INIT(FLOWS_MAX);
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!socket)
        return error_errno(err, errno, "open a netfilter socket");
    int r = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
    if (r == 0)
        r = talk(socket, request(space, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, 1), see_flow, s);
    if (r == 0)
        r = forget(socket, s);
    mnl_socket_close(socket);
    buf_done(&s->found);
    if (r < 0)
        return error_errno(err, r, "forget tracked connections");
    return 0;
}

int conntrack_forget_udp(const uint16_t *ports, size_t n, struct in_addr answered_by,
                         const struct in6_addr *answered_by6, struct error *err)
{
    struct search s = {
        .ports = ports, .n = n, .answered_by = answered_by, .answered_by6 = *answered_by6};
    return search_and_forget(&s, err);
}

int conntrack_forget_questions(struct in_addr asker, uint16_t port, struct error *err)
{
    struct search s = {.ports = &port, .n = 1, .asker = asker};
    return search_and_forget(&s, err);
}
