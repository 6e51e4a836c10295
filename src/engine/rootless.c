#include "engine/rootless.h"

#include <string.h>

#include "base/process.h"
#include "service/network/network.h"

int rootless_refuse(const char *what, struct error *err)
{
    if (process_is_host_root())
        return 0;
    return error_set(err, ERROR_DENIED, EPERM,
                     "%s needs root: run it as root, with instances of root's", what);
}

static int check_networks(const struct places *p, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        char what[128];
        snprintf(what, sizeof(what), "network %.64s", p->list[i].network);
        if (strcmp(p->list[i].network, NETWORK_DEFAULT) != 0)
            r = rootless_refuse(what, err);
    }
    return r;
}

/* Nobody but a control group would end what such a container leaves in the host's pid namespace. */
static bool shares_processes(const struct create_options *o)
{
    return o->pid_mode && *o->pid_mode && strcmp(o->pid_mode, "private") != 0;
}

int rootless_check(const struct create_options *o, const struct places *p, struct error *err)
{
    int r = check_networks(p, err);
    if (r == 0 && o->network_rate)
        r = rootless_refuse("--network-rate", err);
    if (r == 0 && o->network_priority)
        r = rootless_refuse("--network-priority", err);
    if (r == 0 && o->network_connections)
        r = rootless_refuse("--network-connections", err);
    if (r == 0 && shares_processes(o))
        r = rootless_refuse("--pid host or container:NAME", err);
    if (r == 0 && o->oom_score_adj < 0)
        r = rootless_refuse("--oom-score-adj below 0", err);
    return r;
}
