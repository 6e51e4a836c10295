#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/policy/parse-internal.h"

static const char *const direction_words[] = {
    [POLICY_INGRESS] = "ingress", [POLICY_EGRESS] = "egress"};
static const char *const type_words[] = {[POLICY_INGRESS] = "Ingress", [POLICY_EGRESS] = "Egress"};

static void rule_done(struct policy_rule *r)
{
    for (size_t i = 0; i < r->n_peers; i++) {
        policy_selector_done(&r->peers[i].selector);
        free(r->peers[i].except);
        strv_free(r->peers[i].domains);
    }
    free(r->peers);
    free(r->ports);
    free(r->name);
}

void policy_done(struct policy *p)
{
    for (size_t d = 0; d < 2; d++) {
        for (size_t i = 0; i < p->rules[d].n; i++)
            rule_done(&p->rules[d].list[i]);
        free(p->rules[d].list);
    }
    policy_selector_done(&p->subject);
    free(p->name);
    free(p->stack);
    *p = (struct policy){.name = NULL};
}

void policy_documents_free(struct policy_document *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        policy_done(&list[i].policy);
        free(list[i].json);
    }
    free(list);
}

static int parse_action(const struct yaml *y, struct policy_rule *rule, struct error *err)
{
    static const char *const words[] = {
        [POLICY_ALLOW] = "Allow", [POLICY_DENY] = "Deny", [POLICY_PASS] = "Pass"};
    const char *word = "";
    int r = yaml_get_string(y, "action", &word, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++)
        if (strcmp(word, words[i]) == 0) {
            rule->action = (enum policy_action)i;
            return 0;
        }
    return r < 0 ? r : yaml_wrong(y, err, "action must be Allow, Deny or Pass");
}

/* Names stand in rules' comments and in the kernel's log. */
static bool good_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return len > 0 && len <= POLICY_NAME_MAX && name[len] == '\0';
}

static int parse_rule(const struct yaml *y, const struct policy *p, enum policy_direction d,
                      size_t number, struct policy_rule *rule, struct error *err)
{
    static const char *const network_keys[] = {"name", "log", "from", "to", "ports", NULL};
    static const char *const admin_keys[] = {"name", "action", "log", "from", "to", "ports", NULL};
    const char *peers_word = d == POLICY_INGRESS ? "from" : "to", *name = NULL;
    bool admin = p->kind == POLICY_ADMIN;
    const struct yaml *peers = NULL, *ports = NULL;
    int r = yaml_only(y, admin ? admin_keys : network_keys, "a rule", err);
    if (r == 0 && yaml_get(y, d == POLICY_INGRESS ? "to" : "from"))
        r = yaml_wrong(y, err, "%s has \"%s\"", direction_words[d], peers_word);
    if (r == 0)
        r = yaml_get_string(y, "name", &name, err);
    if (r == 0 && name && !good_name(name))
        r = yaml_wrong(y, err, "\"%.64s\" is not a name for a rule: use letters, digits, _ . -",
                       name);
    if (r < 0)
        return r;
    rule->name = name ? xstrdup(name) : xasprintf("%s[%zu]", direction_words[d], number);
    if (admin)
        r = parse_action(y, rule, err);
    if (r == 0)
        r = yaml_get_bool(y, "log", &rule->log, err);
    if (r == 0)
        r = yaml_get_of(y, peers_word, YAML_SEQUENCE, &peers, err);
    if (r == 0 && admin && (!peers || peers->n == 0))
        r = yaml_wrong(y, err, "\"%s\" is missing", peers_word);
    if (r == 0 && peers)
        r = parse_peers(peers, p, d, rule, err);
    if (r == 0)
        r = yaml_get_of(y, "ports", YAML_SEQUENCE, &ports, err);
    if (r == 0 && ports)
        r = parse_ports(ports, p->kind, rule, err);
    return r;
}

static int parse_rules(const struct yaml *spec, struct policy *p, enum policy_direction d,
                       struct error *err)
{
    const struct yaml *list = NULL;
    struct policy_rules *rules = &p->rules[d];
    int r = yaml_get_of(spec, direction_words[d], YAML_SEQUENCE, &list, err);
    if (r < 0 || !list)
        return r;
    if (list->n > POLICY_RULES_MAX)
        return yaml_wrong(list, err, "more than %u rules", POLICY_RULES_MAX);
    rules->list = xcalloc(list->n + 1, sizeof(*rules->list));
    for (size_t i = 0; r == 0 && i < list->n; i++)
        r = parse_rule(list->list[i], p, d, i, &rules->list[rules->n++], err);
    return r;
}

/* Without policyTypes: ingress always, egress when there are rules for it. */
static int parse_types(const struct yaml *spec, struct policy *p, struct error *err)
{
    const struct yaml *list = NULL;
    int r = yaml_get_of(spec, "policyTypes", YAML_SEQUENCE, &list, err);
    if (r < 0)
        return r;
    p->rules_for[POLICY_INGRESS] = !list;
    p->rules_for[POLICY_EGRESS] = !list && yaml_get(spec, "egress");
    for (size_t i = 0; r == 0 && list && i < list->n; i++) {
        const struct yaml *y = list->list[i];
        size_t d = 0;
        while (d < 2 && (y->type != YAML_SCALAR || strcmp(y->text, type_words[d]) != 0))
            d++;
        if (d == 2)
            return yaml_wrong(y, err, "policyTypes are Ingress and Egress");
        p->rules_for[d] = true;
    }
    for (size_t d = 0; d < 2; d++)
        if (!p->rules_for[d] && p->rules[d].n > 0)
            return yaml_wrong(spec, err, "there are %s rules, but policyTypes has no %s",
                              direction_words[d], type_words[d]);
    return 0;
}

static int parse_network_spec(const struct yaml *spec, struct policy *p, struct error *err)
{
    static const char *const keys[] = {"podSelector", "instanceSelector", "policyTypes",
                                       "ingress",     "egress",           NULL};
    const struct yaml *subject = NULL;
    int r = yaml_only(spec, keys, "spec", err);
    if (r == 0)
        r = get_either(spec, "podSelector", "instanceSelector", &subject, err);
    if (r == 0 && subject)
        r = parse_selector(subject, &p->subject.instances, err);
    select_stack(p->stack, &p->subject.stacks);
    for (size_t d = 0; r == 0 && d < 2; d++)
        r = parse_rules(spec, p, (enum policy_direction)d, err);
    return r < 0 ? r : parse_types(spec, p, err);
}

static int parse_admin_spec(const struct yaml *spec, struct policy *p, struct error *err)
{
    static const char *const keys[] = {"priority", "subject", "ingress", "egress", NULL};
    static const char *const subject_keys[] = {"pods", "instances", "namespaces", "stacks", NULL};
    const struct yaml *subject = NULL;
    bool found = false;
    int r = yaml_only(spec, keys, "spec", err);
    if (r == 0 && !yaml_get(spec, "priority"))
        r = yaml_wrong(spec, err, "priority is missing");
    if (r == 0)
        r = yaml_get_u32(spec, "priority", 1000, &p->priority, err);
    if (r == 0)
        r = yaml_get_of(spec, "subject", YAML_MAPPING, &subject, err);
    if (r == 0 && !subject)
        r = yaml_wrong(spec, err, "subject is missing");
    if (r == 0)
        r = yaml_only(subject, subject_keys, "subject", err);
    if (r == 0)
        r = parse_admin_selector(subject, &p->subject, &found, err);
    if (r == 0 && !found)
        r = yaml_wrong(subject, err, "subject must have namespaces or pods");
    for (size_t d = 0; r == 0 && d < 2; d++)
        r = parse_rules(spec, p, (enum policy_direction)d, err);
    return r;
}

static int parse_metadata(const struct yaml *y, struct policy *p, struct error *err)
{
    const struct yaml *metadata = NULL;
    const char *name = "", *stack = p->kind == POLICY_ADMIN ? "" : POLICY_STACK_DEFAULT;
    int r = yaml_get_of(y, "metadata", YAML_MAPPING, &metadata, err);
    if (r == 0 && !metadata)
        r = yaml_wrong(y, err, "metadata is missing");
    if (r == 0)
        r = yaml_get_string(metadata, "name", &name, err);
    if (r == 0 && p->kind == POLICY_NETWORK)
        r = yaml_get_string(metadata, "namespace", &stack, err);
    if (r < 0)
        return r;
    if (!good_name(name))
        return yaml_wrong(metadata, err,
                          "\"%.64s\" is not a name for a policy: use letters, digits, _ . -", name);
    if (*stack && !good_name(stack))
        return yaml_wrong(metadata, err, "\"%.64s\" is not a stack", stack);
    p->name = xstrdup(name);
    p->stack = xstrdup(stack);
    return 0;
}

static int parse_document(const struct yaml *y, struct policy *p, struct error *err)
{
    static const char *const keys[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    const struct yaml *spec = NULL;
    const char *kind = "", *version = NULL;
    int r = yaml_only(y, keys, "a policy", err);
    if (r == 0)
        r = yaml_get_string(y, "apiVersion", &version, err);
    if (r == 0)
        r = yaml_get_string(y, "kind", &kind, err);
    if (r < 0)
        return r;
    if (strcmp(kind, "AdminNetworkPolicy") == 0)
        p->kind = POLICY_ADMIN;
    else if (strcmp(kind, "NetworkPolicy") == 0)
        p->kind = POLICY_NETWORK;
    else
        return yaml_wrong(y, err, "kind must be NetworkPolicy or AdminNetworkPolicy");
    r = parse_metadata(y, p, err);
    if (r == 0)
        r = yaml_get_of(y, "spec", YAML_MAPPING, &spec, err);
    if (r == 0 && !spec)
        r = yaml_wrong(y, err, "spec is missing");
    if (r < 0)
        return r;
    return p->kind == POLICY_ADMIN ? parse_admin_spec(spec, p, err)
                                   : parse_network_spec(spec, p, err);
}

static bool same_name(const struct policy *a, const struct policy *b)
{
    return a->kind == b->kind && strcmp(a->name, b->name) == 0 && strcmp(a->stack, b->stack) == 0;
}

static int parse_all(struct yaml **documents, struct policy_document *list, size_t *n,
                     struct error *err)
{
    for (size_t i = 0; documents[i]; i++) {
        struct policy_document *d = &list[(*n)++];
        int r = parse_document(documents[i], &d->policy, err);
        if (r < 0)
            return r;
        for (size_t k = 0; k + 1 < *n; k++)
            if (same_name(&list[k].policy, &d->policy))
                return yaml_wrong(documents[i], err, "a second policy named %s", d->policy.name);
        _cleanup_json_ json_t *json = yaml_to_json(documents[i]);
        d->json = json_to_text(json);
    }
    return 0;
}

int policy_parse(const char *text, size_t len, const char *what, struct policy_document **ret,
                 size_t *ret_n, struct error *err)
{
    struct yaml **documents = NULL;
    size_t n_documents = 0, n = 0;
    int r = yaml_parse(text, len, what, &documents, err);
    if (r < 0)
        return r;
    while (documents[n_documents])
        n_documents++;
    if (n_documents > POLICY_DOCUMENTS_MAX) {
        yaml_free_list(documents);
        return error_set(err, ERROR_LIMIT, E2BIG, "%s: more than %u documents", what,
                         POLICY_DOCUMENTS_MAX);
    }
    struct policy_document *list = xcalloc(n_documents + 1, sizeof(*list));
    r = parse_all(documents, list, &n, err);
    yaml_free_list(documents);
    if (r < 0) {
        policy_documents_free(list, n);
        return error_prefix(err, "%s", what);
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int policy_parse_stored(const char *json, struct policy *ret, struct error *err)
{
    struct policy_document *list = NULL;
    size_t n = 0;
    int r = policy_parse(json, strlen(json), "a policy of the store", &list, &n, err);
    if (r < 0)
        return r;
    if (n == 1) {
        *ret = list[0].policy;
        list[0].policy = (struct policy){.name = NULL};
    }
    policy_documents_free(list, n);
    return n == 1 ? 0 : error_set(err, ERROR_CORRUPT, EBADMSG, "a policy of the store is none");
}
