/* Shared by the files of wire/lease only. */
#pragma once

#include "wire/lease/lease.h"

#define LEASE_SECONDS 3600u

/* UDP ports of both sides. */
enum { LEASE_SERVER4 = 67, LEASE_CLIENT4 = 68, LEASE_SERVER6 = 547 };

/* A frame taken apart: everything lies inside the bytes that were given. */
struct lease_packet {
    uint8_t source[6];
    bool ipv6, solicitation; /* a router solicitation has no payload here */
    struct in6_addr from6;
    uint16_t port; /* where it was sent to: one of the above, or 0 */
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
                  struct in_addr source, struct in_addr target, uint16_t from_port,
                  uint16_t to_port);
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

/* --- DHCP for IPv4, both sides (dhcp4.c) --- */

enum {
    DHCP_HEAD = 236, /* the fixed part; the magic number and options follow */
    DHCP_MASK = 1,
    DHCP_ROUTER = 3,
    DHCP_DNS = 6,
    DHCP_NAME = 12,
    DHCP_MTU = 26,
    DHCP_REQUESTED = 50,
    DHCP_SECONDS = 51,
    DHCP_TYPE = 53,
    DHCP_SERVER = 54,
    DHCP_WANTED = 55,
    DHCP_LARGEST = 57,
    DHCP_T1 = 58,
    DHCP_T2 = 59,
    DHCP_CLIENT = 61,
    DHCP_END = 255,
};
enum dhcp_message {
    DHCP_DISCOVER = 1,
    DHCP_OFFER,
    DHCP_REQUEST,
    DHCP_DECLINE,
    DHCP_ACK,
    DHCP_NAK,
    DHCP_RELEASE,
    DHCP_INFORM,
};
extern const uint8_t dhcp_magic[4];

/* Calls back for each option of a message; false: it is none. */
bool dhcp_options(const uint8_t *message, size_t len,
                  void (*take)(void *context, uint8_t code, const uint8_t *data, size_t len),
                  void *context);
void dhcp_put_option(struct lease_writer *w, uint8_t code, const void *data, uint8_t len);
