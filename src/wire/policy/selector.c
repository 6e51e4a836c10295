#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/policy/policy.h"

static const char *const stack_keys[] = {"kubernetes.io/metadata.name", "io.proa.stack"};

void policy_labels_done(struct policy_labels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->list[i].key);
        strv_free(l->list[i].values);
    }
    free(l->list);
    *l = (struct policy_labels){NULL, 0};
}

void policy_selector_done(struct policy_selector *s)
{
    policy_labels_done(&s->stacks);
    policy_labels_done(&s->instances);
}

const char *policy_stack_of(char *const *labels)
{
    const char *stack = env_get(labels, "io.proa.stack");
    if (!stack || !*stack)
        stack = env_get(labels, "com.docker.compose.project");
    return stack && *stack ? stack : POLICY_STACK_DEFAULT;
}

static bool fits(const struct policy_requirement *r, const char *value)
{
    switch (r->op) {
    case POLICY_IN:
        return value && strv_has(r->values, value);
    case POLICY_NOT_IN: /* without the label, too */
        return !value || !strv_has(r->values, value);
    case POLICY_EXISTS:
        return value != NULL;
    case POLICY_DOES_NOT_EXIST:
        return value == NULL;
    }
    return false;
}

bool policy_labels_fit(const struct policy_labels *l, char *const *labels)
{
    for (size_t i = 0; i < l->n; i++)
        if (!fits(&l->list[i], env_get(labels, l->list[i].key)))
            return false;
    return true;
}

static const char *stack_label(const char *key, const char *stack)
{
    for (size_t i = 0; i < ARRAY_SIZE(stack_keys); i++)
        if (strcmp(key, stack_keys[i]) == 0)
            return stack;
    return NULL;
}

bool policy_selector_fits(const struct policy_selector *s, const char *stack, char *const *labels)
{
    for (size_t i = 0; i < s->stacks.n; i++)
        if (!fits(&s->stacks.list[i], stack_label(s->stacks.list[i].key, stack)))
            return false;
    return policy_labels_fit(&s->instances, labels);
}

/* --- as text: [[[key, op, values...]...], [...]] --- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static json_t *labels_to_json(const struct policy_labels *l)
{
    char **texts = xcalloc(l->n + 1, sizeof(*texts));
    json_t *all = json_array();
    for (size_t i = 0; i < l->n; i++) {
        const struct policy_requirement *r = &l->list[i];
        _cleanup_strv_ char **values = strv_copy(r->values);
        _cleanup_json_ json_t *one = json_array();
        qsort(values, strv_len(values), sizeof(*values), compare);
        json_array_append_new(one, json_string(r->key));
        json_array_append_new(one, json_integer(r->op));
        for (size_t k = 0; values[k]; k++)
            json_array_append_new(one, json_string(values[k]));
        texts[i] = json_to_text(one);
    }
    qsort(texts, l->n, sizeof(*texts), compare);
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(all, json_loads(texts[i], 0, NULL));
    strv_free(texts);
    return all;
}

char *policy_selector_text(const struct policy_selector *s)
{
    _cleanup_json_ json_t *both = json_array();
    json_array_append_new(both, labels_to_json(&s->stacks));
    json_array_append_new(both, labels_to_json(&s->instances));
    return json_to_text(both);
}

char *policy_stack_selector_text(const char *stack)
{
    char *values[] = {(char *)stack, NULL};
    struct policy_requirement one = {POLICY_IN, (char *)stack_keys[0], values};
    struct policy_selector s = {.stacks = {&one, 1}};
    return policy_selector_text(&s);
}

static int labels_from_json(const json_t *all, struct policy_labels *ret)
{
    size_t n = json_array_size(all);
    ret->list = xcalloc(n + 1, sizeof(*ret->list));
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(all, i);
        const char *key = json_string_value(json_array_get(one, 0));
        json_int_t op = json_integer_value(json_array_get(one, 1));
        if (!key || op < POLICY_IN || op > POLICY_DOES_NOT_EXIST)
            return -EBADMSG;
        struct policy_requirement *r = &ret->list[ret->n++];
        r->key = xstrdup(key);
        r->op = (enum policy_operator)op;
        r->values = strv_copy(NULL);
        for (size_t k = 2; k < json_array_size(one); k++) {
            const char *value = json_string_value(json_array_get(one, k));
            if (!value)
                return -EBADMSG;
            strv_add(&r->values, value);
        }
    }
    return 0;
}

int policy_selector_from_text(const char *text, struct policy_selector *ret, struct error *err)
{
    struct policy_selector s = {.stacks = {NULL, 0}};
    _cleanup_json_ json_t *both = json_loads(text, 0, NULL);
    int r = json_array_size(both) == 2 ? labels_from_json(json_array_get(both, 0), &s.stacks)
                                       : -EBADMSG;
    if (r == 0)
        r = labels_from_json(json_array_get(both, 1), &s.instances);
    if (r < 0) {
        policy_selector_done(&s);
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the store has no good selector in %.64s",
                         text);
    }
    *ret = s;
    return 0;
}

/* --- patterns of names --- */

char *policy_domains_text(char *const *domains)
{
    _cleanup_strv_ char **sorted = strv_copy(domains);
    qsort(sorted, strv_len(sorted), sizeof(*sorted), compare);
    _cleanup_free_ char *joined = strv_join(sorted, " ");
    return xasprintf(POLICY_DOMAINS_TEXT "%s", joined);
}

bool policy_text_is_domains(const char *text)
{
    return strncmp(text, POLICY_DOMAINS_TEXT, strlen(POLICY_DOMAINS_TEXT)) == 0;
}

char **policy_domains_from_text(const char *text)
{
    return policy_text_is_domains(text) ? strv_split(text + strlen(POLICY_DOMAINS_TEXT), ' ')
                                        : NULL;
}
