#include "service/policy/learned.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "kernel/nft_dump.h"
#include "service/policy/policy-internal.h"

/* --- reading --- */

struct reading {
    bool v6;
    struct learned *list;
    size_t n, before; /* before: of the sets that are done */
};

static int see(void *context, const struct nft_element *e)
{
    struct reading *r = context;
    size_t half = r->v6 ? 16 : 4;
    if (e->key_len != 2 * half)
        return 0;
    if (r->n == 0 || (r->n & (r->n - 1)) == 0)
        r->list = xreallocarray(r->list, r->n ? r->n * 2 : 1, sizeof(*r->list));
    struct learned *l = &r->list[r->n++];
    l->who = policy_address_from_bytes(e->key, r->v6);
    l->address = policy_address_from_bytes(e->key + half, r->v6);
    l->left_ms = e->expires_ms;
    memcpy(l->name, e->comment, sizeof(l->name));
    return 0;
}

static void again(void *context)
{
    struct reading *r = context;
    r->n = r->before;
}

static int read_set(struct store *s, struct reading *r, const char *set, bool v6, struct error *err)
{
    r->v6 = v6;
    r->before = r->n;
    return nft_dump_whole(NFT_INET, store_table(s, POLICY_TABLE).name, set, see, again, r, err);
}

/* Both sets of each list. */
static int read_lists(struct store *s, struct reading *reading, struct error *err)
{
    struct store_selector *lists = NULL;
    size_t n = 0;
    char set[NFT_NAME_MAX];
    int r = store_selector_list(s, POLICY_DOMAINS_TEXT, &lists, &n, err);
    for (size_t i = 0; r == 0 && i < 2 * n; i++) {
        compile_set_name(lists[i / 2].id, i % 2, set);
        r = read_set(s, reading, set, i % 2, err);
    }
    store_selector_list_free(lists, n);
    return r;
}

static int give(int r, struct reading *reading, struct learned **ret, size_t *ret_n)
{
    if (r < 0) {
        free(reading->list);
        return r;
    }
    *ret = reading->list;
    *ret_n = reading->n;
    return 0;
}

int learned_read(struct store *s, struct learned **ret, size_t *ret_n, struct error *err)
{
    struct reading reading = {.n = 0};
    int r = read_lists(s, &reading, err);
    return give(r, &reading, ret, ret_n);
}

int learned_names_read(struct store *s, struct learned **ret, size_t *ret_n, struct error *err)
{
    struct reading reading = {.n = 0};
    int r = read_set(s, &reading, LEARNED_NAMES4, false, err);
    if (r == 0)
        r = read_set(s, &reading, LEARNED_NAMES6, true, err);
    return give(r, &reading, ret, ret_n);
}

/* --- forgetting --- */

static int forget_in(struct store *s, const char *set, struct policy_address who,
                     struct nft_batch *out, struct error *err)
{
    struct reading reading = {.n = 0};
    struct nft_data key;
    int r = read_set(s, &reading, set, who.v6, err);
    for (size_t i = 0; r == 0 && i < reading.n; i++) {
        if (reading.list[i].who.n != who.n)
            continue;
        learned_key(who, reading.list[i].address, &key);
        nft_batch_forget(out, NFT_INET, set, &key);
    }
    free(reading.list);
    return r;
}

/* Where no policy names a host nothing is looked at: a start pays for nothing that it does not use.
 */
int learned_forget(struct store *s, const char *address, struct nft_batch *out, struct error *err)
{
    struct store_selector *lists = NULL;
    struct policy_address who;
    char set[NFT_NAME_MAX];
    size_t n = 0;
    int r = store_selector_list(s, POLICY_DOMAINS_TEXT, &lists, &n, err);
    if (r == 0 && n > 0 && policy_address_parse(address, &who) == 0) {
        for (size_t i = 0; r == 0 && i < n; i++) {
            compile_set_name(lists[i].id, who.v6, set);
            r = forget_in(s, set, who, out, err);
        }
        if (r == 0)
            r = forget_in(s, who.v6 ? LEARNED_NAMES6 : LEARNED_NAMES4, who, out, err);
    }
    store_selector_list_free(lists, n);
    return r;
}

/* --- whose names --- */

int policy_domains_of(struct store *s, const char *instance_id, struct policy_domains **ret,
                      size_t *ret_n, struct error *err)
{
    struct store_selector *rows = NULL;
    size_t n = 0;
    int r = store_selector_list_of(s, POLICY_DOMAINS_TEXT, instance_id, &rows, &n, err);
    if (r < 0)
        return r;
    struct policy_domains *list = xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = (struct policy_domains){rows[i].id, policy_domains_from_text(rows[i].text)};
    store_selector_list_free(rows, n);
    *ret = list;
    *ret_n = n;
    return 0;
}
