/* Selectors, peers and ports, as NetworkPolicy and as AdminNetworkPolicy write them. */
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/dns/dns.h"
#include "wire/policy/parse-internal.h"

#define REQUIREMENTS_MAX 64u
#define VALUES_MAX       256u
#define WORD_MAX         1024u

int get_either(const struct yaml *map, const char *theirs, const char *ours,
               const struct yaml **ret, struct error *err)
{
    const struct yaml *a = NULL, *b = NULL;
    int r = yaml_get_of(map, theirs, YAML_MAPPING, &a, err);
    if (r == 0)
        r = yaml_get_of(map, ours, YAML_MAPPING, &b, err);
    if (r == 0 && a && b)
        r = yaml_wrong(b, err, "%s and %s say the same: give one", theirs, ours);
    if (r == 0)
        *ret = a ? a : b;
    return r;
}

/* --- selectors --- */

static int add_requirement(struct policy_labels *l, enum policy_operator op, const char *key,
                           const struct yaml *at, struct error *err)
{
    if (l->n == REQUIREMENTS_MAX)
        return yaml_wrong(at, err, "more than %u requirements in a selector", REQUIREMENTS_MAX);
    if (!*key || strlen(key) > WORD_MAX || strchr(key, '='))
        return yaml_wrong(at, err, "\"%.64s\" is not a label's key", key);
    l->list = xreallocarray(l->list, l->n + 1, sizeof(*l->list));
    l->list[l->n++] =
        (struct policy_requirement){.op = op, .key = xstrdup(key), .values = strv_copy(NULL)};
    return 0;
}

static int add_value(struct policy_labels *l, const struct yaml *value, struct error *err)
{
    int r = yaml_want(value, YAML_SCALAR, "a label's value", err);
    if (r < 0)
        return r;
    if (strlen(value->text) > WORD_MAX)
        return yaml_wrong(value, err, "a label's value has more than %u bytes", WORD_MAX);
    strv_add(&l->list[l->n - 1].values, value->text);
    return 0;
}

static int parse_match_labels(const struct yaml *map, struct policy_labels *ret, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < map->n; i++) {
        r = add_requirement(ret, POLICY_IN, map->keys[i], map->list[i], err);
        if (r == 0)
            r = add_value(ret, map->list[i], err);
    }
    return r;
}

static int parse_expression(const struct yaml *y, struct policy_labels *ret, struct error *err)
{
    static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    static const char *const keys[] = {"key", "operator", "values", NULL};
    const char *key = "", *word = "";
    const struct yaml *values = NULL;
    size_t op = 0;
    int r = yaml_only(y, keys, "matchExpressions", err);
    if (r == 0)
        r = yaml_get_string(y, "key", &key, err);
    if (r == 0)
        r = yaml_get_string(y, "operator", &word, err);
    if (r == 0)
        r = yaml_get_of(y, "values", YAML_SEQUENCE, &values, err);
    if (r < 0)
        return r;
    while (op < ARRAY_SIZE(operators) && strcmp(operators[op], word) != 0)
        op++;
    if (op == ARRAY_SIZE(operators))
        return yaml_wrong(y, err, "operator must be In, NotIn, Exists or DoesNotExist");
    bool wants = op == POLICY_IN || op == POLICY_NOT_IN;
    size_t n = values ? values->n : 0;
    if (wants != (n > 0))
        return yaml_wrong(y, err, wants ? "%s needs values" : "%s takes no values", word);
    if (n > VALUES_MAX)
        return yaml_wrong(y, err, "more than %u values", VALUES_MAX);
    r = add_requirement(ret, (enum policy_operator)op, key, y, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_value(ret, values->list[i], err);
    return r;
}

int parse_selector(const struct yaml *y, struct policy_labels *ret, struct error *err)
{
    static const char *const keys[] = {"matchLabels", "matchExpressions", NULL};
    const struct yaml *labels = NULL, *expressions = NULL;
    int r = yaml_only(y, keys, "a selector", err);
    if (r == 0)
        r = yaml_get_of(y, "matchLabels", YAML_MAPPING, &labels, err);
    if (r == 0)
        r = yaml_get_of(y, "matchExpressions", YAML_SEQUENCE, &expressions, err);
    if (r == 0 && labels)
        r = parse_match_labels(labels, ret, err);
    for (size_t i = 0; r == 0 && expressions && i < expressions->n; i++)
        r = parse_expression(expressions->list[i], ret, err);
    return r;
}

void select_stack(const char *stack, struct policy_labels *ret)
{
    ret->list = xreallocarray(ret->list, ret->n + 1, sizeof(*ret->list));
    struct policy_requirement *r = &ret->list[ret->n++];
    *r = (struct policy_requirement){
        .op = POLICY_IN, .key = xstrdup("kubernetes.io/metadata.name"), .values = strv_copy(NULL)};
    strv_add(&r->values, stack);
}

/* --- peers --- */

static int new_peer(struct policy_rule *rule, enum policy_peer_kind kind, const struct yaml *at,
                    struct policy_peer **ret, struct error *err)
{
    if (rule->n_peers == POLICY_PEERS_MAX)
        return yaml_wrong(at, err, "more than %u peers in a rule", POLICY_PEERS_MAX);
    rule->peers = xreallocarray(rule->peers, rule->n_peers + 1, sizeof(*rule->peers));
    *ret = &rule->peers[rule->n_peers++];
    **ret = (struct policy_peer){.kind = kind};
    return 0;
}

static int parse_block(const struct yaml *y, const char *text, struct policy_range *ret,
                       struct error *err)
{
    struct error why = ERROR_INIT;
    if (policy_block_parse(text, ret, &why) < 0)
        return yaml_wrong(y, err, "%s", why.msg);
    return 0;
}

static int parse_ip_block(const struct yaml *y, struct policy_peer *peer, struct error *err)
{
    static const char *const keys[] = {"cidr", "except", NULL};
    const struct yaml *except = NULL;
    const char *cidr = "";
    int r = yaml_only(y, keys, "ipBlock", err);
    if (r == 0)
        r = yaml_get_string(y, "cidr", &cidr, err);
    if (r == 0)
        r = parse_block(y, cidr, &peer->block, err);
    if (r == 0)
        r = yaml_get_of(y, "except", YAML_SEQUENCE, &except, err);
    if (r < 0 || !except)
        return r;
    if (except->n > POLICY_PORTS_MAX)
        return yaml_wrong(except, err, "more than %u exceptions", POLICY_PORTS_MAX);
    peer->except = xcalloc(except->n + 1, sizeof(*peer->except));
    for (size_t i = 0; r == 0 && i < except->n; i++) {
        struct policy_range *hole = &peer->except[i];
        r = yaml_want(except->list[i], YAML_SCALAR, "an exception", err);
        if (r == 0)
            r = parse_block(except->list[i], except->list[i]->text, hole, err);
        if (r == 0 && (hole->v6 != peer->block.v6 || hole->first < peer->block.first ||
                       hole->last > peer->block.last))
            r = yaml_wrong(except->list[i], err, "%s is not within %s", except->list[i]->text,
                           cidr);
        peer->n_except += r == 0;
    }
    return r;
}

/* Who is denied by name goes there by number: there is nothing that a rule could promise. */
static int check_domains(const struct yaml *list, const struct policy *p, enum policy_direction d,
                         const struct policy_rule *rule, struct error *err)
{
    if (d == POLICY_INGRESS)
        return yaml_wrong(list, err, "domainNames are of what goes out: egress has them only");
    if (p->kind == POLICY_ADMIN && rule->action != POLICY_ALLOW)
        return yaml_wrong(list, err, "domainNames can only be allowed: deny addresses (networks)");
    if (list->n == 0 || list->n > POLICY_DOMAINS_MAX)
        return yaml_wrong(list, err, "domainNames are 1 to %u names", POLICY_DOMAINS_MAX);
    return 0;
}

static int parse_domains(const struct yaml *list, const struct policy *p, enum policy_direction d,
                         struct policy_rule *rule, struct error *err)
{
    struct policy_peer *peer = NULL;
    char name[DNS_NAME_SIZE];
    int r = check_domains(list, p, d, rule, err);
    if (r == 0)
        r = new_peer(rule, POLICY_DOMAINS, list, &peer, err);
    if (r < 0)
        return r;
    peer->domains = strv_copy(NULL);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        const struct yaml *item = list->list[i];
        r = yaml_want(item, YAML_SCALAR, "a name of domainNames", err);
        if (r == 0 && !dns_pattern_parse(item->text, name))
            r = yaml_wrong(item, err,
                           "\"%.64s\" is not a name of an outside host: write example.com, or "
                           "*.example.com for all below it",
                           item->text);
        if (r == 0 && !strv_has(peer->domains, name))
            strv_add(&peer->domains, name);
    }
    return r;
}

/* Of a NetworkPolicy: instances of its own stack, unless stacks are selected, too. */
static int parse_peer(const struct yaml *y, const struct policy *p, enum policy_direction d,
                      struct policy_rule *rule, struct error *err)
{
    static const char *const keys[] = {"podSelector",       "instanceSelector",
                                       "namespaceSelector", "stackSelector",
                                       "ipBlock",           "nodes",
                                       "domainNames",       NULL};
    const struct yaml *instances = NULL, *stacks = NULL, *block = NULL, *nodes = NULL,
                      *domains = NULL;
    struct policy_peer *peer = NULL;
    int r = yaml_only(y, keys, "a peer", err);
    if (r == 0)
        r = get_either(y, "podSelector", "instanceSelector", &instances, err);
    if (r == 0)
        r = get_either(y, "namespaceSelector", "stackSelector", &stacks, err);
    if (r == 0)
        r = yaml_get_of(y, "ipBlock", YAML_MAPPING, &block, err);
    if (r == 0)
        r = yaml_get_of(y, "nodes", YAML_MAPPING, &nodes, err);
    if (r == 0)
        r = yaml_get_of(y, "domainNames", YAML_SEQUENCE, &domains, err);
    if (r < 0)
        return r;
    if ((instances || stacks) + (block != NULL) + (nodes != NULL) + (domains != NULL) != 1)
        return yaml_wrong(y, err,
                          "a peer is a selector, an ipBlock, nodes or domainNames: one of them");
    if (domains)
        return parse_domains(domains, p, d, rule, err);
    if (nodes && nodes->n > 0)
        return yaml_wrong(nodes, err, "this host is the only node: write nodes: {}");
    r = new_peer(rule,
                 block   ? POLICY_BLOCK
                 : nodes ? POLICY_HOST
                         : POLICY_INSTANCES,
                 y, &peer, err);
    if (r == 0 && block)
        r = parse_ip_block(block, peer, err);
    if (r == 0 && instances)
        r = parse_selector(instances, &peer->selector.instances, err);
    if (r == 0 && stacks)
        r = parse_selector(stacks, &peer->selector.stacks, err);
    else if (r == 0 && instances)
        select_stack(p->stack, &peer->selector.stacks);
    return r;
}

int parse_admin_selector(const struct yaml *y, struct policy_selector *ret, bool *ret_found,
                         struct error *err)
{
    static const char *const keys[] = {"podSelector", "instanceSelector", "namespaceSelector",
                                       "stackSelector", NULL};
    const struct yaml *pods = NULL, *namespaces = NULL, *stacks = NULL, *instances = NULL;
    int r = get_either(y, "pods", "instances", &pods, err);
    if (r == 0)
        r = get_either(y, "namespaces", "stacks", &namespaces, err);
    if (r < 0)
        return r;
    *ret_found = pods || namespaces;
    if (pods && namespaces)
        return yaml_wrong(y, err, "pods and namespaces: give one of them");
    if (namespaces)
        return parse_selector(namespaces, &ret->stacks, err);
    if (!pods)
        return 0;
    r = yaml_only(pods, keys, "pods", err);
    if (r == 0)
        r = get_either(pods, "namespaceSelector", "stackSelector", &stacks, err);
    if (r == 0)
        r = get_either(pods, "podSelector", "instanceSelector", &instances, err);
    if (r == 0 && stacks)
        r = parse_selector(stacks, &ret->stacks, err);
    if (r == 0 && instances)
        r = parse_selector(instances, &ret->instances, err);
    return r;
}

static int parse_networks(const struct yaml *list, struct policy_rule *rule, struct error *err)
{
    struct policy_peer *peer;
    int r = list->n ? 0 : yaml_wrong(list, err, "networks names none");
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        r = yaml_want(list->list[i], YAML_SCALAR, "a network", err);
        if (r == 0)
            r = new_peer(rule, POLICY_BLOCK, list->list[i], &peer, err);
        if (r == 0)
            r = parse_block(list->list[i], list->list[i]->text, &peer->block, err);
    }
    return r;
}

static int parse_admin_peer(const struct yaml *y, const struct policy *p, enum policy_direction d,
                            struct policy_rule *rule, struct error *err)
{
    static const char *const keys[] = {"pods",  "instances", "namespaces",  "stacks",
                                       "nodes", "networks",  "domainNames", NULL};
    const struct yaml *nodes = NULL, *networks = NULL, *domains = NULL;
    struct policy_peer *peer;
    struct policy_selector selector = {.stacks = {NULL, 0}};
    bool found = false;
    int r = yaml_only(y, keys, "a peer", err);
    if (r == 0)
        r = yaml_get_of(y, "nodes", YAML_MAPPING, &nodes, err);
    if (r == 0)
        r = yaml_get_of(y, "networks", YAML_SEQUENCE, &networks, err);
    if (r == 0)
        r = yaml_get_of(y, "domainNames", YAML_SEQUENCE, &domains, err);
    if (r == 0)
        r = parse_admin_selector(y, &selector, &found, err);
    if (r == 0 && found + (nodes != NULL) + (networks != NULL) + (domains != NULL) != 1)
        r = yaml_wrong(y, err,
                       "a peer is one of namespaces, pods, nodes, networks and domainNames");
    if (r == 0 && networks)
        r = parse_networks(networks, rule, err);
    else if (r == 0 && domains)
        r = parse_domains(domains, p, d, rule, err);
    else if (r == 0)
        r = new_peer(rule, nodes ? POLICY_HOST : POLICY_INSTANCES, y, &peer, err);
    if (r == 0 && found) {
        peer->selector = selector;
        selector = (struct policy_selector){.stacks = {NULL, 0}};
    }
    policy_selector_done(&selector);
    return r;
}

int parse_peers(const struct yaml *list, const struct policy *p, enum policy_direction d,
                struct policy_rule *ret, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < list->n; i++)
        r = p->kind == POLICY_ADMIN ? parse_admin_peer(list->list[i], p, d, ret, err)
                                    : parse_peer(list->list[i], p, d, ret, err);
    return r;
}

/* --- ports --- */

static int parse_protocol(const struct yaml *y, uint8_t *ret, struct error *err)
{
    static const struct {
        const char *word;
        uint8_t number;
    } known[] = {{"TCP", IPPROTO_TCP}, {"UDP", IPPROTO_UDP}, {"SCTP", IPPROTO_SCTP}};
    const char *word = "TCP";
    int r = yaml_get_string(y, "protocol", &word, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(known); i++)
        if (strcmp(word, known[i].word) == 0) {
            *ret = known[i].number;
            return 0;
        }
    return r < 0 ? r : yaml_wrong(y, err, "protocol must be TCP, UDP or SCTP");
}

/* One port, or the first and the last by these names. */
static int parse_range(const struct yaml *y, const char *first_key, const char *last_key,
                       struct policy_ports *ret, struct error *err)
{
    uint32_t first = 0, last = 0;
    int r = parse_protocol(y, &ret->protocol, err);
    if (r == 0)
        r = yaml_get_u32(y, first_key, 65535, &first, err);
    if (r == 0 && last_key)
        r = yaml_get_u32(y, last_key, 65535, &last, err);
    if (r < 0)
        return r;
    if (!last)
        last = first ? first : 65535;
    if (last < first || (!first && last != 65535))
        return yaml_wrong(y, err, "ports from %u to %u are no range", first, last);
    ret->first = (uint16_t)first;
    ret->last = (uint16_t)last;
    return 0;
}

static int parse_admin_port(const struct yaml *y, struct policy_ports *ret, struct error *err)
{
    static const char *const keys[] = {"portNumber", "portRange", NULL};
    static const char *const one_keys[] = {"protocol", "port", NULL};
    static const char *const range_keys[] = {"protocol", "start", "end", NULL};
    const struct yaml *one = NULL, *range = NULL;
    int r = yaml_only(y, keys, "a port", err);
    if (r == 0)
        r = yaml_get_of(y, "portNumber", YAML_MAPPING, &one, err);
    if (r == 0)
        r = yaml_get_of(y, "portRange", YAML_MAPPING, &range, err);
    if (r < 0)
        return r;
    if (!one == !range)
        return yaml_wrong(y, err, "a port is a portNumber or a portRange");
    const char *const *wanted = one ? one_keys : range_keys;
    for (size_t i = 1; wanted[i]; i++)
        if (!yaml_get(one ? one : range, wanted[i]))
            return yaml_wrong(y, err, "%s is missing", wanted[i]);
    r = yaml_only(one ? one : range, wanted, one ? "portNumber" : "portRange", err);
    if (r < 0)
        return r;
    return one ? parse_range(one, "port", NULL, ret, err)
               : parse_range(range, "start", "end", ret, err);
}

static int parse_port(const struct yaml *y, struct policy_ports *ret, struct error *err)
{
    static const char *const keys[] = {"protocol", "port", "endPort", NULL};
    int r = yaml_only(y, keys, "a port", err);
    if (r == 0 && yaml_get(y, "endPort") && !yaml_get(y, "port"))
        r = yaml_wrong(y, err, "endPort needs port");
    return r < 0 ? r : parse_range(y, "port", "endPort", ret, err);
}

int parse_ports(const struct yaml *list, enum policy_kind kind, struct policy_rule *ret,
                struct error *err)
{
    int r = 0;
    if (list->n > POLICY_PORTS_MAX)
        return yaml_wrong(list, err, "more than %u ports in a rule", POLICY_PORTS_MAX);
    ret->ports = xcalloc(list->n + 1, sizeof(*ret->ports));
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        struct policy_ports *port = &ret->ports[i];
        r = yaml_want(list->list[i], YAML_MAPPING, "a port", err);
        if (r == 0)
            r = kind == POLICY_ADMIN ? parse_admin_port(list->list[i], port, err)
                                     : parse_port(list->list[i], port, err);
        ret->n_ports += r == 0;
    }
    return r;
}
