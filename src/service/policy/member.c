/* Instances under the policies: their addresses, from before they run until after. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"
#include "service/store/instance.h"
#include "service/store/network.h"

#define NAME_LABEL "io.proa.name"

/* Whoever has no record (a step of a build) has no labels. */
char **policy_labels(struct store *s, const char *instance_id, const char *name)
{
    struct instance_record record = {NULL};
    char **labels = NULL;
    _cleanup_free_ char *own = xasprintf(NAME_LABEL "=%s", name);
    if (store_instance_find(s, instance_id, &record, NULL) == 0) {
        _cleanup_json_ json_t *options = json_loads(record.options, 0, NULL);
        (void)!json_get_strv(options, "options", "labels", &labels, NULL);
        instance_record_done(&record);
    }
    env_set(&labels, own);
    return labels;
}

int member_match(struct change *c, const struct store_policy_member *m, char *const *labels,
                 struct error *err)
{
    struct store_selector *list = NULL;
    size_t n = 0;
    int r = store_selector_list(c->store, "", &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct policy_selector selector;
        if (policy_text_is_domains(list[i].text))
            continue;
        r = policy_selector_from_text(list[i].text, &selector, err);
        if (r < 0)
            break;
        if (policy_selector_fits(&selector, m->stack, labels))
            r = store_policy_match_add(c->store, list[i].id, m->address, err);
        policy_selector_done(&selector);
    }
    store_selector_list_free(list, n);
    return r;
}

int member_take(struct change *c, const char *address, const char *next, struct error *err)
{
    _cleanup_free_ int64_t *selectors = NULL;
    struct store_policy_member *old = NULL;
    size_t n = 0;
    int r = store_policy_member_list(c->store, address, NULL, &old, &n, err);
    bool same = r == 0 && n > 0 && next && strcmp(old->instance_id, next) == 0;
    int64_t profile = r == 0 && n > 0 ? old->profile : 0;
    store_policy_member_list_free(old, n);
    if (r == 0 && !same)
        r = learned_forget(c->store, address, c->batch, err);
    if (r < 0 || n == 0)
        return r;
    r = store_policy_match_of(c->store, address, &selectors, err);
    if (r < 0)
        return r;
    for (size_t i = 0; selectors[i]; i++)
        compile_match(COMPILE_DELETE, address, selectors[i], c->batch);
    compile_member(COMPILE_DELETE, address, profile, c->batch);
    return store_policy_member_remove(c->store, address, err);
}

/* change_profile() may bring a selector, whose sets then have the address already: adding it once
 * more changes nothing. */
int member_put(struct change *c, const struct store_policy_member *m, struct error *err)
{
    _cleanup_free_ int64_t *selectors = NULL;
    int r = store_policy_match_of(c->store, m->address, &selectors, err);
    for (size_t i = 0; r == 0 && selectors[i]; i++)
        compile_match(COMPILE_ADD, m->address, selectors[i], c->batch);
    if (r == 0)
        compile_member(COMPILE_ADD, m->address, m->profile, c->batch);
    return r;
}

static int join(struct change *c, struct store_policy_member *m, char *const *labels,
                struct error *err)
{
    int r = member_take(c, m->address, m->instance_id, err);
    if (r == 0)
        r = store_policy_member_put(c->store, m, err);
    if (r == 0)
        r = member_match(c, m, labels, err);
    if (r == 0)
        r = change_profile(c, m, err);
    if (r == 0)
        r = store_policy_member_put(c->store, m, err);
    return r < 0 ? r : member_put(c, m, err);
}

static int join_all(struct change *c, const struct store_policy_member *like, char *const *labels,
                    char *const *addresses, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && addresses[i]; i++) {
        struct store_policy_member m = *like;
        m.address = addresses[i];
        r = join(c, &m, labels, err);
    }
    return r;
}

int policy_join(struct store *s, const char *instance_id, const char *name, const char *network,
                char *const *addresses, struct error *err)
{
    _cleanup_strv_ char **labels = policy_labels(s, instance_id, name);
    _cleanup_json_ json_t *array = json_from_strv(labels);
    _cleanup_free_ char *text = json_to_text(array);
    struct store_policy_member m = {
        .instance_id = (char *)instance_id,
        .stack = (char *)policy_stack_of(labels),
        .labels = text,
    };
    _cleanup_network_ struct network *n = NULL;
    struct change c;
    int r = store_policy_default_deny(s, network, &m.default_deny, err);
    if (r == 0)
        r = store_network_find(s, network, &n, err);
    if (r == 0)
        r = change_begin(s, &c, err);
    if (r < 0)
        return r;
    change_bridge(c.batch, n, true);
    r = join_all(&c, &m, labels, addresses, err);
    return change_end(&c, r, err);
}

int policy_leave(struct store *s, char *const *addresses, struct error *err)
{
    struct change c;
    int r = change_begin(s, &c, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && addresses[i]; i++)
        r = member_take(&c, addresses[i], NULL, err);
    if (r == 0)
        r = change_sweep(&c, NULL, 0, err);
    return change_end(&c, r, err);
}
