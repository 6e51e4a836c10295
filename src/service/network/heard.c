/*
 * What peers said about their instances: checked, kept in the store, put under the policies and
 * into the files that dnsmasq reads.
 *
 * The store comes first; whoever is killed behind that is followed by network_heard_settle(), which
 * makes the rest what the store says. Names of a peer's are of one label, so none of them stands
 * for a host outside, and never those of an instance here: what they meant before, they mean after.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/network/network-internal.h"
#include "service/network/span-internal.h"
#include "service/network/tunnel.h"
#include "service/policy/policy.h"
#include "wire/peers/peers.h"

/* --- told --- */

static void put_names(const struct store_port *p, struct peers_member *m)
{
    char short_id[13];
    snprintf(short_id, sizeof(short_id), "%s", p->instance_id);
    peers_member_add_name(m, p->name);
    peers_member_add_name(m, short_id);
    if (p->hostname && strcmp(p->hostname, p->name) != 0)
        peers_member_add_name(m, p->hostname);
    for (size_t i = 0; p->aliases[i]; i++)
        peers_member_add_name(m, p->aliases[i]);
}

static bool describe(struct store *s, const struct store_port *p, struct peers_member *ret)
{
    _cleanup_strv_ char **labels = policy_labels(s, p->instance_id, p->name);
    bool whole = true;
    memset(ret, 0, sizeof(*ret));
    ret->address = p->address;
    ret->address6 = p->address6;
    put_names(p, ret);
    for (size_t i = 0; labels[i]; i++)
        whole &= peers_member_add_label(ret, labels[i]);
    return whole;
}

int network_tell(struct store *s, const struct network *n, struct buf *ret, struct error *err)
{
    static struct peers_member m;
    struct store_port *ports;
    int r = store_port_list(s, n->name, &ports, err);
    if (r < 0)
        return r;
    r = peers_roster_begin(ret);
    for (struct store_port *p = ports; r == 0 && p->instance_id; p++)
        if (p->attached && p->address.s_addr && describe(s, p, &m) &&
            (r = peers_roster_add(ret, &m)) == -EFBIG) {
            r = 0; /* those that fit are told */
            break;
        }
    store_port_list_free(ports);
    return r < 0 ? error_errno(err, r, "make a list of who is on network %s", n->name) : 0;
}

/* --- heard --- */

static bool is_ours(const struct store_port *ports, const struct store_heard *h)
{
    for (const struct store_port *p = ports; p->instance_id; p++)
        if (p->address.s_addr == h->address.s_addr ||
            (!IN6_IS_ADDR_UNSPECIFIED(&h->address6) &&
             IN6_ARE_ADDR_EQUAL(&p->address6, &h->address6)))
            return true;
    return false;
}

static bool may_be(const struct network *n, const struct store_port *ports,
                   const struct store_heard *h)
{
    bool six = !IN6_IS_ADDR_UNSPECIFIED(&h->address6);
    return subnet_has(n->subnet, n->prefix, h->address) && !part_has(n, h->address) &&
           h->address.s_addr != n->gateway.s_addr && !is_ours(ports, h) &&
           (!six ||
            (n->prefix6 && subnet6_has(&n->subnet6, n->prefix6, &h->address6) &&
             !part6_has(n, &h->address6) && !IN6_ARE_ADDR_EQUAL(&h->address6, &n->gateway6)));
}

/* --- under the policies --- */

static char *teller_of(const char *network, const char *peer)
{
    return xasprintf("peer:%s/%s", network, peer);
}

static struct policy_heard *list_of_peer(const struct store_heard *rows, size_t n, const char *peer,
                                         size_t *ret_n)
{
    struct policy_heard *list = xcalloc(2 * n + 1, sizeof(*list));
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].peer, peer) != 0)
            continue;
        list[(*ret_n)++] = (struct policy_heard){xstrdup(address_text(rows[i].address).s),
                                                 strv_copy(rows[i].labels)};
        if (!IN6_IS_ADDR_UNSPECIFIED(&rows[i].address6))
            list[(*ret_n)++] = (struct policy_heard){xstrdup(address6_text(&rows[i].address6).s),
                                                     strv_copy(rows[i].labels)};
    }
    return list;
}

static int settle_peer(struct store *s, const char *network, const char *peer,
                       const struct store_heard *rows, size_t n, struct error *err)
{
    _cleanup_free_ char *teller = teller_of(network, peer);
    size_t count;
    struct policy_heard *list = list_of_peer(rows, n, peer, &count);
    int r = policy_hear(s, teller, list, count, err);
    for (size_t i = 0; i < count; i++) {
        free(list[i].address);
        strv_free(list[i].labels);
    }
    free(list);
    return r;
}

int network_heard_settle(struct store *s, const struct network *n, struct error *err)
{
    struct store_heard *rows = NULL;
    size_t count = 0;
    int r = store_heard_list(s, n->name, &rows, &count, err);
    for (size_t i = 0; r == 0 && n->peers[i]; i++)
        r = settle_peer(s, n->name, n->peers[i], rows, count, err);
    store_heard_list_free(rows, count);
    return r < 0 ? r : heard_write_names(s, n, err);
}

int network_hear(struct store *s, const struct network *n, const char *peer,
                 const struct store_heard *list, size_t count, struct error *err)
{
    _cleanup_free_ struct store_heard *good = xcalloc(count + 1, sizeof(*good)); /* borrowed */
    struct store_heard *rows = NULL;
    struct store_port *ports;
    size_t n_good = 0, n_rows = 0;
    int r = store_port_list(s, n->name, &ports, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (may_be(n, ports, &list[i]))
            good[n_good++] = list[i];
    store_port_list_free(ports);
    r = store_heard_replace(s, n->name, peer, good, n_good, err);
    if (r == 0)
        r = store_heard_list(s, n->name, &rows, &n_rows, err);
    if (r == 0)
        r = settle_peer(s, n->name, peer, rows, n_rows, err);
    store_heard_list_free(rows, n_rows);
    return r < 0 ? r : heard_write_names(s, n, err);
}

int heard_forget(struct store *s, const char *network, struct error *err)
{
    _cleanup_network_ struct network *n = NULL;
    _cleanup_strv_ char **peers = NULL;
    struct store_heard *rows = NULL;
    size_t count = 0;
    (void)!store_network_find(s, network, &n, NULL); /* its row may be gone already */
    peers = strv_copy(n ? n->peers : NULL);
    int r = store_heard_list(s, network, &rows, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (!strv_has(peers, rows[i].peer))
            strv_add(&peers, rows[i].peer);
    store_heard_list_free(rows, count);
    for (size_t i = 0; r == 0 && peers[i]; i++)
        r = settle_peer(s, network, peers[i], NULL, 0, err);
    return r < 0 ? r : store_heard_forget(s, network, err);
}

/* --- names --- */

static bool is_name_here(const struct store_port *ports, const char *name)
{
    for (const struct store_port *p = ports; p->instance_id; p++)
        if (strcasecmp(p->name, name) == 0 || (p->hostname && strcasecmp(p->hostname, name) == 0) ||
            (strlen(name) == 12 && strncasecmp(p->instance_id, name, 12) == 0))
            return true;
    return false;
}

/* A host file's text; owned, NULL where no name is left. */
static char *text_of(const struct store_heard *h, const struct store_port *ports)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    for (size_t i = 0; h->names[i]; i++)
        if (names_valid(h->names[i]) && !strchr(h->names[i], '.') &&
            !is_name_here(ports, h->names[i]) && !strv_has(names, h->names[i]))
            strv_add(&names, h->names[i]);
    if (!names[0])
        return NULL;
    _cleanup_free_ char *joined = strv_join(names, " ");
    return IN6_IS_ADDR_UNSPECIFIED(&h->address6)
               ? xasprintf("%s %s\n", address_text(h->address).s, joined)
               : xasprintf("%s %s\n%s %s\n", address_text(h->address).s, joined,
                           address6_text(&h->address6).s, joined);
}

/* Named by the address, beside those that are named by instances here. */
static int write_one(int dir, const struct store_heard *h, const struct store_port *ports)
{
    _cleanup_free_ char *text = text_of(h, ports), *old = NULL;
    struct address_text name = address_text(h->address);
    _cleanup_free_ char *target = path_join("hosts", name.s);
    if (!text)
        return unlinkat(dir, target, 0) < 0 && errno != ENOENT ? -errno : 0;
    if (file_read(dir, target, 65536, &old) == 0 && strcmp(old, text) == 0)
        return 0;
    int r = file_write_atomic(dir, name.s, text, strlen(text), 0640);
    return r == 0 && renameat(dir, name.s, dir, target) < 0 ? -errno : r;
}

static void remove_others(int dir, const struct store_heard *rows, size_t n)
{
    int fd = openat(dir, "hosts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        struct in_addr a;
        bool known = inet_pton(AF_INET, entry->d_name, &a) != 1;
        for (size_t i = 0; !known && i < n; i++)
            known = rows[i].address.s_addr == a.s_addr;
        if (!known)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d)
        closedir(d);
}

int heard_write_names(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_free_ char *path = names_dir(n);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store_port *ports = NULL;
    struct store_heard *rows = NULL;
    size_t count = 0;
    if (dir < 0) /* the network is on its way down */
        return 0;
    int r = store_port_list(s, n->name, &ports, err);
    if (r == 0)
        r = store_heard_list(s, n->name, &rows, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if ((r = write_one(dir, &rows[i], ports)) < 0)
            r = error_errno(err, r, "write the names of %s", address_text(rows[i].address).s);
    if (r == 0)
        remove_others(dir, rows, count);
    store_heard_list_free(rows, count);
    store_port_list_free(ports);
    return r;
}

int network_heard_names(struct store *s, const struct network *n, struct error *err)
{
    return heard_write_names(s, n, err);
}
