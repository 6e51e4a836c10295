/* Rules as one line that a person reads. */
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "wire/policy/policy.h"

#define LINE_MAX_BYTES 4096

static int put_labels(struct buf *b, const struct policy_labels *l)
{
    static const char *const words[] = {" in ", " not in ", "", ""};
    int r = 0;
    for (size_t i = 0; r == 0 && i < l->n; i++) {
        const struct policy_requirement *q = &l->list[i];
        _cleanup_free_ char *values = strv_join(q->values, ",");
        bool one = q->op == POLICY_IN && strv_len(q->values) == 1;
        r = buf_addf(b, "%s%s%s%s%s", i ? " " : "", q->op == POLICY_DOES_NOT_EXIST ? "!" : "",
                     q->key, one ? "=" : words[q->op], values);
    }
    return r;
}

static int put_peer(struct buf *b, const struct policy_peer *p)
{
    int r;
    if (p->kind == POLICY_HOST)
        return buf_add_str(b, "the host");
    if (p->kind == POLICY_BLOCK) {
        struct policy_address first = {p->block.v6, p->block.first};
        struct policy_address last = {p->block.v6, p->block.last};
        r = buf_addf(b, "%s-%s", policy_address_text(first).s, policy_address_text(last).s);
        return r == 0 && p->n_except ? buf_addf(b, " but %zu parts of it", p->n_except) : r;
    }
    if (p->kind == POLICY_DOMAINS) {
        _cleanup_free_ char *domains = strv_join(p->domains, ", ");
        return buf_addf(b, "domains {%s}", domains);
    }
    r = buf_add_str(b, "instances {");
    if (r == 0)
        r = put_labels(b, &p->selector.instances);
    if (r == 0)
        r = buf_add_str(b, "} of stacks {");
    if (r == 0)
        r = put_labels(b, &p->selector.stacks);
    return r < 0 ? r : buf_add_str(b, "}");
}

static int put_ports(struct buf *b, const struct policy_rule *rule)
{
    int r = rule->n_ports ? buf_add_str(b, " on ") : 0;
    for (size_t i = 0; r == 0 && i < rule->n_ports; i++) {
        const struct policy_ports *p = &rule->ports[i];
        const char *word = p->protocol == IPPROTO_TCP   ? "tcp"
                           : p->protocol == IPPROTO_UDP ? "udp"
                                                        : "sctp";
        const char *comma = i ? ", " : "";
        if (p->first == 0 && p->last == 65535)
            r = buf_addf(b, "%s%s", comma, word);
        else if (p->first == p->last)
            r = buf_addf(b, "%s%u/%s", comma, p->first, word);
        else
            r = buf_addf(b, "%s%u-%u/%s", comma, p->first, p->last, word);
    }
    return r;
}

char *policy_rule_text(const struct policy *p, const struct policy_rule *rule,
                       enum policy_direction d)
{
    static const char *const words[] = {
        [POLICY_ALLOW] = "allow", [POLICY_DENY] = "deny", [POLICY_PASS] = "pass"};
    _cleanup_buf_ struct buf b = BUF_INIT(LINE_MAX_BYTES);
    int r = buf_addf(&b, "%s: %s %s ", rule->name,
                     words[p->kind == POLICY_ADMIN ? rule->action : POLICY_ALLOW],
                     d == POLICY_INGRESS ? "from" : "to");
    if (r == 0 && rule->n_peers == 0)
        r = buf_add_str(&b, "anybody");
    for (size_t i = 0; r == 0 && i < rule->n_peers; i++) {
        r = i ? buf_add_str(&b, ", ") : 0;
        if (r == 0)
            r = put_peer(&b, &rule->peers[i]);
    }
    if (r == 0)
        r = put_ports(&b, rule);
    return r < 0 ? xasprintf("%s...", b.data ? b.data : "") : buf_take(&b);
}
