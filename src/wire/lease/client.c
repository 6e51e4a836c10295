/* The state machine of client.h, and its messages. */
#include "wire/lease/client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "wire/lease/lease-internal.h"

#define FIRST_WAIT_MS   1000
#define LAST_WAIT_MS    64000
#define REQUEST_TRIES   4
#define RENEW_WAIT_MS   10000 /* the shortest between two attempts to renew */
#define SECONDS_MIN     30u   /* a lease shorter than this is asked for in vain */
#define SECONDS_MAX     (365u * 86400u)
#define PAYLOAD_MIN     300 /* of BOOTP; some servers hear nothing shorter */
#define PAYLOAD_LARGEST 1460

/* --- what a server says --- */

struct answer {
    uint8_t type;
    struct in_addr server, mask;
    uint32_t seconds, t1, t2; /* 0: not said */
    struct lease_grant grant;
};

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The first counts: an option that is there twice is no longer list of ours. */
static void take_number(uint32_t *field, const uint8_t *data, size_t len)
{
    if (len == 4 && *field == 0)
        *field = get32(data);
}

static void take_address(struct in_addr *field, const uint8_t *data, size_t len)
{
    if (len >= 4 && len % 4 == 0 && field->s_addr == 0)
        memcpy(field, data, 4);
}

static void take_option(void *context, uint8_t code, const uint8_t *data, size_t len)
{
    struct answer *a = context;
    switch (code) {
    case DHCP_TYPE:
        a->type = len == 1 ? data[0] : 0;
        return;
    case DHCP_SERVER:
        take_address(&a->server, data, len);
        return;
    case DHCP_MASK:
        take_address(&a->mask, data, len);
        return;
    case DHCP_ROUTER:
        take_address(&a->grant.gateway, data, len);
        return;
    case DHCP_DNS:
        for (size_t i = 0; i + 4 <= len && a->grant.n_dns < LEASE_DNS_MAX; i += 4)
            memcpy(&a->grant.dns[a->grant.n_dns++], data + i, 4);
        return;
    case DHCP_SECONDS:
        take_number(&a->seconds, data, len);
        return;
    case DHCP_T1:
        take_number(&a->t1, data, len);
        return;
    case DHCP_T2:
        take_number(&a->t2, data, len);
        return;
    default:
        return;
    }
}

/* 0 when the mask has holes. */
static uint8_t prefix_of(struct in_addr mask)
{
    uint32_t n = ntohl(mask.s_addr);
    uint8_t prefix = 0;
    for (; n & 0x80000000u; n <<= 1)
        prefix++;
    return n == 0 ? prefix : 0;
}

/* An answer to this client's last question. */
static bool parse_answer(const struct lease_client *c, const uint8_t *frame, size_t len,
                         struct answer *ret)
{
    struct lease_packet p;
    if (!lease_unpack(frame, len, &p) || p.ipv6 || p.port != LEASE_CLIENT4 || p.len < DHCP_HEAD)
        return false;
    const uint8_t *b = p.payload;
    if (b[0] != 2 || b[1] != 1 || b[2] != 6 || get32(b + 4) != c->number ||
        memcmp(b + 28, c->mac, sizeof(c->mac)) != 0)
        return false;
    *ret = (struct answer){.type = 0};
    if (!dhcp_options(b, p.len, take_option, ret) || ret->server.s_addr == 0)
        return false;
    memcpy(&ret->grant.address, b + 16, sizeof(ret->grant.address));
    ret->grant.prefix = prefix_of(ret->mask);
    /* A router that it could not reach and names that nobody can ask for are as good as none. */
    if (!lease_grant_good(&ret->grant))
        ret->grant.n_dns = 0;
    if (!lease_grant_good(&ret->grant))
        ret->grant.gateway.s_addr = 0;
    return ret->type == DHCP_NAK || lease_grant_good(&ret->grant);
}

/* --- what it says --- */

static void put_head(struct lease_writer *w, const struct lease_client *c, uint8_t type,
                     struct in_addr own, int64_t now_ms)
{
    static const uint8_t nothing[DHCP_HEAD - 34], four[4];
    static const uint8_t request[4] = {1, 1, 6, 0};
    int64_t since = MIN((now_ms - c->began_ms) / 1000, (int64_t)0xffff);
    lease_put(w, request, sizeof(request));
    lease_put32(w, c->number);
    lease_put16(w, (uint16_t)MAX(since, (int64_t)0));
    lease_put16(w, 0);
    lease_put(w, &own, sizeof(own));
    for (int i = 0; i < 3; i++) /* its address, the next server's, a relay's */
        lease_put(w, four, sizeof(four));
    lease_put(w, c->mac, sizeof(c->mac));
    lease_put(w, nothing, sizeof(nothing));
    lease_put(w, dhcp_magic, sizeof(dhcp_magic));
    dhcp_put_option(w, DHCP_TYPE, &type, 1);
    uint8_t id[7] = {1};
    memcpy(id + 1, c->mac, sizeof(c->mac));
    dhcp_put_option(w, DHCP_CLIENT, id, sizeof(id));
}

static void put_wants(struct lease_writer *w, const struct lease_client *c)
{
    static const uint8_t wanted[] = {DHCP_MASK,    DHCP_ROUTER, DHCP_DNS,
                                     DHCP_SECONDS, DHCP_T1,     DHCP_T2};
    static const uint8_t largest[2] = {PAYLOAD_LARGEST >> 8, PAYLOAD_LARGEST & 0xff};
    dhcp_put_option(w, DHCP_WANTED, wanted, sizeof(wanted));
    dhcp_put_option(w, DHCP_LARGEST, largest, sizeof(largest));
    if (c->name[0])
        dhcp_put_option(w, DHCP_NAME, c->name, (uint8_t)strlen(c->name));
}

static size_t end_message(struct lease_writer *w, size_t begin)
{
    lease_put8(w, DHCP_END);
    while (w->len - begin < PAYLOAD_MIN)
        lease_put8(w, 0);
    return lease_end4(w);
}

static size_t put_message(const struct lease_client *c, enum dhcp_message type, int64_t now_ms,
                          uint8_t *out)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const struct in_addr nowhere, all = {0xffffffff};
    struct lease_writer w = {.bytes = out};
    bool has = c->phase == LEASE_BOUND || c->phase == LEASE_RENEWING;
    bool to_server = has && (type == DHCP_RELEASE || now_ms < c->rebind_ms);
    struct in_addr own = has ? c->grant.address : nowhere;
    lease_begin4(&w, c->mac, to_server ? c->server_mac : everybody, own,
                 to_server ? c->server : all, LEASE_CLIENT4, LEASE_SERVER4);
    size_t begin = w.len;
    put_head(&w, c, (uint8_t)type, own, now_ms);
    if (type == DHCP_RELEASE || c->phase == LEASE_REQUESTING)
        dhcp_put_option(&w, DHCP_SERVER, &c->server, sizeof(c->server));
    struct in_addr asked = c->phase == LEASE_REQUESTING ? c->offer.address : c->wish;
    if (!has && asked.s_addr)
        dhcp_put_option(&w, DHCP_REQUESTED, &asked, sizeof(asked));
    if (type != DHCP_RELEASE)
        put_wants(&w, c);
    return end_message(&w, begin);
}

/* --- what happens when --- */

static void search(struct lease_client *c, int64_t now_ms, int64_t wait_ms)
{
    c->phase = LEASE_SEARCHING;
    c->number = c->number * 1664525u + 1013904223u;
    c->tries = 0;
    c->began_ms = now_ms;
    c->send_ms = now_ms + wait_ms;
}

void lease_client_begin(struct lease_client *c, const uint8_t mac[6], const char *name,
                        struct in_addr wish, uint32_t random, int64_t now_ms)
{
    *c = (struct lease_client){.wish = wish, .number = random};
    memcpy(c->mac, mac, sizeof(c->mac));
    if (strlen(name) < sizeof(c->name))
        snprintf(c->name, sizeof(c->name), "%s", name);
    search(c, now_ms, 0);
}

int64_t lease_client_due(const struct lease_client *c)
{
    return c->phase == LEASE_RENEWING ? MIN(c->send_ms, c->end_ms) : c->send_ms;
}

/* Half of what is left of the time, but not all the time. */
static int64_t renewal_wait(const struct lease_client *c, int64_t now_ms)
{
    int64_t until = now_ms < c->rebind_ms ? c->rebind_ms : c->end_ms;
    return MAX((until - now_ms) / 2, (int64_t)RENEW_WAIT_MS);
}

size_t lease_client_step(struct lease_client *c, int64_t now_ms, uint8_t *out, bool *ret_changed)
{
    *ret_changed = false;
    if (now_ms < lease_client_due(c))
        return 0;
    if (c->phase == LEASE_RENEWING && now_ms >= c->end_ms) {
        *ret_changed = true;
        c->wish = c->grant.address;
        c->grant = (struct lease_grant){.prefix = 0};
        search(c, now_ms, 0);
    }
    if (c->phase == LEASE_REQUESTING && c->tries == REQUEST_TRIES)
        search(c, now_ms, 0);
    if (c->phase == LEASE_BOUND) {
        c->phase = LEASE_RENEWING;
        c->number++;
        c->began_ms = now_ms;
    }
    int64_t wait = FIRST_WAIT_MS << MIN(c->tries, 6u);
    c->send_ms = now_ms + (c->phase == LEASE_RENEWING ? renewal_wait(c, now_ms)
                                                      : MIN(wait, (int64_t)LAST_WAIT_MS));
    c->tries++;
    return put_message(c, c->phase == LEASE_SEARCHING ? DHCP_DISCOVER : DHCP_REQUEST, now_ms, out);
}

static void keep_times(struct lease_client *c, const struct answer *a, int64_t now_ms)
{
    uint32_t seconds = MIN(MAX(a->seconds, SECONDS_MIN), SECONDS_MAX);
    uint32_t t2 = a->t2 && a->t2 < seconds ? a->t2 : seconds - seconds / 8;
    uint32_t t1 = a->t1 && a->t1 < t2 ? a->t1 : MIN(seconds / 2, t2);
    c->renew_ms = now_ms + (int64_t)t1 * 1000;
    c->rebind_ms = now_ms + (int64_t)t2 * 1000;
    c->end_ms = now_ms + (int64_t)seconds * 1000;
}

static bool same_grant(const struct lease_grant *a, const struct lease_grant *b)
{
    return a->address.s_addr == b->address.s_addr && a->prefix == b->prefix &&
           a->gateway.s_addr == b->gateway.s_addr && a->n_dns == b->n_dns &&
           memcmp(a->dns, b->dns, a->n_dns * sizeof(a->dns[0])) == 0;
}

/* The times count from when it was asked for, at the latest. */
static bool take_grant(struct lease_client *c, const struct answer *a, const uint8_t *frame,
                       int64_t now_ms)
{
    bool changed = !same_grant(&c->grant, &a->grant);
    c->grant = a->grant;
    c->wish = a->grant.address;
    c->server = a->server;
    memcpy(c->server_mac, frame + 6, sizeof(c->server_mac));
    keep_times(c, a, now_ms);
    c->phase = LEASE_BOUND;
    c->send_ms = c->renew_ms;
    c->tries = 0;
    return changed;
}

static bool refuse(struct lease_client *c, int64_t now_ms)
{
    bool had = c->grant.address.s_addr != 0;
    c->grant = (struct lease_grant){.prefix = 0};
    c->wish.s_addr = 0;
    search(c, now_ms, FIRST_WAIT_MS); /* two that refuse in turn are not to be asked in a circle */
    return had;
}

bool lease_client_hear(struct lease_client *c, int64_t now_ms, const uint8_t *frame, size_t len)
{
    struct answer a;
    if (c->phase == LEASE_BOUND || !parse_answer(c, frame, len, &a))
        return false;
    if (c->phase == LEASE_SEARCHING) {
        if (a.type != DHCP_OFFER)
            return false;
        c->offer = a.grant;
        c->server = a.server;
        c->phase = LEASE_REQUESTING;
        c->tries = 0;
        c->send_ms = now_ms;
        return false;
    }
    if (c->phase == LEASE_REQUESTING && a.server.s_addr != c->server.s_addr)
        return false;
    if (a.type == DHCP_NAK)
        return refuse(c, now_ms);
    return a.type == DHCP_ACK && take_grant(c, &a, frame, now_ms);
}

size_t lease_client_release(struct lease_client *c, uint8_t *out)
{
    if (c->phase != LEASE_BOUND && c->phase != LEASE_RENEWING)
        return 0;
    size_t len = put_message(c, DHCP_RELEASE, c->began_ms, out);
    c->wish = c->grant.address;
    c->grant = (struct lease_grant){.prefix = 0};
    search(c, c->began_ms, 0);
    return len;
}
