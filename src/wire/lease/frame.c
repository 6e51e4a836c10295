/* Frames: Ethernet, IPv4 and IPv6, UDP, as far as these three protocols need them. */
#include <arpa/inet.h>
#include <string.h>

#include "wire/lease/lease-internal.h"

enum {
    ETHERNET_LEN = 14,
    IPV4_LEN = 20,
    IPV6_LEN = 40,
    UDP_LEN = 8,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    ROUTER_SOLICITATION = 133,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* --- taking apart --- */

static bool unpack_udp(const uint8_t *p, size_t len, struct lease_packet *ret)
{
    if (len < UDP_LEN || get16(p + 4) < UDP_LEN || get16(p + 4) > len)
        return false;
    ret->port = get16(p + 2);
    ret->payload = p + UDP_LEN;
    ret->len = (size_t)get16(p + 4) - UDP_LEN;
    return ret->ipv6 ? ret->port == LEASE_SERVER6
                     : ret->port == LEASE_SERVER4 || ret->port == LEASE_CLIENT4;
}

static bool unpack4(const uint8_t *p, size_t len, struct lease_packet *ret)
{
    if (len < IPV4_LEN || p[0] >> 4 != 4)
        return false;
    size_t head = (size_t)(p[0] & 15) * 4, total = get16(p + 2);
    if (head < IPV4_LEN || total < head || total > len || p[9] != IPPROTO_UDP)
        return false;
    if (get16(p + 6) & 0x3fff) /* a piece of one */
        return false;
    return unpack_udp(p + head, total - head, ret);
}

/* Without extension headers: none of these has any. */
static bool unpack6(const uint8_t *p, size_t len, struct lease_packet *ret)
{
    if (len < IPV6_LEN || p[0] >> 4 != 6 || get16(p + 4) > len - IPV6_LEN)
        return false;
    ret->ipv6 = true;
    memcpy(&ret->from6, p + 8, sizeof(ret->from6));
    if (!IN6_IS_ADDR_LINKLOCAL(&ret->from6))
        return false;
    if (p[6] == IPPROTO_UDP)
        return unpack_udp(p + IPV6_LEN, get16(p + 4), ret);
    ret->solicitation = p[6] == IPPROTO_ICMPV6 && get16(p + 4) >= 8 && p[7] == 255 &&
                        p[IPV6_LEN] == ROUTER_SOLICITATION;
    return ret->solicitation;
}

bool lease_unpack(const uint8_t *frame, size_t len, struct lease_packet *ret)
{
    *ret = (struct lease_packet){.payload = frame};
    if (len < ETHERNET_LEN || len > LEASE_FRAME_MAX)
        return false;
    memcpy(ret->source, frame + 6, sizeof(ret->source));
    switch (get16(frame + 12)) {
    case TYPE_IPV4:
        return unpack4(frame + ETHERNET_LEN, len - ETHERNET_LEN, ret);
    case TYPE_IPV6:
        return unpack6(frame + ETHERNET_LEN, len - ETHERNET_LEN, ret);
    default:
        return false;
    }
}

/* --- putting together --- */

void lease_put(struct lease_writer *w, const void *data, size_t len)
{
    if (len > LEASE_FRAME_MAX - w->len) {
        w->full = true;
        return;
    }
    memcpy(w->bytes + w->len, data, len);
    w->len += len;
}

void lease_put8(struct lease_writer *w, uint8_t n)
{
    lease_put(w, &n, sizeof(n));
}

void lease_put16(struct lease_writer *w, uint16_t n)
{
    n = htons(n);
    lease_put(w, &n, sizeof(n));
}

void lease_put32(struct lease_writer *w, uint32_t n)
{
    n = htonl(n);
    lease_put(w, &n, sizeof(n));
}

static void set16(uint8_t *p, uint16_t n)
{
    p[0] = (uint8_t)(n >> 8);
    p[1] = (uint8_t)n;
}

static uint32_t sum_of(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += get16(p + i);
    return len % 2 ? sum + (uint32_t)(p[len - 1] << 8) : sum;
}

static uint16_t checksum(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

struct in6_addr lease_link_local(const uint8_t mac[6])
{
    struct in6_addr a = {.s6_addr = {0xfe, 0x80}};
    const uint8_t id[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(a.s6_addr + 8, id, sizeof(id));
    return a;
}

static void begin(struct lease_writer *w, const uint8_t from[6], const uint8_t to[6], uint16_t type)
{
    lease_put(w, to, 6);
    lease_put(w, from, 6);
    lease_put16(w, type);
}

static void put_udp(struct lease_writer *w, uint16_t from, uint16_t to)
{
    lease_put16(w, from);
    lease_put16(w, to);
    lease_put32(w, 0); /* length and checksum */
}

void lease_begin4(struct lease_writer *w, const uint8_t from[6], const uint8_t to[6],
                  struct in_addr source, struct in_addr target, uint16_t from_port,
                  uint16_t to_port)
{
    static const uint8_t head[] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, IPPROTO_UDP, 0, 0};
    begin(w, from, to, TYPE_IPV4);
    lease_put(w, head, sizeof(head));
    lease_put(w, &source, sizeof(source));
    lease_put(w, &target, sizeof(target));
    put_udp(w, from_port, to_port);
}

size_t lease_end4(struct lease_writer *w)
{
    uint8_t *ip = w->bytes + ETHERNET_LEN, *udp = ip + IPV4_LEN;
    if (w->full)
        return 0;
    uint16_t len = (uint16_t)(w->len - ETHERNET_LEN - IPV4_LEN);
    set16(ip + 2, (uint16_t)(len + IPV4_LEN));
    set16(ip + 10, checksum(sum_of(ip, IPV4_LEN, 0)));
    set16(udp + 4, len);
    uint16_t sum = checksum(sum_of(udp, len, sum_of(ip + 12, 8, (uint32_t)IPPROTO_UDP + len)));
    set16(udp + 6, sum ? sum : 0xffff);
    return w->len;
}

void lease_begin6(struct lease_writer *w, const uint8_t from[6], const uint8_t to[6],
                  uint8_t protocol, const struct in6_addr *target)
{
    static const uint8_t head[] = {0x60, 0, 0, 0, 0, 0};
    struct in6_addr source = lease_link_local(from);
    begin(w, from, to, TYPE_IPV6);
    lease_put(w, head, sizeof(head));
    lease_put8(w, protocol);
    lease_put8(w, 255);
    lease_put(w, &source, sizeof(source));
    lease_put(w, target, sizeof(*target));
    if (protocol == IPPROTO_UDP)
        put_udp(w, LEASE_SERVER6, LEASE_SERVER6 - 1);
}

size_t lease_end6(struct lease_writer *w)
{
    uint8_t *ip = w->bytes + ETHERNET_LEN, *body = ip + IPV6_LEN;
    if (w->full)
        return 0;
    bool udp = ip[6] == IPPROTO_UDP;
    uint16_t len = (uint16_t)(w->len - ETHERNET_LEN - IPV6_LEN);
    set16(ip + 4, len);
    if (udp)
        set16(body + 4, len);
    uint16_t sum = checksum(sum_of(body, len, sum_of(ip + 8, 32, (uint32_t)ip[6] + len)));
    set16(body + (udp ? 6 : 2), sum ? sum : 0xffff);
    return w->len;
}

/* --- which of them --- */

bool lease_question(const uint8_t *frame, size_t len, uint8_t ret_mac[6])
{
    struct lease_packet q;
    if (!lease_unpack(frame, len, &q) || q.port == LEASE_CLIENT4)
        return false;
    memcpy(ret_mac, q.source, sizeof(q.source));
    return true;
}

size_t lease_answer(const uint8_t server[6], const struct lease_place *p, const uint8_t *frame,
                    size_t len, uint8_t *out)
{
    struct lease_packet q;
    if (!lease_unpack(frame, len, &q) || q.port == LEASE_CLIENT4)
        return 0;
    if (!q.ipv6)
        return p->prefix ? lease_answer4(server, p, &q, out) : 0;
    if (!p->prefix6)
        return 0;
    return q.solicitation ? lease_advertise(server, p, q.source, out)
                          : lease_answer6(server, p, &q, out);
}
