/* An instance in the words of `ps`. */
#pragma once

#include "engine/view.h"

/* "Up 3 minutes (Paused)", "Up 2 hours (not answering)", "Exited (0) 5 minutes ago", "Created",
 * "Restarting (1) 2 seconds ago".
 */
struct status_text {
    char s[96];
};
struct status_text instance_status_text(const struct instance_view *v, int64_t now_ns);

/* "QEMU has not answered for 3 minutes", of a machine that does not answer; else "". */
struct status_text instance_silent_text(const struct instance_view *v, int64_t now_ns);

/* "starting", "healthy", "unhealthy", or "none" when it has no health check. */
const char *instance_health(const struct instance_view *v);

/* "0.0.0.0:8080->80/tcp, 0.0.0.0:9000->9000/udp"; owned. */
char *instance_ports_text(const struct instance_view *v);

/* "80/tcp" and "0.0.0.0:8080" of one published port. */
struct port_text {
    char inside[24], outside[64], host_address[46], host_port[8];
};
struct port_text port_text(const struct network_publish *p);

/* The command line between quotation marks, cut to 20 characters unless whole; owned. */
char *instance_command_text(const struct instance_view *v, bool whole);
