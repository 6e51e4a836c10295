/* Shared by the files of wire/lease only. */
#pragma once

#include "wire/lease/lease.h"

#define LEASE_SECONDS 3600u

/* A frame taken apart: everything lies inside the bytes that were given. */
struct lease_packet {
    uint8_t source[6];
    bool ipv6, solicitation; /* a router solicitation has no payload here */
    struct in6_addr from6;
    uint16_t port; /* where it was sent to */
    const uint8_t *payload;
    size_t len;
};
bool lease_unpack(const uint8_t *frame, size_t len, struct lease_packet *ret);

/* What is put into a frame of LEASE_FRAME_MAX bytes; what does not fit is lost, and said. */
struct lease_writer {
    uint8_t *bytes;
    size_t len;
    bool full;
};
void lease_put(struct lease_writer *w, const void *data, size_t len);
void lease_put8(struct lease_writer *w, uint8_t n);
void lease_put16(struct lease_writer *w, uint16_t n);
void lease_put32(struct lease_writer *w, uint32_t n);

/* Headers with room to be filled in, and the filling in of lengths and checksums; 0: it was full.
 */
void lease_begin4(struct lease_writer *w, const uint8_t from[6], const uint8_t to[6],
                  struct in_addr source, struct in_addr target);
size_t lease_end4(struct lease_writer *w);
void lease_begin6(struct lease_writer *w, const uint8_t from[6], const uint8_t to[6],
                  uint8_t protocol, const struct in6_addr *target);
size_t lease_end6(struct lease_writer *w);
struct in6_addr lease_link_local(const uint8_t mac[6]);

/* dhcp4.c, dhcp6.c, advert.c: 0 when there is nothing to say. */
size_t lease_answer4(const uint8_t server[6], const struct lease_place *p,
                     const struct lease_packet *q, uint8_t *out);
size_t lease_answer6(const uint8_t server[6], const struct lease_place *p,
                     const struct lease_packet *q, uint8_t *out);
