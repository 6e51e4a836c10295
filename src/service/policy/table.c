#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/nft.h"
#include "service/policy/policy-internal.h"
#include "service/store/network.h"

#define BASE_MAX ((size_t)1 << 20)

static void put_version(struct nft_batch *b)
{
    struct nft_data version = {.len = 0};
    uint32_t one = 1;
    nft_put_bytes(&version, &one, sizeof(one));
    nft_batch_add(b, NFT_INET, POLICY_TABLE_VERSION, &version, NULL);
}

static struct nft_batch *new_batch(const struct store *s)
{
    return nft_batch_new(store_table(s, POLICY_TABLE).name);
}

int policy_table_remove(struct store *s, struct error *err)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    nft_batch_delete_table(b, NFT_INET);
    int r = nft_batch_commit(b, NULL);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "remove the table %s", store_table(s, POLICY_TABLE).name);
    return 0;
}

/* --- bridges of networks, and which of them span hosts --- */

static void put_link(struct nft_batch *b, const char *set, const char *link, bool on)
{
    struct nft_data key = {.len = 0};
    nft_put_link(&key, link);
    if (on)
        nft_batch_add(b, NFT_INET, set, &key, NULL);
    else
        nft_batch_delete(b, NFT_INET, set, &key);
}

void change_bridge(struct nft_batch *b, const struct network *n, bool on)
{
    if (n->parent)
        return;
    put_link(b, POLICY_BRIDGES, n->bridge, on);
    if (n->vxlan_id)
        put_link(b, "spanned", n->bridge, on);
}

/* --- the whole table --- */

static int compose_selectors(struct change *c, struct error *err)
{
    struct store_selector *list = NULL;
    _cleanup_free_ struct learned *known = NULL;
    size_t n = 0, n_known = 0;
    int r = store_selector_list(c->store, "", &list, &n, err);
    if (r == 0) /* from the table that is about to go */
        r = learned_read(c->store, &known, &n_known, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_strv_ char **domains = policy_domains_from_text(list[i].text);
        if (domains)
            compile_domains(list[i].id, domains, known, n_known, c->batch);
        else
            r = compile_selector(c->store, list[i].id, c->batch, err);
    }
    store_selector_list_free(list, n);
    return r;
}

static int compose_policies(struct change *c, struct error *err)
{
    struct store_policy *list = NULL;
    size_t n = 0;
    int r = store_policy_list(c->store, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct policy policy;
        r = policy_parse_stored(list[i].json, &policy, err);
        if (r < 0)
            break;
        r = compile_policy(c->store, list[i].id, &policy, c->batch, err);
        policy_done(&policy);
    }
    store_policy_list_free(list, n);
    return r;
}

static int compose_profiles(struct change *c, struct error *err)
{
    struct store_profile *list = NULL;
    size_t n = 0;
    int r = store_profile_list(c->store, 0, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = compile_profile(c->store, &list[i], c->batch, err);
    store_profile_list_free(list, n);
    return r;
}

static int compose_members(struct change *c, struct error *err)
{
    struct store_policy_member *list = NULL;
    size_t n = 0;
    int r = store_policy_member_list(c->store, NULL, NULL, &list, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        compile_member(COMPILE_ADD, list[i].address, list[i].profile, c->batch);
    store_policy_member_list_free(list, n);
    return r;
}

/*
 * What never changes is a text for the nft program, in which the way of Proa's packets ends with
 * nothing: they are dropped, without an answer that would end a connection. Then all the rest comes
 * in one transaction, and at its end the way goes on.
 */
static int make_whole(struct change *c, struct error *err)
{
    static int (*const parts[])(struct change *, struct error *) = {
        compose_selectors, compose_policies, compose_profiles, compose_members};
    _cleanup_buf_ struct buf text = BUF_INIT(BASE_MAX);
    nft_batch_free(c->batch);
    c->batch = new_batch(c->store);
    int r = buf_addf(&text, "table inet %1$s\ndelete table inet %1$s\n",
                     store_table(c->store, POLICY_TABLE).name);
    if (r == 0)
        r = compile_base(c->store, &text, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
        r = parts[i](c, err);
    if (r == 0)
        r = nft_load(text.data, text.len, err);
    ways_put(c->batch, c->number);
    ways_open_host(c->batch);
    put_version(c->batch);
    return r < 0 ? r : nft_batch_commit(c->batch, err);
}

/* --- a change --- */

static char *note_path(const struct store *s)
{
    return path_join(s->run, "networks/policy.changing");
}

static int lock_file(const char *dir, const char *name, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = path_join(dir, name);
    int r = path_make_dirs(dir, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", dir);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return error_errno(err, errno, "lock %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int take_lock(struct store *s, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *dir = path_join(s->run, "networks");
    return lock_file(dir, "policy.lock", ret_fd, err);
}

/* Under the lock, so that no table that is made meanwhile from an older store is without it. */
void policy_bridge(struct store *s, const struct network *n, bool on)
{
    _cleanup_nft_batch_ struct nft_batch *b = new_batch(s);
    _cleanup_close_ int lock = -EBADF;
    if (take_lock(s, &lock, NULL) < 0)
        return;
    change_bridge(b, n, on);
    (void)!nft_batch_commit(b, NULL);
}

/*
 * Marks of one root's must not be taken for another's, so all take their numbers from one file. It
 * is written before the change is made: one that is killed, whatever it has done, leaves a number
 * that is not given again.
 */
static int take_number(uint32_t *ret, struct error *err)
{
    uint32_t number;
    _cleanup_close_ int fd = -EBADF;
    int r = lock_file(STORE_DEFAULT_RUN "/networks", "policy.number", &fd, err);
    if (r < 0)
        return r;
    if (pread(fd, &number, sizeof(number), 0) != (ssize_t)sizeof(number) &&
        getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        return error_errno(err, errno, "read the number of the policies' last change");
    number = number % WAYS_NUMBER_MAX + 1; /* never 0 */
    if (pwrite(fd, &number, sizeof(number), 0) != (ssize_t)sizeof(number))
        return error_errno(err, errno, "write the number of the policies' change");
    *ret = number;
    return 0;
}

int change_begin(struct store *s, struct change *ret, struct error *err)
{
    _cleanup_free_ char *note = note_path(s);
    *ret = (struct change){.store = s, .lock = -EBADF};
    if (!process_is_host_root())
        return error_set(err, ERROR_DENIED, EPERM,
                         "policies need root: an ordinary user's instances reach each other by "
                         "published ports only");
    int r = take_lock(s, &ret->lock, err);
    if (r < 0)
        return r;
    r = take_number(&ret->number, err);
    if (r < 0) {
        ret->lock = close_fd(ret->lock);
        return r;
    }
    ret->left = ret->whole = access(note, F_OK) == 0;
    _cleanup_close_ int fd = open(note, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    r = fd < 0 ? error_errno(err, errno, "write %s", note) : store_begin(s, err);
    if (r < 0)
        ret->lock = close_fd(ret->lock);
    else
        ret->batch = new_batch(s);
    return r;
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

/* Something that the batch counts on is not there, or is another: the table is no more what the
 * store says. */
static bool is_elsewhere(int r)
{
    return r == -ENOENT || r == -EEXIST || r == -EBUSY;
}

static int carry_out(struct change *c, struct error *err)
{
    struct error why = ERROR_INIT;
    bool nobody = false;
    int r = 0;
    if (nft_batch_is_empty(c->batch) && !c->whole)
        return 0;
    if (!c->whole) {
        ways_put(c->batch, c->number);
        put_version(c->batch);
        r = nft_batch_commit(c->batch, &why);
        c->whole = is_elsewhere(r);
    }
    if (c->whole) { /* after a kill what was there comes back, also when nobody needs it just now */
        r = c->left ? 0 : nobody_there(c, &nobody, err);
        if (r == 0 && nobody)
            return policy_table_remove(c->store, err);
        return r < 0 ? r : make_whole(c, err);
    }
    if (r == -EFBIG)
        return error_set(err, ERROR_LIMIT, EFBIG, "the policies are too large");
    if (r < 0 && err)
        *err = why;
    return r;
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
    nft_batch_free(c->batch);
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

int policy_renew(struct store *s, struct error *err)
{
    struct change c;
    int r = change_begin(s, &c, err);
    c.whole = true;
    return r < 0 ? r : change_end(&c, 0, err);
}
