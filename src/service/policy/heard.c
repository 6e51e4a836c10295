/* Instances of other hosts under the policies: members without a profile. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/policy/policy-internal.h"

static char *labels_text(char *const *labels)
{
    _cleanup_json_ json_t *array = json_from_strv(labels);
    return json_to_text(array);
}

/* What there is of a teller's, in the order of addresses. */
struct told {
    struct store_policy_member *rows;
    size_t n;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct store_policy_member *)a)->address,
                  ((const struct store_policy_member *)b)->address);
}

static const struct store_policy_member *find(const struct told *t, const char *address)
{
    const struct store_policy_member key = {.address = (char *)address};
    return t->n ? bsearch(&key, t->rows, t->n, sizeof(*t->rows), compare) : NULL;
}

static bool is_known(const struct told *t, const struct policy_heard *h)
{
    const struct store_policy_member *m = find(t, h->address);
    _cleanup_free_ char *labels = m ? labels_text(h->labels) : NULL;
    return m && strcmp(m->labels, labels) == 0;
}

static int hear_one(struct change *c, const char *teller, const struct policy_heard *h,
                    struct error *err)
{
    _cleanup_free_ char *labels = labels_text(h->labels);
    struct store_policy_member m = {.address = h->address,
                                    .instance_id = (char *)teller,
                                    .stack = (char *)policy_stack_of(h->labels),
                                    .labels = labels},
                               *old = NULL;
    size_t n = 0;
    int r = store_policy_member_list(c->store, h->address, NULL, &old, &n, err);
    bool taken = r == 0 && n > 0 && strcmp(old->instance_id, teller) != 0;
    store_policy_member_list_free(old, n);
    if (r < 0 || taken)
        return r;
    r = member_take(c, h->address, teller, err);
    if (r == 0)
        r = store_policy_member_put(c->store, &m, err);
    if (r == 0)
        r = member_match(c, &m, h->labels, err);
    return r < 0 ? r : member_put(c, &m, err);
}

/* Marks in `kept` what stays; gives whether anything is to be done. */
static bool differs(const struct told *t, const struct policy_heard *list, size_t n, bool *kept)
{
    bool different = false;
    for (size_t i = 0; i < n; i++) {
        const struct store_policy_member *m = find(t, list[i].address);
        if (m)
            kept[m - t->rows] = true;
        different |= !is_known(t, &list[i]);
    }
    for (size_t i = 0; i < t->n; i++)
        different |= !kept[i];
    return different;
}

static int change(struct change *c, const char *teller, const struct told *t, const bool *kept,
                  const struct policy_heard *list, size_t n, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->n; i++)
        if (!kept[i])
            r = member_take(c, t->rows[i].address, NULL, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!is_known(t, &list[i]))
            r = hear_one(c, teller, &list[i], err);
    return r;
}

int policy_hear(struct store *s, const char *teller, const struct policy_heard *list, size_t n,
                struct error *err)
{
    struct told t = {.rows = NULL};
    struct change c;
    int r = store_policy_member_list(s, NULL, teller, &t.rows, &t.n, err);
    if (r < 0)
        return r;
    if (t.n > 1)
        qsort(t.rows, t.n, sizeof(*t.rows), compare);
    _cleanup_free_ bool *kept = xcalloc(t.n + 1, sizeof(*kept));
    if (differs(&t, list, n, kept)) {
        r = change_begin(s, &c, err);
        if (r == 0)
            r = change_end(&c, change(&c, teller, &t, kept, list, n, err), err);
    }
    store_policy_member_list_free(t.rows, t.n);
    return r;
}
