/* DHCP for IPv4 (RFC 2131, options of RFC 2132). */
#include <arpa/inet.h>
#include <string.h>

#include "wire/lease/lease-internal.h"

enum {
    HEAD_LEN = 236, /* the fixed part; the magic number and options follow */
    MAGIC_LEN = 4,
    OPTION_MASK = 1,
    OPTION_ROUTER = 3,
    OPTION_DNS = 6,
    OPTION_NAME = 12,
    OPTION_MTU = 26,
    OPTION_REQUESTED = 50,
    OPTION_SECONDS = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_END = 255,
};
enum message { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static const uint8_t magic[MAGIC_LEN] = {99, 130, 83, 99};

struct question {
    uint8_t type;
    struct in_addr own, requested, server; /* 0.0.0.0: not said */
};

static void take_option(struct question *q, uint8_t code, const uint8_t *data, size_t len)
{
    if (code == OPTION_TYPE && len == 1)
        q->type = data[0];
    if (code == OPTION_REQUESTED && len == sizeof(q->requested))
        memcpy(&q->requested, data, len);
    if (code == OPTION_SERVER && len == sizeof(q->server))
        memcpy(&q->server, data, len);
}

/* A request of the sender itself, by no relay. */
static bool parse(const struct lease_packet *p, struct question *ret)
{
    static const uint8_t none[4];
    const uint8_t *b = p->payload;
    *ret = (struct question){0};
    if (p->len < HEAD_LEN + MAGIC_LEN || b[0] != 1 || b[1] != 1 || b[2] != 6 ||
        memcmp(b + 24, none, sizeof(none)) != 0 || memcmp(b + 28, p->source, 6) != 0 ||
        memcmp(b + HEAD_LEN, magic, sizeof(magic)) != 0)
        return false;
    memcpy(&ret->own, b + 12, sizeof(ret->own));
    for (size_t i = HEAD_LEN + MAGIC_LEN; i < p->len && b[i] != OPTION_END;) {
        if (b[i] == 0) { /* padding */
            i++;
            continue;
        }
        if (i + 1 >= p->len || b[i + 1] > p->len - i - 2)
            return false;
        take_option(ret, b[i], b + i + 2, b[i + 1]);
        i += 2u + b[i + 1];
    }
    return true;
}

/* What a request asks for must be what there is; 0: nothing is said. */
static uint8_t answer_type(const struct question *q, const struct lease_place *p)
{
    struct in_addr wanted = q->requested.s_addr ? q->requested : q->own;
    if (q->type == DISCOVER)
        return OFFER;
    if (q->type == INFORM)
        return ACK;
    if (q->type != REQUEST)
        return 0;
    if (q->server.s_addr && q->server.s_addr != p->gateway.s_addr)
        return 0; /* another server's offer was taken */
    return wanted.s_addr == p->address.s_addr ? ACK : NAK;
}

static void put_option(struct lease_writer *w, uint8_t code, const void *data, uint8_t len)
{
    lease_put8(w, code);
    lease_put8(w, len);
    lease_put(w, data, len);
}

static void put_option32(struct lease_writer *w, uint8_t code, uint32_t n)
{
    n = htonl(n);
    put_option(w, code, &n, sizeof(n));
}

static void put_options(struct lease_writer *w, const struct lease_place *p, bool leased)
{
    uint16_t mtu = htons(p->mtu);
    if (leased)
        put_option32(w, OPTION_SECONDS, LEASE_SECONDS);
    put_option32(w, OPTION_MASK, ~(0xffffffffu >> p->prefix));
    if (p->way_out)
        put_option(w, OPTION_ROUTER, &p->gateway, sizeof(p->gateway));
    put_option(w, OPTION_DNS, &p->gateway, sizeof(p->gateway));
    put_option(w, OPTION_MTU, &mtu, sizeof(mtu));
    if (p->name[0])
        put_option(w, OPTION_NAME, p->name, (uint8_t)strlen(p->name));
}

static void put_head(struct lease_writer *w, const struct lease_packet *q, struct in_addr yours)
{
    static const uint8_t nothing[HEAD_LEN - 34];
    static const uint8_t reply[4] = {2, 1, 6, 0};
    lease_put(w, reply, sizeof(reply));
    lease_put(w, q->payload + 4, 12); /* number, seconds, flags, the address it has */
    lease_put(w, &yours, sizeof(yours));
    lease_put32(w, 0);
    lease_put32(w, 0);
    lease_put(w, q->source, 6);
    lease_put(w, nothing, sizeof(nothing));
    lease_put(w, magic, sizeof(magic));
}

size_t lease_answer4(const uint8_t server[6], const struct lease_place *p,
                     const struct lease_packet *packet, uint8_t *out)
{
    static const struct in_addr nowhere, all = {0xffffffff};
    struct lease_writer w = {.bytes = out};
    struct question q;
    if (!parse(packet, &q))
        return 0;
    uint8_t type = answer_type(&q, p);
    if (!type)
        return 0;
    bool leased = type != NAK && q.type != INFORM, to_all = packet->payload[10] & 0x80;
    struct in_addr yours = leased ? p->address : nowhere;
    struct in_addr target = to_all || type == NAK ? all : q.own.s_addr ? p->address : yours;
    lease_begin4(&w, server, packet->source, p->gateway, target.s_addr ? target : all);
    put_head(&w, packet, yours);
    put_option(&w, OPTION_TYPE, &type, sizeof(type));
    put_option(&w, OPTION_SERVER, &p->gateway, sizeof(p->gateway));
    if (type != NAK)
        put_options(&w, p, leased);
    lease_put8(&w, OPTION_END);
    return lease_end4(&w);
}
