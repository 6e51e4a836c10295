/*
 * Addresses for guests that ask: DHCP (RFC 2131), DHCPv6 (RFC 8415) and router advertisements
 * (RFC 4861), as a pure function from one frame to the answer to it.
 *
 * Nothing is leased: whoever asks has a place, which Proa reserved when the instance was made, or
 * gets no answer. So there is no state, and no guest can take what is another's or use anything up.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_FRAME_MAX 1514 /* longer ones are not looked at, and none is made */
#define LEASE_PLACE_MAX 512  /* a place as text */
#define LEASE_NAME_MAX  64

/* What one hardware address gets. */
struct lease_place {
    struct in_addr address, gateway;
    struct in6_addr address6, gateway6;
    uint8_t prefix, prefix6; /* 0: nothing of that family */
    uint16_t mtu;
    bool way_out; /* the gateway leads out */
    char name[LEASE_NAME_MAX];
};
/* "10.1.0.5/24 10.1.0.1 fd00::5/64 fd00::1 1500 out web", "-" for what is not there. 0 or -EINVAL.
 */
int lease_place_parse(const char *text, struct lease_place *ret);
/* ret has LEASE_PLACE_MAX bytes. */
void lease_place_format(const struct lease_place *p, char *ret);

/* "02:50:00:00:00:01"; 0 or -EINVAL. */
int lease_mac_parse(const char *text, uint8_t ret[6]);

/* The hardware address of who asks; false: this is no question for us. */
bool lease_question(const uint8_t *frame, size_t len, uint8_t ret_mac[6]);
/* The answer's length in out (of LEASE_FRAME_MAX bytes), 0 for none. server: the bridge's hardware
 * address. */
size_t lease_answer(const uint8_t server[6], const struct lease_place *p, const uint8_t *frame,
                    size_t len, uint8_t *out);
/* A router's advertisement for one host, unasked. */
size_t lease_advertise(const uint8_t server[6], const struct lease_place *p, const uint8_t mac[6],
                       uint8_t *out);
