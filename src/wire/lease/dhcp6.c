/* IPv6: DHCPv6 (RFC 8415) and router advertisements (RFC 4861), which send whoever asks there. */
#include <arpa/inet.h>
#include <string.h>

#include "wire/lease/lease-internal.h"

enum {
    OPTION_CLIENT = 1,
    OPTION_SERVER = 2,
    OPTION_IA_NA = 3,
    OPTION_ADDRESS = 5,
    OPTION_STATUS = 13,
    DUID_MAX = 130,
    DUID_LL = 3,
    DUID_LEN = 10, /* ours: kind, kind of hardware, hardware address */
    HEAD_LEN = 4,
};
enum message {
    SOLICIT = 1,
    ADVERTISE = 2,
    REQUEST = 3,
    CONFIRM = 4,
    RENEW = 5,
    REBIND = 6,
    REPLY = 7,
    RELEASE = 8,
    DECLINE = 9,
    INFORMATION = 11,
};

struct question {
    uint8_t type;
    const uint8_t *client, *server, *ia; /* inside the packet; NULL: not there */
    size_t client_len, server_len;
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void take_option(struct question *q, uint16_t code, const uint8_t *data, size_t len)
{
    if (code == OPTION_CLIENT && len <= DUID_MAX) {
        q->client = data;
        q->client_len = len;
    }
    if (code == OPTION_SERVER) {
        q->server = data;
        q->server_len = len;
    }
    if (code == OPTION_IA_NA && len >= 12 && !q->ia)
        q->ia = data;
}

static bool parse(const struct lease_packet *p, struct question *ret)
{
    if (p->len < HEAD_LEN)
        return false;
    *ret = (struct question){.type = p->payload[0]};
    for (size_t i = HEAD_LEN; i < p->len;) {
        if (p->len - i < 4)
            return false;
        size_t len = get16(p->payload + i + 2);
        if (len > p->len - i - 4)
            return false;
        take_option(ret, get16(p->payload + i), p->payload + i + 4, len);
        i += 4 + len;
    }
    return ret->client || ret->type == INFORMATION;
}

static void own_id(const uint8_t server[6], uint8_t ret[DUID_LEN])
{
    static const uint8_t head[4] = {0, DUID_LL, 0, 1};
    memcpy(ret, head, sizeof(head));
    memcpy(ret + sizeof(head), server, 6);
}

static void put_address(struct lease_writer *w, const struct lease_place *p, const uint8_t *ia)
{
    lease_put16(w, OPTION_IA_NA);
    lease_put16(w, 12 + 28);
    lease_put(w, ia, 4); /* its number */
    lease_put32(w, LEASE_SECONDS / 2);
    lease_put32(w, LEASE_SECONDS / 5 * 4);
    lease_put16(w, OPTION_ADDRESS);
    lease_put16(w, 24);
    lease_put(w, &p->address6, sizeof(p->address6));
    lease_put32(w, LEASE_SECONDS);
    lease_put32(w, LEASE_SECONDS * 2);
}

static bool wants_address(uint8_t type)
{
    return type == SOLICIT || type == REQUEST || type == RENEW || type == REBIND;
}

size_t lease_answer6(const uint8_t server[6], const struct lease_place *p,
                     const struct lease_packet *packet, uint8_t *out)
{
    struct lease_writer w = {.bytes = out};
    struct question q;
    uint8_t id[DUID_LEN];
    own_id(server, id);
    if (!parse(packet, &q) || q.type < SOLICIT || q.type > INFORMATION || q.type == ADVERTISE ||
        q.type == REPLY || q.type == INFORMATION - 1)
        return 0;
    if (q.server && (q.server_len != DUID_LEN || memcmp(q.server, id, DUID_LEN) != 0))
        return 0; /* another's */
    lease_begin6(&w, server, packet->source, IPPROTO_UDP, &packet->from6);
    lease_put8(&w, q.type == SOLICIT ? ADVERTISE : REPLY);
    lease_put(&w, packet->payload + 1, 3);
    if (q.client) {
        lease_put16(&w, OPTION_CLIENT);
        lease_put16(&w, (uint16_t)q.client_len);
        lease_put(&w, q.client, q.client_len);
    }
    lease_put16(&w, OPTION_SERVER);
    lease_put16(&w, DUID_LEN);
    lease_put(&w, id, DUID_LEN);
    if (q.ia && wants_address(q.type))
        put_address(&w, p, q.ia);
    if (q.type == CONFIRM || q.type == RELEASE || q.type == DECLINE) {
        lease_put16(&w, OPTION_STATUS);
        lease_put16(&w, 2);
        lease_put16(&w, 0);
    }
    return lease_end6(&w);
}

/* --- router advertisements --- */

enum {
    ADVERTISEMENT = 134,
    MANAGED = 0xc0,  /* addresses and the rest by DHCPv6 */
    ON_LINK = 0x80,  /* and none to be made up */
    FOREVER = 86400, /* unasked ones come far more often */
    LIFETIME = 9000,
};

static void put_prefix(struct lease_writer *w, const struct lease_place *p)
{
    struct in6_addr subnet = p->address6;
    for (size_t i = 0; i < 16; i++) {
        int bits = (int)p->prefix6 - (int)i * 8;
        subnet.s6_addr[i] &= bits >= 8 ? 0xff : bits <= 0 ? 0 : (uint8_t)(0xff << (8 - bits));
    }
    lease_put8(w, 3);
    lease_put8(w, 4);
    lease_put8(w, p->prefix6);
    lease_put8(w, ON_LINK);
    lease_put32(w, FOREVER);
    lease_put32(w, FOREVER);
    lease_put32(w, 0);
    lease_put(w, &subnet, sizeof(subnet));
}

size_t lease_advertise(const uint8_t server[6], const struct lease_place *p, const uint8_t mac[6],
                       uint8_t *out)
{
    struct lease_writer w = {.bytes = out};
    struct in6_addr to = lease_link_local(mac);
    if (!p->prefix6)
        return 0;
    lease_begin6(&w, server, mac, IPPROTO_ICMPV6, &to);
    lease_put8(&w, ADVERTISEMENT);
    lease_put8(&w, 0);
    lease_put16(&w, 0); /* checksum */
    lease_put8(&w, 64); /* hop limit */
    lease_put8(&w, MANAGED);
    lease_put16(&w, p->way_out ? LIFETIME : 0);
    lease_put32(&w, 0);
    lease_put32(&w, 0);
    lease_put8(&w, 1); /* our hardware address */
    lease_put8(&w, 1);
    lease_put(&w, server, 6);
    lease_put8(&w, 5);
    lease_put8(&w, 1);
    lease_put16(&w, 0);
    lease_put32(&w, p->mtu);
    put_prefix(&w, p);
    return lease_end6(&w);
}
