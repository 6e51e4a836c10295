/*
 * The other side of DHCP for IPv4 (RFC 2131): who asks the LAN for an address and keeps it, as a
 * state machine without clock, socket or memory of its own.
 *
 *   SEARCHING   nobody has promised anything: DISCOVER, again and again, ever more slowly
 *   REQUESTING  a server has made an offer: REQUEST; after four without an answer, SEARCHING
 *   BOUND       until T1, half of the lease's time
 *   RENEWING    REQUEST to the server that gave it; from T2 on to all (rebinding); at the lease's
 *               end there is no address any more: SEARCHING
 *
 * What servers send is only ever compared with what was asked: the number, the hardware address,
 * the kind of answer that is due. A grant that makes no sense counts as no answer.
 */
#pragma once

#include "wire/lease/lease.h"

#define LEASE_DNS_MAX   3
#define LEASE_GRANT_MAX 256 /* a grant as text */

/* What the LAN lets an instance use. */
struct lease_grant {
    struct in_addr address; /* 0.0.0.0: nothing */
    uint8_t prefix;         /* 8 to 30 */
    struct in_addr gateway; /* 0.0.0.0: none */
    struct in_addr dns[LEASE_DNS_MAX];
    size_t n_dns;
};
/* Whether an instance can have such an address, and reach that gateway. */
bool lease_grant_good(const struct lease_grant *g);
/* "192.168.7.20/24 192.168.7.1 192.168.7.2,192.168.7.3", "-" for what is not there; a grant of
 * nothing is "-". Only good ones are parsed: 0 or -EINVAL. */
int lease_grant_parse(const char *text, struct lease_grant *ret);
void lease_grant_format(const struct lease_grant *g, char ret[static LEASE_GRANT_MAX]);

enum lease_phase { LEASE_SEARCHING, LEASE_REQUESTING, LEASE_BOUND, LEASE_RENEWING };

struct lease_client {
    uint8_t mac[6];
    char name[LEASE_NAME_MAX]; /* told to the server; "" for none */
    enum lease_phase phase;
    uint32_t number;     /* of the exchange */
    unsigned int tries;  /* of the phase */
    int64_t send_ms;     /* when the next message is due */
    int64_t began_ms;    /* of the exchange */
    struct in_addr wish; /* what it had before; 0.0.0.0: nothing */
    struct lease_grant grant, offer;
    struct in_addr server; /* who gave the grant or made the offer */
    uint8_t server_mac[6]; /* and where its answer came from */
    int64_t renew_ms, rebind_ms, end_ms;
};

/* random: any number; it tells the answers of this client from those to others. */
void lease_client_begin(struct lease_client *c, const uint8_t mac[6], const char *name,
                        struct in_addr wish, uint32_t random, int64_t now_ms);
/* When lease_client_step is to be called next. */
int64_t lease_client_due(const struct lease_client *c);
/* What is to be sent now: its length in out (of LEASE_FRAME_MAX bytes), 0 for nothing. True in
 * *ret_changed when the grant has ended. */
size_t lease_client_step(struct lease_client *c, int64_t now_ms, uint8_t *out, bool *ret_changed);
/* A frame that arrived: whether the grant is another one now. */
bool lease_client_hear(struct lease_client *c, int64_t now_ms, const uint8_t *frame, size_t len);
/* The address is given back: what to send, 0 for nothing. */
size_t lease_client_release(struct lease_client *c, uint8_t *out);
