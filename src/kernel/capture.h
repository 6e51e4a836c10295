/* Packets of a link, written in pcap form (libpcap's file format, version 2.4). */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Until stop_fd can be read, count packets are written (0: no end), or fd is closed at the other
 * side (success). Needs CAP_NET_RAW. */
int capture_run(const char *link, int fd, uint64_t count, int stop_fd,
                struct error *err) _must_check_;
