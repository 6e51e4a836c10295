/*
 * Names for an instance on several networks.
 *
 * A network's own dnsmasq knows that network's names only, and must: another network's are none of
 * its instances' business. So an instance that is on several has a dnsmasq of its own, which reads
 * the names of all of them. It listens on the gateway of the first, on a port of its own, to which
 * the rules lead what the instance asks, by the address it asks from (map `resolvers`). Nobody else
 * reaches that port: the input chain lets only what was led there in.
 *
 * RUN/networks/resolvers/ID has its pid and its port; the process is marked with the instance's id.
 * resolver_settle makes true what the store says, whatever was there before.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"

struct resolver {
    char *dir, *pid_path, *port_path, *mark;
    struct attached attached;
};

static void resolver_done(struct resolver *r)
{
    attached_done(&r->attached);
    free(r->dir);
    free(r->pid_path);
    free(r->port_path);
    free(r->mark);
}

static int open_resolver(struct store *s, const char *instance_id, struct resolver *ret,
                         struct error *err)
{
    *ret = (struct resolver){
        .dir = xasprintf("%s/networks/resolvers/%s", s->run, instance_id),
        .pid_path = xasprintf("%s/networks/resolvers/%s/pid", s->run, instance_id),
        .port_path = xasprintf("%s/networks/resolvers/%s/port", s->run, instance_id),
        .mark = xasprintf("proa-names-%s", instance_id),
    };
    return attached_read(s, instance_id, &ret->attached, err);
}

bool resolver_exists(struct store *s, const char *instance_id)
{
    _cleanup_free_ char *dir = xasprintf("%s/networks/resolvers/%s", s->run, instance_id);
    return access(dir, F_OK) == 0;
}

uint16_t resolver_read_port(const char *path)
{
    _cleanup_free_ char *text = NULL;
    uint32_t port;
    if (file_read(AT_FDCWD, path, 16, &text) < 0 || parse_u32(text, &port) < 0 ||
        port < RESOLVER_FIRST || port > RESOLVER_LAST)
        return 0;
    return (uint16_t)port;
}

uint16_t resolver_port(struct store *s, const char *instance_id)
{
    _cleanup_free_ char *path = xasprintf("%s/networks/resolvers/%s/port", s->run, instance_id);
    return resolver_read_port(path);
}

static void stop(const struct resolver *r)
{
    pid_t pid = dnsmasq_recorded(r->pid_path, r->mark);
    if (!pid && access(r->dir, F_OK) == 0) /* killed between its start and the record */
        pid = dnsmasq_searched(r->mark);
    if (pid)
        dnsmasq_stop(pid, r->mark);
    (void)!path_remove_tree(AT_FDCWD, r->dir);
}

uint16_t resolver_free_port(struct in_addr address)
{
    static const unsigned int count = RESOLVER_LAST - RESOLVER_FIRST + 1;
    char hex[5];
    random_hex(hex, 2);
    unsigned int first = (unsigned int)strtoul(hex, NULL, 16);
    for (unsigned int i = 0; i < count; i++) {
        uint16_t port = (uint16_t)(RESOLVER_FIRST + (first + i) % count);
        struct sockaddr_in at = {
            .sin_family = AF_INET, .sin_addr = address, .sin_port = htons(port)};
        _cleanup_close_ int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        _cleanup_close_ int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (udp >= 0 && tcp >= 0 && bind(udp, (struct sockaddr *)&at, sizeof(at)) == 0 &&
            bind(tcp, (struct sockaddr *)&at, sizeof(at)) == 0)
            return port;
    }
    return 0;
}

static char **command_line(const struct resolver *r, uint16_t port)
{
    char **argv = dnsmasq_arguments(r->mark, r->attached.networks[0]->gateway, port);
    bool out = false;
    for (size_t i = 0; i < r->attached.n; i++) {
        _cleanup_free_ char *dir = names_dir(r->attached.networks[i]);
        strv_addf(&argv, "--hostsdir=%s/hosts", dir);
        out |= !r->attached.networks[i]->internal;
    }
    if (!out)
        strv_add(&argv, "--no-resolv");
    return argv;
}

static int start(const struct resolver *r, uint16_t *ret_port, struct error *err)
{
    uint16_t port = resolver_free_port(r->attached.networks[0]->gateway);
    char text[8];
    pid_t pid;
    if (!port)
        return error_set(err, ERROR_LIMIT, EADDRINUSE, "no port is left for a resolver");
    int rc = path_make_dirs(r->dir, 0700);
    int len = snprintf(text, sizeof(text), "%u", port);
    if (rc == 0)
        rc = file_write_atomic(AT_FDCWD, r->port_path, text, (size_t)len, 0600);
    if (rc < 0)
        return error_errno(err, rc, "write %s", r->port_path);
    _cleanup_strv_ char **argv = command_line(r, port);
    rc = dnsmasq_start(argv, r->pid_path, &pid, err);
    if (rc == 0)
        rc = dnsmasq_wait(pid, r->attached.networks[0]->gateway, port, err);
    if (rc == 0)
        *ret_port = port;
    return rc;
}

/* What proa-names stands in front of (learner.c) is not led here. */
static void take_down(struct store *s, const struct resolver *r, bool leads)
{
    for (size_t i = 0; leads && i < r->attached.n; i++)
        rules_remove_resolver(s, r->attached.ports[i]->address);
    stop(r);
}

void resolver_down(struct store *s, const char *instance_id)
{
    struct resolver r;
    if (open_resolver(s, instance_id, &r, NULL) == 0)
        take_down(s, &r, !learner_exists(s, instance_id));
    resolver_done(&r);
}

int resolver_settle(struct store *s, const char *instance_id, struct error *err)
{
    struct resolver r;
    uint16_t port = 0;
    bool leads = !learner_exists(s, instance_id);
    int rc = open_resolver(s, instance_id, &r, err);
    if (rc == 0 && access(r.dir, F_OK) == 0)
        take_down(s, &r, leads);
    if (rc == 0 && r.attached.n > 1) {
        rc = start(&r, &port, err);
        for (size_t i = 0; leads && rc == 0 && i < r.attached.n; i++)
            rc = rules_add_resolver(s, r.attached.ports[i]->address, port, err);
        if (rc < 0)
            take_down(s, &r, leads);
    }
    resolver_done(&r);
    return rc < 0 ? error_prefix(err, "names of several networks") : 0;
}
