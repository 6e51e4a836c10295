/*
 * `policy suggest`: for each instance that took part, one NetworkPolicy that allows what was let
 * through, in both directions, and nothing else.
 *
 * Instances are selected by their own labels where they have some, so that their successors are
 * meant as well, and by name where they have none. The outside is told apart by name when an
 * instance whose policies name hosts went there, by address when another did, and is one block when
 * it came in through a published port. What has no port (a ping) cannot be said in a rule.
 */
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/flows.h"
#include "engine/policy-internal.h"
#include "service/policy/policy.h"

/* An instance that flows name. */
struct actor {
    char *name, *stack;
    bool elsewhere; /* another host's: what it did there was not seen */
    bool more;      /* it did more than is kept */
    char **labels;
    json_t *rules[2]; /* by direction: peer as text -> {"peer": ..., "ports": [...]} */
};
struct stage {
    struct engine *engine;
    struct actor *list;
    size_t n;
};

static void stage_done(struct stage *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->list[i].name);
        free(s->list[i].stack);
        strv_free(s->list[i].labels);
        json_decref(s->list[i].rules[0]);
        json_decref(s->list[i].rules[1]);
    }
    free(s->list);
}

static int find_actor(struct stage *s, const char *name, size_t *ret, struct error *err)
{
    struct party p = {.n_places = 0};
    for (*ret = 0; *ret < s->n; (*ret)++)
        if (strcmp(s->list[*ret].name, name) == 0)
            return 0;
    int r = party_read_named(s->engine, name, &p, err);
    if (r < 0) {
        party_done(&p);
        return r;
    }
    char **labels = TAKE_PTR(p.labels);
    bool elsewhere = p.host != NULL;
    party_done(&p);
    s->list = xreallocarray(s->list, s->n + 1, sizeof(*s->list));
    s->list[s->n++] = (struct actor){
        .name = xstrdup(name),
        .stack = xstrdup(policy_stack_of(labels)),
        .elsewhere = elsewhere,
        .labels = labels,
        .rules = {json_object(), json_object()},
    };
    return 0;
}

/* Labels that say what it is, not where it comes from. */
static json_t *selector_of(const struct actor *a)
{
    json_t *labels = json_object();
    for (size_t i = 0; a->labels[i]; i++) {
        const char *equals = strchr(a->labels[i], '=');
        if (!equals || strncmp(a->labels[i], "io.proa.", 8) == 0 ||
            strncmp(a->labels[i], "com.docker.", 11) == 0)
            continue;
        _cleanup_free_ char *key = xstrndup(a->labels[i], (size_t)(equals - a->labels[i]));
        json_object_set_new(labels, key, json_string(equals + 1));
    }
    if (json_object_size(labels) == 0)
        json_object_set_new(labels, "io.proa.name",
                            json_string(env_get(a->labels, "io.proa.name")));
    return json_pack("{s:o}", "matchLabels", labels);
}

static json_t *peer_of_instance(const struct actor *subject, const struct actor *other)
{
    json_t *peer = json_pack("{s:o}", "podSelector", selector_of(other));
    if (strcmp(subject->stack, other->stack) != 0)
        json_object_set_new(
            peer, "namespaceSelector",
            json_pack("{s:{s:s}}", "matchLabels", "kubernetes.io/metadata.name", other->stack));
    return peer;
}

static json_t *peer_of_address(const char *name, struct policy_address a, bool exact)
{
    if (strcmp(name, "host") == 0)
        return json_pack("{s:{}}", "nodes");
    _cleanup_free_ char *cidr = exact
                                    ? xasprintf("%s/%d", policy_address_text(a).s, a.v6 ? 128 : 32)
                                    : xstrdup(a.v6 ? "::/0" : "0.0.0.0/0");
    return json_pack("{s:{s:s}}", "ipBlock", "cidr", cidr);
}

/* By the name that it asked for, where that is known: its address may be another's tomorrow. */
static json_t *peer_outside(const struct flow_view *v)
{
    return v->to_domain ? json_pack("{s:[s]}", "domainNames", v->to)
                        : peer_of_address(v->to, v->flow.to, true);
}

/* Takes the peer. */
static void add_rule(struct actor *a, enum policy_direction d, json_t *peer, const struct flow *f)
{
    _cleanup_free_ char *key = json_dumps(peer, JSON_COMPACT | JSON_SORT_KEYS);
    const char *protocol = f->protocol == IPPROTO_TCP   ? "TCP"
                           : f->protocol == IPPROTO_UDP ? "UDP"
                                                        : "SCTP";
    json_t *rule = json_object_get(a->rules[d], key);
    if (!rule) {
        rule = json_pack("{s:O, s:[]}", "peer", peer, "ports");
        json_object_set_new(a->rules[d], key, rule);
    }
    json_decref(peer);
    json_t *ports = json_object_get(rule, "ports"), *old;
    _cleanup_json_ json_t *port =
        json_pack("{s:s, s:i}", "protocol", protocol, "port", (int)f->port);
    size_t i;
    json_array_foreach(ports, i, old) if (json_equal(old, port)) return;
    json_array_append(ports, port);
}

/* The host reaches whom it wants to; what is gone needs nothing any more. */
static bool needs_rules(const struct flow_view *v)
{
    const struct flow *f = &v->flow;
    bool ported =
        f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP || f->protocol == IPPROTO_SCTP;
    return f->verdict == FLOW_ALLOWED && !f->more && ported && f->port > 0 &&
           v->from_is != FLOW_END_HOST && v->from_is != FLOW_END_GONE && v->to_is != FLOW_END_GONE;
}

static int add_flow(struct stage *s, const struct flow_view *v, struct error *err)
{
    bool begins = v->from_is == FLOW_END_INSTANCE, answers = v->to_is == FLOW_END_INSTANCE;
    size_t from = 0, to = 0;
    if (v->flow.more && v->flow.verdict == FLOW_ALLOWED && begins) {
        int r = find_actor(s, v->from, &from, err);
        if (r == 0)
            s->list[from].more = true;
        return r;
    }
    if (!needs_rules(v))
        return 0;
    int r = begins ? find_actor(s, v->from, &from, err) : 0;
    if (r == 0 && answers)
        r = find_actor(s, v->to, &to, err);
    if (r < 0)
        return r;
    if (begins)
        add_rule(&s->list[from], POLICY_EGRESS,
                 answers ? peer_of_instance(&s->list[from], &s->list[to]) : peer_outside(v),
                 &v->flow);
    if (answers)
        add_rule(&s->list[to], POLICY_INGRESS,
                 begins ? peer_of_instance(&s->list[to], &s->list[from])
                        : peer_of_address(v->from, v->flow.from, false),
                 &v->flow);
    return 0;
}

static json_t *rules_of(const struct actor *a, enum policy_direction d)
{
    json_t *list = json_array(), *rule;
    const char *key;
    json_object_foreach(a->rules[d], key, rule) json_array_append_new(
        list, json_pack("{s:[O], s:O}", d == POLICY_INGRESS ? "from" : "to",
                        json_object_get(rule, "peer"), "ports", json_object_get(rule, "ports")));
    return list;
}

/* A document of YAML is a document of JSON, too: one a paragraph. */
static int write_actor(const struct actor *a, struct buf *out)
{
    _cleanup_json_ json_t *document = json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:o, s:[s,s], s:o, s:o}}", "apiVersion",
        "networking.k8s.io/v1", "kind", "NetworkPolicy", "metadata", "name", a->name, "namespace",
        a->stack, "spec", "podSelector", selector_of(a), "policyTypes", "Ingress", "Egress",
        "ingress", rules_of(a, POLICY_INGRESS), "egress", rules_of(a, POLICY_EGRESS));
    _cleanup_free_ char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
    return buf_addf(out, "---\n# what %s was seen to do%s\n%s\n", a->name,
                    a->more ? ", but for what was more than is kept" : "", text ? text : "{}");
}

int engine_policy_suggest(struct engine *e, int64_t since_ns, char **ret, struct error *err)
{
    struct flow_filter filter = {.since_ns = since_ns};
    struct stage s = {.engine = e};
    struct flow_view *list = NULL;
    size_t n = 0;
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)16 << 20);
    int r = engine_flows(e, &filter, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_flow(&s, &list[i], err);
    for (size_t i = 0; r == 0 && i < s.n; i++)
        if (!s.list[i].elsewhere)
            r = write_actor(&s.list[i], &out);
    flow_views_free(list, n);
    stage_done(&s);
    if (r == 0)
        *ret = buf_take(&out);
    return r;
}
