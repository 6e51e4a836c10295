/*
 * How fast an instance may receive and send: the same for each of its ports, and for containers and
 * machines.
 *
 * What goes to an instance leaves the host by the port's own link, where a token bucket (tbf) makes
 * it wait. What an instance sends comes in there, where nothing can wait: what is too much is
 * dropped by the bridge table, before any other rule looks at it, by a limit object that the map
 * `rates` names for the link. Both are on the host's side, where no instance reaches them. The
 * bucket goes with the link; limit and element go with the port's other rules.
 *
 * Connections bear losses badly, so what a container sends waits in a bucket on its side, too: then
 * the limit has nothing to drop, unless somebody inside (CAP_NET_ADMIN) takes that bucket away.
 */
#include <net/if.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

#define RATE_MIN 1000ull /* bytes a second: less than 8kbit carries no connection */
#define RATE_MAX                                                                                   \
    12500000000ull /* 100 gigabits: nftables counts a second's nanoseconds in 64 bits */
#define BURST_MIN  (128u << 10) /* the kernel sends up to 64 KiB as one packet */
#define BURST_PART 10           /* or what may be sent in a tenth of a second */

static uint64_t burst_in(uint64_t bytes_per_s)
{
    return MAX(bytes_per_s / BURST_PART, (uint64_t)BURST_MIN);
}

/* nftables lets a whole second's worth through at once, and this on top. */
uint64_t rate_burst_out(uint64_t bytes_per_s)
{
    return bytes_per_s < BURST_MIN ? BURST_MIN - bytes_per_s : 1;
}

/* "10mbit", "10m", "512kbit", "8000": bits a second, powers of 1000. */
static int parse_bits(const char *text, uint64_t *ret_bytes_per_s, struct error *err)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1},        {"bit", 1},        {"k", 1000},       {"kbit", 1000},
                 {"m", 1000000}, {"mbit", 1000000}, {"g", 1000000000}, {"gbit", 1000000000}};
    size_t digits = strspn(text, "0123456789.");
    _cleanup_free_ char *number = xstrndup(text, digits);
    uint64_t thousandths, factor = 0;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (strcasecmp(text + digits, units[i].unit) == 0)
            factor = units[i].factor;
    if (strcasecmp(text, "none") == 0) {
        *ret_bytes_per_s = 0;
        return 0;
    }
    if (factor == 0 || digits == 0 || parse_milli(number, &thousandths) < 0 ||
        thousandths > UINT64_MAX / factor)
        return error_invalid(err,
                             "--network-rate \"%.32s\": bits a second as 512kbit, 10mbit, "
                             "1gbit, or none",
                             text);
    *ret_bytes_per_s = thousandths * factor / 8000;
    if (*ret_bytes_per_s < RATE_MIN || *ret_bytes_per_s > RATE_MAX)
        return error_invalid(err, "--network-rate \"%.32s\": from 8kbit to 100gbit", text);
    return 0;
}

static int parse_part(const char *part, struct network_rate *rate, bool *seen, struct error *err)
{
    bool in = strncmp(part, "in=", 3) == 0, out = strncmp(part, "out=", 4) == 0;
    if (!in && !out)
        return error_invalid(err, "--network-rate \"%.32s\": RATE, or in=RATE,out=RATE", part);
    if (seen[out])
        return error_invalid(err, "--network-rate: %s is there twice", in ? "in" : "out");
    seen[out] = true;
    return parse_bits(strchr(part, '=') + 1, in ? &rate->in : &rate->out, err);
}

int network_rate_parse(const char *text, struct network_rate *ret, struct error *err)
{
    struct network_rate rate = {0};
    bool seen[2] = {false, false};
    int r = 0;
    if (!strchr(text, '=')) {
        r = parse_bits(text, &rate.in, err);
        rate.out = rate.in;
    } else {
        _cleanup_strv_ char **parts = strv_split(text, ',');
        for (size_t i = 0; r == 0 && parts[i]; i++)
            r = parse_part(parts[i], &rate, seen, err);
    }
    if (r == 0)
        *ret = rate;
    return r;
}

/* --- what the instance sends --- */

/* Absent ones are made first, so that one transaction replaces what there is, or nothing. */
static int set_limit(struct store *s, const char *link, uint64_t bytes_per_s, struct error *err)
{
    const struct store_table table = store_table(s, RULES_TABLE);
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    int r = buf_addf(&text,
                     "add limit bridge %2$s %1$s { rate over 1000 bytes/second; }\n"
                     "add element bridge %2$s rates { \"%1$s\" : \"%1$s\" }\n"
                     "delete element bridge %2$s rates { \"%1$s\" }\n"
                     "delete limit bridge %2$s %1$s\n",
                     link, table.name);
    if (r == 0 && bytes_per_s)
        r = buf_addf(&text,
                     "add limit bridge %4$s %1$s { " RATE_LIMIT " }\n"
                     "add element bridge %4$s rates { \"%1$s\" : \"%1$s\" }\n",
                     link, (unsigned long long)bytes_per_s,
                     (unsigned long long)rate_burst_out(bytes_per_s), table.name);
    if (r == 0 && bytes_per_s)
        r = rules_put_special(&text, table.name);
    if (r < 0)
        return error_errno(err, r, "compose the limit of %s", link);
    return nft_load(text.data, text.len, err);
}

void rate_remove(struct store *s, const struct store_port *port)
{
    if (port->rate.out)
        (void)!set_limit(s, port->link, 0, NULL);
}

/* In the container's own namespace, where it spares those that keep to it every loss. */
struct inside {
    uint8_t position;
    uint64_t bytes_per_s;
};

static int wait_inside(void *context, struct error *err)
{
    const struct inside *i = context;
    _cleanup_netlink_ struct netlink *nl = NULL;
    char link[IFNAMSIZ];
    snprintf(link, sizeof(link), "eth%u", i->position);
    int r = netlink_open(&nl, err);
    return r < 0 ? r : netlink_link_rate(nl, link, i->bytes_per_s, burst_in(i->bytes_per_s), err);
}

static int limit_sending(struct store *s, const struct store_port *port, uint64_t bytes_per_s,
                         int namespace_fd, struct error *err)
{
    struct inside inside = {port->position, bytes_per_s};
    int r = set_limit(s, port->link, bytes_per_s, err);
    return r == 0 && namespace_fd >= 0 ? netns_visit(namespace_fd, wait_inside, &inside, err) : r;
}

int rate_add(struct store *s, struct netlink *nl, const struct store_port *port, int namespace_fd,
             struct error *err)
{
    int r = 0;
    if (port->rate.in)
        r = netlink_link_rate(nl, port->link, port->rate.in, burst_in(port->rate.in), err);
    return r == 0 && port->rate.out ? limit_sending(s, port, port->rate.out, namespace_fd, err) : r;
}

/* --- of an instance that runs --- */

static int change_port(struct store *s, struct netlink *nl, const struct store_port *port,
                       const struct network_rate *rate, int namespace_fd, struct error *err)
{
    int r = 0;
    if (port->attached && rate->in != port->rate.in)
        r = netlink_link_rate(nl, port->link, rate->in, burst_in(rate->in), err);
    if (r == 0 && port->attached && rate->out != port->rate.out)
        r = limit_sending(s, port, rate->out, namespace_fd, err);
    return r < 0 ? r : store_port_set_rate(s, port->instance_id, port->network, rate, err);
}

int network_set_rate(struct store *s, const char *instance_id, const struct network_rate *rate,
                     int namespace_fd, struct error *err)
{
    _cleanup_netlink_ struct netlink *nl = NULL;
    struct store_port *ports;
    int r = netlink_open(&nl, err);
    if (r == 0)
        r = store_port_of(s, instance_id, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        r = change_port(s, nl, p, rate, namespace_fd, err);
    store_port_list_free(ports);
    return r;
}
