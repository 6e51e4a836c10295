#include "front/cli/instance_text.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/command/safetext.h"

static struct text32 age(int64_t now_ns, int64_t then_ns)
{
    int64_t seconds = (now_ns - then_ns) / 1000000000;
    return format_age(MAX(seconds, (int64_t)0));
}

/* Docker's words. */
static const char *health_text(const struct instance_view *v)
{
    static const struct {
        const char *status, *text;
    } words[] = {{"starting", " (health: starting)"},
                 {"healthy", " (healthy)"},
                 {"unhealthy", " (unhealthy)"}};
    const char *status = instance_health(v);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(words[i].status, status) == 0)
            return words[i].text;
    return "";
}

const char *instance_health(const struct instance_view *v)
{
    const char *status = json_string_value(json_object_get(v->health, "status"));
    return status ? status : "none";
}

struct status_text instance_status_text(const struct instance_view *v, int64_t now_ns)
{
    struct status_text t;
    const struct monitor_status *s = &v->status;
    switch (v->state) {
    case STATE_CREATED:
        snprintf(t.s, sizeof(t.s), "Created");
        break;
    case STATE_RUNNING:
    case STATE_PAUSED:
        snprintf(t.s, sizeof(t.s), "Up %s%s", age(now_ns, s->started_ns).s,
                 v->state != STATE_PAUSED ? health_text(v)
                 : v->halted              ? " (Paused: "
                                          : " (Paused)");
        if (v->halted)
            snprintf(t.s + strlen(t.s), sizeof(t.s) - strlen(t.s), "%s)", v->halted);
        if (v->silent)
            snprintf(t.s + strlen(t.s), sizeof(t.s) - strlen(t.s), " (not answering)");
        break;
    case STATE_RESTARTING:
    case STATE_EXITED:
        snprintf(t.s, sizeof(t.s), "%s (%d) %s ago",
                 v->state == STATE_RESTARTING ? "Restarting" : "Exited", s->exit_code,
                 age(now_ns, s->finished_ns).s);
        break;
    }
    return t;
}

struct status_text instance_silent_text(const struct instance_view *v, int64_t now_ns)
{
    struct status_text t = {""};
    if (v->silent)
        snprintf(t.s, sizeof(t.s), "%s has not answered for %s", v->silent,
                 age(now_ns, v->silent_since_ns).s);
    return t;
}

struct port_text port_text(const struct network_publish *p)
{
    struct port_text t;
    inet_ntop(p->ipv6 ? AF_INET6 : AF_INET,
              p->ipv6 ? (const void *)&p->host_address6 : (const void *)&p->host_address,
              t.host_address, sizeof(t.host_address));
    snprintf(t.host_port, sizeof(t.host_port), "%u", p->host_port);
    snprintf(t.outside, sizeof(t.outside), p->ipv6 ? "[%s]:%s" : "%s:%s", t.host_address,
             t.host_port);
    snprintf(t.inside, sizeof(t.inside), "%u/%s", p->port,
             p->protocol == IPPROTO_UDP    ? "udp"
             : p->protocol == IPPROTO_SCTP ? "sctp"
                                           : "tcp");
    return t;
}

char *instance_ports_text(const struct instance_view *v)
{
    _cleanup_strv_ char **list = xcalloc(1, sizeof(char *));
    bool up = v->state == STATE_RUNNING || v->state == STATE_PAUSED;
    for (size_t i = 0; up && i < v->n_ports; i++) {
        struct port_text t = port_text(&v->ports[i]);
        strv_addf(&list, "%s->%s", t.outside, t.inside);
    }
    return strv_join(list, ", ");
}

char *instance_command_text(const struct instance_view *v, bool whole)
{
    _cleanup_free_ char *joined = v->argv ? strv_join(v->argv, " ") : xstrdup("");
    _cleanup_free_ char *safe = text_safe(joined);
    _cleanup_free_ char *cut = whole ? xstrdup(safe) : text_cut(safe, 20);
    return xasprintf("\"%s\"", cut);
}
