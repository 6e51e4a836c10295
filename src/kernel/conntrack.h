/*
 * Connection tracking: forgetting UDP flows whose addresses have changed their meaning. A flow
 * keeps the translation it began with for as long as it has traffic, so one that began before a
 * port was published would never reach the instance, and one of an instance that is gone would go
 * on to whoever has its address next.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "base/error.h"

/* Forgets UDP flows that were addressed to one of ports[0..n) (host order), or are answered by one
 * of two addresses (0.0.0.0 and ::, nobody). */
int conntrack_forget_udp(const uint16_t *ports, size_t n, struct in_addr answered_by,
                         const struct in6_addr *answered_by6, struct error *err) _must_check_;
/* Forgets what this IPv4 address sent to a UDP port: its next question goes where the rules lead it
 * now. */
int conntrack_forget_questions(struct in_addr asker, uint16_t port, struct error *err) _must_check_;
