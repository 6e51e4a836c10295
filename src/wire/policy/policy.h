/*
 * Policies: who may talk to whom, in the words of Kubernetes.
 *
 *   kind: NetworkPolicy         of one stack (metadata.namespace; "default" when not said). What it
 *                               selects hears (ingress) and says (egress) only what some rule
 * allows. kind: AdminNetworkPolicy    over all stacks, in the order of spec.priority (0 first): the
 * first rule that fits says Allow, Deny, or Pass (go on with the others).
 *
 * Words beyond the two: `domainNames: [...]`, which administrators' policies of Kubernetes have,
 * may be said in a NetworkPolicy, too; `instanceSelector` and `stackSelector` may stand for
 * podSelector and namespaceSelector, `log: true` in a rule writes to the kernel's log, `nodes: {}`
 * is this host as a peer. A stack is a namespace; its labels are its name, as
 * kubernetes.io/metadata.name and as io.proa.stack.
 *
 * A peer of domain names is what the instance was told in answer to its own questions for such
 * names, and only outside: never an instance, the host, or a cloud's metadata.
 *
 * A peer that is a block of addresses never reaches the host, nor a cloud's metadata service unless
 * the block is about as narrow as that (POLICY_METADATA_BITS). "Anybody" (a rule without peers)
 * does not mean the host or metadata either: both must be named.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/policy/address.h"

#define POLICY_RULES_MAX     16384u /* of one direction of one policy */
#define POLICY_DOCUMENTS_MAX 10000u /* of one file */
#define POLICY_PEERS_MAX     16384u
#define POLICY_PORTS_MAX     1024u
#define POLICY_NAME_MAX      253u
#define POLICY_DOMAINS_MAX   1024u /* names of outside hosts in one peer */
#define POLICY_STACK_DEFAULT "default"

enum policy_operator {
    POLICY_IN,
    POLICY_NOT_IN,
    POLICY_EXISTS,
    POLICY_DOES_NOT_EXIST,
};
struct policy_requirement {
    enum policy_operator op;
    char *key;
    char **values;
};
/* All requirements must hold; none: everything fits. */
struct policy_labels {
    struct policy_requirement *list;
    size_t n;
};
/* Instances by their stack's labels and their own. */
struct policy_selector {
    struct policy_labels stacks, instances;
};

enum policy_peer_kind {
    POLICY_INSTANCES,
    POLICY_BLOCK,
    POLICY_HOST,
    POLICY_DOMAINS, /* of what is allowed to go out only */
};
struct policy_peer {
    enum policy_peer_kind kind;
    struct policy_selector selector; /* of POLICY_INSTANCES */
    struct policy_range block;       /* of POLICY_BLOCK, ... */
    struct policy_range *except;     /* ... without these */
    size_t n_except;
    char **domains; /* of POLICY_DOMAINS: patterns (wire/dns) */
};

struct policy_ports {
    uint8_t protocol;     /* IPPROTO_TCP, _UDP or _SCTP */
    uint16_t first, last; /* host order; 0 and 65535: all */
};

enum policy_action {
    POLICY_ALLOW,
    POLICY_DENY,
    POLICY_PASS,
};
struct policy_rule {
    char *name; /* as written, or "ingress[0]" */
    enum policy_action action;
    bool log;
    struct policy_peer *peers; /* none: anybody */
    size_t n_peers;
    struct policy_ports *ports; /* none: all protocols and ports */
    size_t n_ports;
};
struct policy_rules {
    struct policy_rule *list;
    size_t n;
};

enum policy_kind {
    POLICY_ADMIN,   /* asked first */
    POLICY_NETWORK, /* asked when no administrator's policy decided */
};
enum policy_direction {
    POLICY_INGRESS,
    POLICY_EGRESS,
};
struct policy {
    enum policy_kind kind;
    char *name;
    char *stack;       /* of POLICY_NETWORK, else "" */
    uint32_t priority; /* of POLICY_ADMIN */
    struct policy_selector subject;
    bool rules_for[2];            /* of POLICY_NETWORK: by direction, whether it says anything */
    struct policy_rules rules[2]; /* by direction */
};
void policy_done(struct policy *p);

struct policy_document {
    struct policy policy;
    char *json; /* the document, for the store */
};
void policy_documents_free(struct policy_document *list, size_t n);

/* All documents of a file; ERROR_INVALID with the line. *ret is owned. */
int policy_parse(const char *text, size_t len, const char *what, struct policy_document **ret,
                 size_t *ret_n, struct error *err) _must_check_;
/* One document that the store has kept. */
int policy_parse_stored(const char *json, struct policy *ret, struct error *err) _must_check_;

/* A line such as "db: allow from instances {app=web} of stacks {...} on 5432/tcp", cut where it is
 * too long; owned. */
char *policy_rule_text(const struct policy *p, const struct policy_rule *rule,
                       enum policy_direction d);

/* --- selector.c --- */

void policy_labels_done(struct policy_labels *l);
void policy_selector_done(struct policy_selector *s);
/* labels: "key=value". */
bool policy_labels_fit(const struct policy_labels *l, char *const *labels);
bool policy_selector_fits(const struct policy_selector *s, const char *stack, char *const *labels);
/* One text for selectors that mean the same by the same words; and back. Owned. */
char *policy_selector_text(const struct policy_selector *s);
int policy_selector_from_text(const char *text, struct policy_selector *ret,
                              struct error *err) _must_check_;
/* A selector of everything in one stack. */
char *policy_stack_selector_text(const char *stack);
/* The same for patterns of names, told from a selector's by its beginning; from_text gives NULL for
 * any other text. Owned. */
#define POLICY_DOMAINS_TEXT "domains "
bool policy_text_is_domains(const char *text);
char *policy_domains_text(char *const *domains);
char **policy_domains_from_text(const char *text);
/* The instance's stack by its labels: io.proa.stack, else com.docker.compose.project, else the
 * default. Borrowed. */
const char *policy_stack_of(char *const *labels);
