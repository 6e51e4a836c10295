/* Policy files: what they may say, with which lines errors come, and what they decide. */
#include "check.h"

#include <netinet/in.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/policy/evaluate.h"
#include "wire/yaml/yaml.h"

#define HEAD(kind, name) "kind: " kind "\nmetadata: {name: " name "}\nspec:\n"

struct set {
    struct policy_document *list;
    const struct policy *sorted[16];
    size_t n;
};

static int compare(const void *a, const void *b)
{
    return policy_compare(*(const struct policy *const *)a, *(const struct policy *const *)b);
}

static struct set parse(const char *text)
{
    struct set s = {.n = 0};
    struct error err = ERROR_INIT;
    if (policy_parse(text, strlen(text), "file", &s.list, &s.n, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(s.n <= ARRAY_SIZE(s.sorted));
    for (size_t i = 0; i < s.n; i++)
        s.sorted[i] = &s.list[i].policy;
    qsort(s.sorted, s.n, sizeof(s.sorted[0]), compare);
    return s;
}

/* "=www.example.com" is known by that name, with "=192.0.2.1" behind it at that address;
 * "web" is an instance labelled app=web of stack "default"; "shop/web" of stack shop; "host";
 * "world"; or an address. */
static struct policy_endpoint endpoint(const char *text, char **labels, char *space)
{
    struct policy_endpoint e = {.side = POLICY_SIDE_WORLD};
    if (*text == '=') {
        snprintf(space, 64, "%s", text + 1);
        char *address = strchr(space, '=');
        if (address)
            *address++ = '\0';
        e.has_address = address && policy_address_parse(address, &e.address) == 0;
        labels[0] = xstrdup(space);
        e.domains = labels;
    } else if (strcmp(text, "host") == 0)
        e.side = POLICY_SIDE_HOST;
    else if (policy_address_parse(text, &e.address) == 0)
        e.has_address = true;
    else if (strcmp(text, "world") != 0) {
        char *slash;
        snprintf(space, 64, "%s", text);
        slash = strchr(space, '/');
        e.side = POLICY_SIDE_INSTANCE;
        e.stack = slash ? space : "default";
        if (slash)
            *slash = '\0';
        labels[0] = xasprintf("app=%s", slash ? slash + 1 : space);
        labels[1] = NULL;
        e.labels = labels;
    }
    return e;
}

static void expect(const struct set *s, const char *from, const char *to, uint8_t protocol,
                   uint16_t port, bool allow, const char *why)
{
    char *from_labels[2] = {NULL}, *to_labels[2] = {NULL}, from_space[64], to_space[64];
    struct policy_endpoint a = endpoint(from, from_labels, from_space),
                           b = endpoint(to, to_labels, to_space);
    struct policy_decision d;
    policy_evaluate(s->sorted, s->n, &a, &b, protocol, port, &d);
    char *text = policy_decision_text(&d);
    if (d.allow != allow || !strstr(text, why))
        fail_msg("%s to %s:%u gave %s (%s)", from, to, port, d.allow ? "allow" : "deny", text);
    free(text);
    free(from_labels[0]);
    free(to_labels[0]);
}

static void test_defaults(_unused_ void **state)
{
    struct set s = {.n = 0};
    expect(&s, "web", "db", IPPROTO_TCP, 80, true, "same stack");
    expect(&s, "web", "shop/db", IPPROTO_TCP, 80, false, "another stack");
    expect(&s, "web", "host", IPPROTO_TCP, 22, false, "host");
    expect(&s, "web", "169.254.169.254", IPPROTO_TCP, 80, false, "metadata");
    expect(&s, "web", "fd00:ec2::254", IPPROTO_TCP, 80, false, "metadata");
    expect(&s, "web", "192.0.2.1", IPPROTO_TCP, 80, true, "out");
    expect(&s, "world", "web", IPPROTO_TCP, 80, true, "outside");
    expect(&s, "host", "web", IPPROTO_TCP, 80, true, "host reaches");
}

static void test_a_network_policy(_unused_ void **state)
{
    struct set s =
        parse(HEAD("NetworkPolicy",
                   "db") "  podSelector: {matchLabels: {app: db}}\n"
                         "  ingress:\n"
                         "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
                         "    ports: [{port: 5432}, {protocol: UDP, port: 10, endPort: 20}]\n"
                         "  - from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]\n"
                         "  - name: shops\n"
                         "    from: [{namespaceSelector: {matchLabels: {io.proa.stack: shop}}}]\n"
                         "    ports: [{protocol: SCTP}]\n");
    expect(&s, "web", "db", IPPROTO_TCP, 5432, true, "NetworkPolicy default/db: ingress[0]");
    expect(&s, "web", "db", IPPROTO_TCP, 5433, false, "no ingress rule fits");
    expect(&s, "web", "db", IPPROTO_UDP, 20, true, "ingress[0]");
    expect(&s, "web", "db", IPPROTO_UDP, 21, false, "no ingress");
    expect(&s, "shop/web", "db", IPPROTO_TCP, 5432, false, "no ingress");
    expect(&s, "shop/any", "db", IPPROTO_SCTP, 1, true, "shops");
    expect(&s, "192.0.2.127", "db", IPPROTO_TCP, 1, true, "ingress[1]");
    expect(&s, "192.0.2.128", "db", IPPROTO_TCP, 1, false, "no ingress");
    expect(&s, "world", "db", IPPROTO_TCP, 1, false, "no ingress");
    expect(&s, "host", "db", IPPROTO_TCP, 1, true, "host");
    expect(&s, "db", "web", IPPROTO_TCP, 1, true, "same stack");
    policy_documents_free(s.list, s.n);
}

static void test_egress(_unused_ void **state)
{
    struct set s =
        parse(HEAD("NetworkPolicy",
                   "a") "  podSelector: {matchLabels: {app: a}}\n"
                        "  policyTypes: [Egress]\n"
                        "  egress:\n"
                        "  - {ports: [{port: 443}]}\n"
                        "  - {to: [{nodes: {}}], ports: [{port: 53}]}\n"
                        "  - {to: [{ipBlock: {cidr: 169.254.169.254/32}}], ports: [{port: 80}]}\n"
                        "  - {to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 81}]}\n");
    expect(&s, "a", "b", IPPROTO_TCP, 443, true, "same stack");
    expect(&s, "a", "b", IPPROTO_TCP, 80, false, "no egress");
    expect(&s, "a", "shop/b", IPPROTO_TCP, 443, false, "another stack");
    expect(&s, "a", "host", IPPROTO_TCP, 443, false, "no egress");
    expect(&s, "a", "host", IPPROTO_TCP, 53, true, "egress[1]");
    expect(&s, "a", "169.254.169.254", IPPROTO_TCP, 80, true, "egress[2]");
    expect(&s, "a", "169.254.169.254", IPPROTO_TCP, 443, false, "no egress");
    expect(&s, "a", "169.254.169.254", IPPROTO_TCP, 81, false, "no egress");
    expect(&s, "a", "world", IPPROTO_TCP, 81, true, "egress[3]");
    expect(&s, "b", "world", IPPROTO_TCP, 82, true, "out");
    policy_documents_free(s.list, s.n);
}

static void test_names_of_outside_hosts(_unused_ void **state)
{
    struct set s = parse(HEAD(
        "NetworkPolicy", "x") "  podSelector: {}\n  egress:\n"
                              "  - to: [{domainNames: [Example.com., \"*.cdn.net\"]}]\n"
                              "    ports: [{port: 443}]\n---\n" HEAD(
                                  "AdminNetworkPolicy",
                                  "a") "  priority: 3\n  subject: {namespaces: {}}\n  egress:\n"
                                       "  - {action: Allow, to: [{domainNames: [api.org.uk]}]}\n");
    expect(&s, "web", "=example.com", IPPROTO_TCP, 443, true, "x: egress[0]");
    expect(&s, "web", "=example.com", IPPROTO_TCP, 80, false, "no egress rule");
    expect(&s, "web", "=www.example.com", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "=a.b.cdn.net", IPPROTO_TCP, 443, true, "x: egress[0]");
    expect(&s, "web", "=cdn.net", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "=a.cdn.net=192.0.2.1", IPPROTO_TCP, 443, true, "x: egress[0]");
    expect(&s, "web", "=a.cdn.net=169.254.169.254", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "192.0.2.1", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "host", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "web", IPPROTO_TCP, 443, false, "no egress rule");
    expect(&s, "web", "=api.org.uk", IPPROTO_UDP, 53, true, "AdminNetworkPolicy a: egress[0]");
    char *text = policy_rule_text(&s.list[0].policy, s.list[0].policy.rules[POLICY_EGRESS].list,
                                  POLICY_EGRESS);
    assert_string_equal(text, "egress[0]: allow to domains {example.com, *.cdn.net} on 443/tcp");
    free(text);
    policy_documents_free(s.list, s.n);
}

static void test_patterns_as_text(_unused_ void **state)
{
    char *one[] = {(char *)"b.org", (char *)"*.a.com", NULL},
         *other[] = {(char *)"*.a.com", (char *)"b.org", NULL};
    char *text = policy_domains_text(one), *same = policy_domains_text(other);
    char *stack = policy_stack_selector_text("domains "), **back = policy_domains_from_text(text);
    assert_string_equal(text, same);
    assert_int_equal(strv_len(back), 2);
    assert_null(policy_domains_from_text(stack));
    strv_free(back);
    free(text);
    free(same);
    free(stack);
}

static void test_administrators_come_first(_unused_ void **state)
{
    struct set s = parse(
        HEAD("AdminNetworkPolicy",
             "late") "  priority: 20\n"
                     "  subject: {namespaces: {}}\n"
                     "  ingress: [{action: Deny, from: [{namespaces: {}}]}]\n"
                     "---\n" HEAD("AdminNetworkPolicy",
                                  "early") "  priority: 10\n"
                                           "  subject: {pods: {namespaceSelector: {}, podSelector: "
                                           "{matchLabels: {app: db}}}}\n"
                                           "  ingress:\n"
                                           "  - {name: pass, action: Pass, from: [{pods: "
                                           "{podSelector: {matchLabels: {app: web}}}}], ports: "
                                           "[{portNumber: {protocol: TCP, port: 1}}]}\n"
                                           "  - {name: allow, action: Allow, from: [{namespaces: "
                                           "{}}], ports: [{portRange: {start: 5, end: 6}}]}\n"
                                           "---\n" HEAD(
                                               "NetworkPolicy",
                                               "np") "  podSelector: {matchLabels: {app: db}}\n");
    expect(&s, "shop/x", "db", IPPROTO_TCP, 5, true, "early: allow");
    expect(&s, "x", "db", IPPROTO_TCP, 7, false, "late");
    expect(&s, "web", "db", IPPROTO_TCP, 1, false, "NetworkPolicy default/np: no ingress");
    expect(&s, "web", "shop/db", IPPROTO_TCP, 1, false, "another stack");
    expect(&s, "shop/web", "shop/db", IPPROTO_TCP, 1, true, "same stack");
    expect(&s, "world", "shop/db", IPPROTO_TCP, 9, true, "outside");
    policy_documents_free(s.list, s.n);
}

static void test_expressions(_unused_ void **state)
{
    char *web[] = {(char *)"app=web", (char *)"tier=1", NULL}, *none[] = {NULL};
    static const struct {
        const char *expression;
        bool web, none;
    } cases[] = {
        {"{key: app, operator: In, values: [web, db]}", true, false},
        {"{key: app, operator: NotIn, values: [web]}", false, true},
        {"{key: app, operator: Exists}", true, false},
        {"{key: app, operator: DoesNotExist}", false, true},
        {"{key: tier, operator: In, values: [\"1\"]}", true, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text =
            xasprintf(HEAD("NetworkPolicy", "x") "  podSelector: {matchExpressions: [%s]}\n",
                      cases[i].expression);
        struct set s = parse(text);
        const struct policy_selector *selector = &s.sorted[0]->subject;
        assert_int_equal(policy_selector_fits(selector, "default", web), cases[i].web);
        assert_int_equal(policy_selector_fits(selector, "default", none), cases[i].none);
        assert_false(policy_selector_fits(selector, "other", web));
        policy_documents_free(s.list, s.n);
    }
}

/* What is wrong, and the line it is said to be on. */
static void test_files_that_are_refused(_unused_ void **state)
{
    static const struct {
        const char *text, *say;
    } cases[] = {
        {"kind: Pod\n", "line 1: kind"},
        {"{", "line"},
        {"a: &x 1\n", "line 1: anchors"},
        {"a: 1\nb: *x\n", "line 2: aliases"},
        {"a: 1\na: 2\n", "twice"},
        {"- 1\n", "must be a mapping"},
        {HEAD("NetworkPolicy", "x y") "  podSelector: {}\n", "not a name"},
        {"kind: NetworkPolicy\nspec: {}\n", "metadata is missing"},
        {"kind: NetworkPolicy\nmetadata: {name: x}\n", "spec is missing"},
        {HEAD("NetworkPolicy", "x") "  podSelector: {}\n  ingres: []\n", "line 5: spec has no"},
        {HEAD("NetworkPolicy", "x") "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.1/8}\n",
         "line 6: \"10.0.0.1/8\""},
        {HEAD("NetworkPolicy", "x") "  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: "
                                    "[11.0.0.0/8]}}]}]\n",
         "not within"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{from: [{}]}]\n", "one of them"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{to: []}]\n", "ingress has \"from\""},
        {HEAD("NetworkPolicy", "x") "  ingress: [{ports: [{port: http}]}]\n", "number"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{ports: [{port: 5, endPort: 4}]}]\n", "range"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{ports: [{protocol: ICMP}]}]\n", "protocol"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{ports: [{port: 70000}]}]\n", "65535"},
        {HEAD("NetworkPolicy", "x") "  policyTypes: [Sideways]\n", "policyTypes"},
        {HEAD("NetworkPolicy", "x") "  policyTypes: [Ingress]\n  egress: [{}]\n", "no Egress"},
        {HEAD("NetworkPolicy", "x") "  podSelector: {}\n  instanceSelector: {}\n", "give one"},
        {HEAD("NetworkPolicy", "x") "  podSelector: {matchExpressions: [{key: a, operator: In}]}\n",
         "needs values"},
        {HEAD("NetworkPolicy", "x") "  ingress: [{from: [{domainNames: [a.com]}]}]\n",
         "egress has"},
        {HEAD("NetworkPolicy", "x") "  egress: [{to: [{domainNames: []}]}]\n", "1 to 1024"},
        {HEAD("NetworkPolicy", "x") "  egress: [{to: [{domainNames: [\"*.com\"]}]}]\n",
         "line 4: \"*.com\" is not"},
        {HEAD("NetworkPolicy", "x") "  egress: [{to: [{domainNames: [a.com], nodes: {}}]}]\n",
         "one of them"},
        {HEAD("AdminNetworkPolicy", "x") "  priority: 1\n  subject: {namespaces: {}}\n  egress: "
                                         "[{action: Deny, to: [{domainNames: [a.com]}]}]\n",
         "only be allowed"},
        {HEAD("AdminNetworkPolicy", "x") "  subject: {namespaces: {}}\n", "priority"},
        {HEAD("AdminNetworkPolicy", "x") "  priority: 1001\n", "1000"},
        {HEAD("AdminNetworkPolicy", "x") "  priority: 1\n", "subject"},
        {HEAD("AdminNetworkPolicy", "x") "  priority: 1\n  subject: {namespaces: {}}\n  ingress: "
                                         "[{action: Maybe, from: [{namespaces: {}}]}]\n",
         "action"},
        {HEAD("AdminNetworkPolicy", "x") "  priority: 1\n  subject: {namespaces: {}}\n  ingress: "
                                         "[{action: Deny}]\n",
         "from"},
        {HEAD("NetworkPolicy", "x") "  podSelector: {}\n---\n" HEAD("NetworkPolicy",
                                                                    "x") "  podSelector: {}\n",
         "second policy"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct policy_document *list;
        struct error err = ERROR_INIT;
        size_t n;
        if (policy_parse(cases[i].text, strlen(cases[i].text), "file", &list, &n, &err) == 0)
            fail_msg("taken: %s", cases[i].text);
        if (!strstr(err.msg, cases[i].say) || strncmp(err.msg, "file", 4) != 0)
            fail_msg("\"%s\" was said of %s", err.msg, cases[i].text);
    }
}

static void test_blocks(_unused_ void **state)
{
    struct policy_range r, hole;
    struct policy_address a;
    assert_int_equal(policy_block_parse("0.0.0.0/0", &r, NULL), 0);
    assert_false(policy_block_names_metadata(&r));
    assert_int_equal(policy_block_parse("169.254.0.0/16", &hole, NULL), 0);
    assert_true(policy_block_names_metadata(&hole));
    struct policy_range *list = xcalloc(1, sizeof(*list));
    size_t n = 1;
    list[0] = r;
    policy_ranges_subtract(&list, &n, &hole, 1);
    assert_int_equal(n, 2);
    assert_int_equal(policy_address_parse("169.253.255.255", &a), 0);
    assert_true(list[0].last == a.n);
    assert_int_equal(policy_address_parse("169.255.0.0", &a), 0);
    assert_true(list[1].first == a.n);
    assert_string_equal(policy_address_text(a).s, "169.255.0.0");
    free(list);
    assert_int_equal(policy_block_parse("::/0", &r, NULL), 0);
    assert_int_equal(policy_address_parse("fd00::1", &a), 0);
    assert_true(policy_range_has(&r, a));
    assert_string_equal(policy_address_text(a).s, "fd00::1");
    assert_int_equal(policy_block_parse("fd00::1/128", &r, NULL), 0);
    assert_true(r.first == a.n && r.last == a.n);
    for (size_t i = 0; i < 5; i++) {
        static const char *const bad[] = {"", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8"};
        assert_int_not_equal(policy_block_parse(bad[i], &r, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_a_network_policy),
        cmocka_unit_test(test_egress),           cmocka_unit_test(test_administrators_come_first),
        cmocka_unit_test(test_expressions),      cmocka_unit_test(test_files_that_are_refused),
        cmocka_unit_test(test_blocks),           cmocka_unit_test(test_names_of_outside_hosts),
        cmocka_unit_test(test_patterns_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
