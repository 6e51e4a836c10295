/* DHCP for IPv4 (RFC 2131, options of RFC 2132): the server, and what both sides have in common. */
#include <arpa/inet.h>
#include <string.h>

#include "wire/lease/lease-internal.h"

const uint8_t dhcp_magic[4] = {99, 130, 83, 99};

struct question {
    uint8_t type;
    struct in_addr own, requested, server; /* 0.0.0.0: not said */
};

bool dhcp_options(const uint8_t *b, size_t len,
                  void (*take)(void *context, uint8_t code, const uint8_t *data, size_t len),
                  void *context)
{
    if (len < DHCP_HEAD + sizeof(dhcp_magic) ||
        memcmp(b + DHCP_HEAD, dhcp_magic, sizeof(dhcp_magic)) != 0)
        return false;
    for (size_t i = DHCP_HEAD + sizeof(dhcp_magic); i < len && b[i] != DHCP_END;) {
        if (b[i] == 0) { /* padding */
            i++;
            continue;
        }
        if (i + 1 >= len || b[i + 1] > len - i - 2)
            return false;
        take(context, b[i], b + i + 2, b[i + 1]);
        i += 2u + b[i + 1];
    }
    return true;
}

void dhcp_put_option(struct lease_writer *w, uint8_t code, const void *data, uint8_t len)
{
    lease_put8(w, code);
    lease_put8(w, len);
    lease_put(w, data, len);
}

static void take_option(void *context, uint8_t code, const uint8_t *data, size_t len)
{
    struct question *q = context;
    if (code == DHCP_TYPE && len == 1)
        q->type = data[0];
    if (code == DHCP_REQUESTED && len == sizeof(q->requested))
        memcpy(&q->requested, data, len);
    if (code == DHCP_SERVER && len == sizeof(q->server))
        memcpy(&q->server, data, len);
}

/* A request of the sender itself, by no relay. */
static bool parse(const struct lease_packet *p, struct question *ret)
{
    static const uint8_t none[4];
    const uint8_t *b = p->payload;
    *ret = (struct question){0};
    if (p->len < DHCP_HEAD || b[0] != 1 || b[1] != 1 || b[2] != 6 ||
        memcmp(b + 24, none, sizeof(none)) != 0 || memcmp(b + 28, p->source, 6) != 0)
        return false;
    memcpy(&ret->own, b + 12, sizeof(ret->own));
    return dhcp_options(b, p->len, take_option, ret);
}

/* What a request asks for must be what there is; 0: nothing is said. */
static uint8_t answer_type(const struct question *q, const struct lease_place *p)
{
    struct in_addr wanted = q->requested.s_addr ? q->requested : q->own;
    if (q->type == DHCP_DISCOVER)
        return DHCP_OFFER;
    if (q->type == DHCP_INFORM)
        return DHCP_ACK;
    if (q->type != DHCP_REQUEST)
        return 0;
    if (q->server.s_addr && q->server.s_addr != p->gateway.s_addr)
        return 0; /* another server's offer was taken */
    return wanted.s_addr == p->address.s_addr ? DHCP_ACK : DHCP_NAK;
}

static void put_option32(struct lease_writer *w, uint8_t code, uint32_t n)
{
    n = htonl(n);
    dhcp_put_option(w, code, &n, sizeof(n));
}

static void put_options(struct lease_writer *w, const struct lease_place *p, bool leased)
{
    uint16_t mtu = htons(p->mtu);
    if (leased)
        put_option32(w, DHCP_SECONDS, LEASE_SECONDS);
    put_option32(w, DHCP_MASK, ~(0xffffffffu >> p->prefix));
    if (p->way_out)
        dhcp_put_option(w, DHCP_ROUTER, &p->gateway, sizeof(p->gateway));
    dhcp_put_option(w, DHCP_DNS, &p->gateway, sizeof(p->gateway));
    dhcp_put_option(w, DHCP_MTU, &mtu, sizeof(mtu));
    if (p->name[0])
        dhcp_put_option(w, DHCP_NAME, p->name, (uint8_t)strlen(p->name));
}

static void put_head(struct lease_writer *w, const struct lease_packet *q, struct in_addr yours)
{
    static const uint8_t nothing[DHCP_HEAD - 34];
    static const uint8_t reply[4] = {2, 1, 6, 0};
    lease_put(w, reply, sizeof(reply));
    lease_put(w, q->payload + 4, 12); /* number, seconds, flags, the address it has */
    lease_put(w, &yours, sizeof(yours));
    lease_put32(w, 0);
    lease_put32(w, 0);
    lease_put(w, q->source, 6);
    lease_put(w, nothing, sizeof(nothing));
    lease_put(w, dhcp_magic, sizeof(dhcp_magic));
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
    bool leased = type != DHCP_NAK && q.type != DHCP_INFORM, to_all = packet->payload[10] & 0x80;
    struct in_addr yours = leased ? p->address : nowhere;
    struct in_addr target = to_all || type == DHCP_NAK ? all : q.own.s_addr ? p->address : yours;
    lease_begin4(&w, server, packet->source, p->gateway, target.s_addr ? target : all,
                 LEASE_SERVER4, LEASE_CLIENT4);
    put_head(&w, packet, yours);
    dhcp_put_option(&w, DHCP_TYPE, &type, sizeof(type));
    dhcp_put_option(&w, DHCP_SERVER, &p->gateway, sizeof(p->gateway));
    if (type != DHCP_NAK)
        put_options(&w, p, leased);
    lease_put8(&w, DHCP_END);
    return lease_end4(&w);
}
