#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/nft.h"
#include "service/policy/policy-internal.h"
#include "service/store/network.h"

/* --- one member's elements, by netlink --- */

static const char *const maps[] = {"egress", "host", "ingress"};

static bool put_key(const char *address, struct nft_data *key, const char **ret_digit)
{
    struct in_addr a4;
    struct in6_addr a6;
    key->len = 0;
    *ret_digit = "4";
    if (inet_pton(AF_INET, address, &a4) == 1) {
        nft_put_bytes(key, &a4, sizeof(a4));
        return true;
    }
    *ret_digit = "6";
    if (inet_pton(AF_INET6, address, &a6) != 1)
        return false;
    nft_put_bytes(key, &a6, sizeof(a6));
    return true;
}

static void put_version(struct nft_batch *b)
{
    struct nft_data version = {.len = 0};
    uint32_t one = 1;
    nft_put_bytes(&version, &one, sizeof(one));
    nft_batch_add(b, NFT_INET, POLICY_TABLE, POLICY_TABLE_VERSION, &version, NULL);
}

/* f is called with the name of each set and, for a map, the chain that it leads to. */
typedef int (*each_set)(struct nft_batch *b, const char *set, const struct nft_data *key,
                        const char *chain);

static int each_of_member(struct nft_batch *b, each_set f, const char *address, int64_t profile,
                          const int64_t *selectors)
{
    struct nft_data key;
    const char *digit;
    char set[48], chain[48];
    int r = 0;
    if (!put_key(address, &key, &digit))
        return -EINVAL;
    snprintf(set, sizeof(set), "instances%s", digit);
    r = f(b, set, &key, NULL);
    for (size_t i = 0; r == 0 && selectors && selectors[i]; i++) {
        snprintf(set, sizeof(set), "s%lld_%s", (long long)selectors[i], digit);
        r = f(b, set, &key, NULL);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(maps); i++) {
        snprintf(set, sizeof(set), "%s%s", maps[i], digit);
        snprintf(chain, sizeof(chain), "%c%lld", maps[i][0], (long long)profile);
        r = f(b, set, &key, chain);
    }
    return r;
}

static int add(struct nft_batch *b, const char *set, const struct nft_data *key, const char *chain)
{
    if (chain)
        nft_batch_add_goto(b, NFT_INET, POLICY_TABLE, set, key, chain);
    else
        nft_batch_add(b, NFT_INET, POLICY_TABLE, set, key, NULL);
    return 0;
}

static int delete_one(struct nft_batch *b, const char *set, const struct nft_data *key,
                      _unused_ const char *chain)
{
    nft_batch_delete(b, NFT_INET, POLICY_TABLE, set, key);
    return 0;
}

static int delete_alone(struct nft_batch *b, const char *set, const struct nft_data *key,
                        _unused_ const char *chain)
{
    nft_batch_delete(b, NFT_INET, POLICY_TABLE, set, key);
    (void)!nft_batch_commit(b, NULL);
    return 0;
}

int table_member(bool on, const char *address, int64_t profile, const int64_t *selectors,
                 struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    put_version(b);
    int r = each_of_member(b, on ? add : delete_one, address, profile, selectors);
    if (r < 0)
        return error_errno(err, r, "put %s under the policies", address);
    return nft_batch_commit(b, err);
}

void table_forget(const char *address, const int64_t *selectors)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    (void)!each_of_member(b, delete_alone, address, 0, selectors);
}

int policy_table_remove(struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    nft_batch_delete_table(b, NFT_INET, POLICY_TABLE);
    int r = nft_batch_commit(b, NULL);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "remove the table " POLICY_TABLE);
    return 0;
}

/* --- networks over several hosts --- */

void policy_span(const char *bridge, bool on)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    struct nft_data key = {.len = 0};
    nft_put_link(&key, bridge);
    if (on)
        nft_batch_add(b, NFT_INET, POLICY_TABLE, "spanned", &key, NULL);
    else
        nft_batch_delete(b, NFT_INET, POLICY_TABLE, "spanned", &key);
    (void)!nft_batch_commit(b, NULL);
}

/* --- the whole table --- */

static int compose_spanned(struct store *s, struct buf *out, struct error *err)
{
    struct network **networks;
    int r = store_network_list(s, &networks, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && networks[i]; i++)
        if (networks[i]->vxlan_id)
            r = buf_addf(out, "add element inet " POLICY_TABLE " spanned { \"%s\" }\n",
                         networks[i]->bridge);
    network_list_free(networks);
    return r;
}

static int compose_all(struct change *c, struct error *err)
{
    struct store *s = c->store;
    struct store_selector *selectors = NULL;
    struct store_policy *policies = NULL;
    struct store_profile *profiles = NULL;
    struct store_policy_member *members = NULL;
    size_t n_selectors = 0, n_policies = 0, n_profiles = 0, n_members = 0;
    buf_reset(&c->text);
    int r = buf_addf(&c->text, "table inet " POLICY_TABLE "\ndelete table inet " POLICY_TABLE "\n");
    if (r == 0)
        r = compile_base(&c->text);
    if (r == 0)
        r = compose_spanned(s, &c->text, err);
    if (r == 0)
        r = store_selector_list(s, &selectors, &n_selectors, err);
    for (size_t i = 0; r == 0 && i < n_selectors; i++)
        r = compile_selector(s, selectors[i].id, &c->text, err);
    if (r == 0)
        r = store_policy_list(s, &policies, &n_policies, err);
    for (size_t i = 0; r == 0 && i < n_policies; i++) {
        struct policy policy;
        r = policy_parse_stored(policies[i].json, &policy, err);
        if (r < 0)
            break;
        r = compile_policy(s, policies[i].id, &policy, &c->text, err);
        policy_done(&policy);
    }
    if (r == 0)
        r = store_profile_list(s, 0, &profiles, &n_profiles, err);
    for (size_t i = 0; r == 0 && i < n_profiles; i++)
        r = compile_profile(s, &profiles[i], &c->text, err);
    if (r == 0)
        r = store_policy_member_list(s, NULL, NULL, &members, &n_members, err);
    for (size_t i = 0; r == 0 && i < n_members; i++) {
        char *one[] = {members[i].address, NULL};
        r = compile_members("add", one, members[i].profile, &c->text);
    }
    store_selector_list_free(selectors, n_selectors);
    store_policy_list_free(policies, n_policies);
    store_profile_list_free(profiles, n_profiles);
    store_policy_member_list_free(members, n_members);
    return r;
}

/* --- a change --- */

static char *note_path(const struct store *s)
{
    return path_join(s->run, "networks/policy.changing");
}

static int take_lock(struct store *s, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->run, "networks/policy.lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    while (flock(fd, LOCK_EX) < 0) {
        if (errno == EINTR)
            continue;
        int r = error_errno(err, errno, "lock %s", path);
        close_fd(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int change_begin(struct store *s, struct change *ret, struct error *err)
{
    _cleanup_free_ char *note = note_path(s);
    *ret = (struct change){.store = s, .text = BUF_INIT(POLICY_TEXT_MAX), .lock = -EBADF};
    int r = take_lock(s, &ret->lock, err);
    if (r < 0)
        return r;
    ret->whole = access(note, F_OK) == 0;
    _cleanup_close_ int fd = open(note, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    r = fd < 0 ? error_errno(err, errno, "write %s", note) : store_begin(s, err);
    if (r < 0)
        ret->lock = close_fd(ret->lock);
    return r;
}

static bool table_is_there(void)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new();
    put_version(b);
    return nft_batch_commit(b, NULL) == 0;
}

/* Without instances nothing needs a table: the first that joins brings it. */
static int nobody_there(struct change *c, bool *ret, struct error *err)
{
    struct store_policy_member *members = NULL;
    size_t n = 0;
    int r = store_policy_member_list(c->store, NULL, NULL, &members, &n, err);
    store_policy_member_list_free(members, n);
    *ret = n == 0;
    return r;
}

static int carry_out(struct change *c, struct error *err)
{
    bool nobody = false;
    int r = 0;
    if (c->text.len == 0 && !c->whole)
        return 0;
    if (!c->whole)
        c->whole = !table_is_there();
    if (c->whole) {
        r = nobody_there(c, &nobody, err);
        if (r == 0 && nobody && !table_is_there())
            return policy_table_remove(err); /* one of another version */
        if (r == 0)
            r = compose_all(c, err);
    }
    return r < 0 ? r : nft_load(c->text.data, c->text.len, err);
}

int change_end(struct change *c, int r, struct error *err)
{
    _cleanup_free_ char *note = note_path(c->store);
    if (r == 0)
        r = carry_out(c, err);
    int end = store_end(c->store, r == 0, r == 0 ? err : NULL);
    /* A failure before the kernel's transaction leaves all as it was; one of the store's after it
     * leaves the note. */
    if (end == 0 && (r == 0 || !c->whole))
        unlink(note);
    for (size_t i = 0; i < c->n_cache; i++) {
        store_policy_member_done(&c->cache[i].row);
        strv_free(c->cache[i].labels);
    }
    free(c->cache);
    buf_done(&c->text);
    c->lock = close_fd(c->lock);
    return r < 0 ? r : end;
}

char **labels_of_row(const struct store_policy_member *m)
{
    _cleanup_json_ json_t *array = json_loads(m->labels, 0, NULL);
    char **labels = strv_copy(NULL);
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) if (json_is_string(item))
        strv_add(&labels, json_string_value(item));
    return labels;
}

int change_members(struct change *c, struct error *err)
{
    struct store_policy_member *rows;
    size_t n;
    if (c->loaded)
        return 0;
    int r = store_policy_member_list(c->store, NULL, NULL, &rows, &n, err);
    if (r < 0)
        return r;
    c->cache = xcalloc(n + 1, sizeof(*c->cache));
    for (size_t i = 0; i < n; i++) {
        c->cache[i].row = rows[i];
        c->cache[i].labels = labels_of_row(&rows[i]);
    }
    free(rows);
    c->n_cache = n;
    c->loaded = true;
    return 0;
}

int policy_repair(struct store *s, struct error *err)
{
    _cleanup_free_ char *note = note_path(s);
    struct change c;
    if (access(note, F_OK) < 0)
        return 0;
    int r = change_begin(s, &c, err);
    return r < 0 ? r : change_end(&c, 0, err);
}
