/*
 * An address and a default route by one rtnetlink message each. What the old ioctls do in four
 * steps (the address with its class's mask, away again, and so on) makes and drops several routes,
 * and a clone runs all that code for the first time.
 */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "guest/address.h"

struct request {
    struct nlmsghdr head;
    union {
        struct ifaddrmsg address;
        struct rtmsg route;
    } body;
    char attributes[64];
};

static void add_u32(struct request *r, unsigned short type, uint32_t value)
{
    struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
    *a = (struct rtattr){.rta_type = type, .rta_len = RTA_LENGTH(sizeof(value))};
    memcpy(RTA_DATA(a), &value, sizeof(value));
    r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* Sent, and its answer read: 0 or -errno. What is there already is as good. */
static int ask(int fd, struct request *r)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char more[256];
    } answer;
    if (send(fd, r, r->head.nlmsg_len, 0) < 0)
        return -errno;
    ssize_t n = recv(fd, &answer, sizeof(answer), 0);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) || answer.head.nlmsg_type != NLMSG_ERROR)
        return n < 0 ? -errno : -EPROTO;
    return answer.error.error == -EEXIST ? 0 : answer.error.error;
}

int guest_netlink_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return fd < 0 ? -errno : fd;
}

int guest_address_add(int fd, int index, const char *address, uint32_t prefix)
{
    struct request r = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.body.address)),
                 .nlmsg_type = RTM_NEWADDR,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
        .body.address = {.ifa_family = AF_INET,
                         .ifa_prefixlen = (unsigned char)prefix,
                         .ifa_index = (unsigned int)index}};
    uint32_t own;
    if (prefix > 32 || inet_pton(AF_INET, address, &own) != 1)
        return -EINVAL;
    add_u32(&r, IFA_LOCAL, own);
    add_u32(&r, IFA_ADDRESS, own);
    if (prefix < 31)
        add_u32(&r, IFA_BROADCAST, own | htonl((uint32_t)(UINT64_C(0xffffffff) >> prefix)));
    return ask(fd, &r);
}

int guest_route_add(int fd, const char *gateway)
{
    struct request r = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.body.route)),
                 .nlmsg_type = RTM_NEWROUTE,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
        .body.route = {.rtm_family = AF_INET,
                       .rtm_table = RT_TABLE_MAIN,
                       .rtm_protocol = RTPROT_BOOT,
                       .rtm_scope = RT_SCOPE_UNIVERSE,
                       .rtm_type = RTN_UNICAST}};
    uint32_t way;
    if (inet_pton(AF_INET, gateway, &way) != 1)
        return -EINVAL;
    add_u32(&r, RTA_GATEWAY, way);
    return ask(fd, &r);
}
