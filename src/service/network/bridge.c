/*
 * Bringing a network up and down.
 *
 * A network is up when its bridge exists, has the index that RUN/networks/NAME/up names, and its
 * dnsmasq runs. `up` is written last, so a bring-up that was killed half way is done again from the
 * beginning; every step of it may be repeated. Attaching to a network that is up costs two lookups.
 */
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/network/span-internal.h"
#include "service/network/tunnel.h"
#include "service/policy/policy.h"

int bridge_run_dir(struct store *s, const struct network *n, char **ret, struct error *err)
{
    _cleanup_free_ char *dir = xasprintf("%s/networks/%s", s->run, n->name);
    int r = path_make_dirs(dir, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", dir);
    *ret = TAKE_PTR(dir);
    return 0;
}

int network_lock(struct store *s, const char *name, int operation, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/networks/%s", s->run, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ENOENT) {
        _cleanup_free_ char *dir = path_join(s->run, "networks");
        int r = path_make_dirs(dir, 0700);
        if (r < 0)
            return error_errno(err, r, "create %s", dir);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    while (flock(fd, operation) < 0) {
        if (errno == EINTR)
            continue;
        int r = error_errno(err, errno, "lock %s", path);
        close_fd(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* --- sysctls --- */

static int note_link(void *context, const struct netlink_link *link)
{
    struct buf *names = context;
    if (strcmp(link->name, "lo") == 0 || strncmp(link->name, "proa", 4) == 0)
        return 0;
    return buf_addf(names, "%s\n", link->name);
}

/*
 * Forwarding is one switch for the whole host and each family. Where it is off, the links of this
 * moment do not forward to each other, and must not because of Proa: they are noted, and the rules
 * keep it so.
 */
static const struct forwarding {
    const char *sysctl, *note;
} forwarding[] = {{"/proc/sys/net/ipv4/ip_forward", "networks/closed"},
                  {"/proc/sys/net/ipv6/conf/all/forwarding", "networks/closed6"}};

/* A link that listens to a router's advertisements goes on when it forwards (2: nevertheless). */
static int keep_accepting(void *context, const struct netlink_link *link)
{
    _cleanup_free_ char *path = xasprintf("/proc/sys/net/ipv6/conf/%s/accept_ra", link->name);
    _cleanup_free_ char *now = NULL;
    (void)context;
    if (strncmp(link->name, "proa", 4) != 0 && file_read_kernel(AT_FDCWD, path, 16, &now) == 0 &&
        now[0] == '1')
        (void)!file_write_kernel(AT_FDCWD, path, "2");
    return 0;
}

/* *ret_noted says whether links were noted now; the kernel may lack the family. */
static int note_closed_links(struct store *s, struct netlink *nl, const struct forwarding *f,
                             bool *ret_noted, struct error *err)
{
    _cleanup_free_ char *now = NULL, *closed = path_join(s->run, f->note);
    _cleanup_buf_ struct buf names = BUF_INIT(65536);
    int r = file_read_kernel(AT_FDCWD, f->sysctl, 16, &now);
    if (r == -ENOENT || (r == 0 && now[0] == '1'))
        return 0;
    if (r < 0)
        return error_errno(err, r, "read %s", f->sysctl);
    r = netlink_links(nl, note_link, &names, err);
    if (r < 0)
        return r;
    if (names.len > 0)
        r = file_write_atomic(AT_FDCWD, closed, names.data, names.len, 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", closed);
    *ret_noted = true;
    return 0;
}

static size_t families(const struct network *n)
{
    return n->internal ? 0 : n->prefix6 ? 2 : 1;
}

static int set_rules(struct store *s, struct netlink *nl, const struct network *n,
                     struct error *err)
{
    bool noted = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < families(n); i++)
        r = note_closed_links(s, nl, &forwarding[i], &noted, err);
    if (r < 0)
        return r;
    r = noted ? rules_reload(s, err) : rules_add(s, n, NULL, NULL, 0, err);
    if (r == 0)
        policy_bridge(s, n, true);
    return r;
}

/* After the rules, so that there is no moment of forwarding without them. */
static int set_sysctls(struct netlink *nl, const struct network *n, struct error *err)
{
    int r = netns_link_sysctl("ipv6", n->bridge, "accept_ra", "0", err);
    if (r == 0 && families(n) == 2)
        r = netlink_links(nl, keep_accepting, NULL, err);
    for (size_t i = 0; r == 0 && i < families(n); i++) {
        r = file_write_kernel(AT_FDCWD, forwarding[i].sysctl, "1");
        if (r < 0)
            return error_errno(err, r, "write %s", forwarding[i].sysctl);
    }
    if (r < 0 || n->internal)
        return r;
    r = netns_link_sysctl("ipv4", n->bridge, "forwarding", "1", err);
    /* So that 127.0.0.1:PORT of the host reaches a published port; the rules keep others out. */
    if (r == 0)
        r = netns_link_sysctl("ipv4", n->bridge, "route_localnet", "1", err);
    return r;
}

/* Frames that a bridge switches are seen by `forward` only where this part of the kernel is there.
 * Loading it turns that on for every bridge of the host: it is Proa's that asked, so the others
 * stay as they were. Without it nothing fails: what needs it says so (network_filters_switched). */
static void load_bridge_filter(void)
{
    static const char *const files[] = {"bridge-nf-call-iptables", "bridge-nf-call-ip6tables",
                                        "bridge-nf-call-arptables"};
    char *const argv[] = {(char *)"modprobe", (char *)"-q", (char *)"br_netfilter", NULL};
    if (network_filters_switched() || access("/sbin/modprobe", X_OK) < 0 ||
        process_run("/sbin/modprobe", argv, -EBADF, NULL, NULL) < 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = path_join("/proc/sys/net/bridge", files[i]);
        (void)!file_write_kernel(AT_FDCWD, path, "0");
    }
}

bool network_filters_switched(void)
{
    return access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) == 0;
}

/* --- up --- */

char *bridge_own_name(const struct network *n)
{
    return xasprintf("proa-%.10s", n->id);
}

/* What the bridge must be for the network to count as up. */
static char *up_text(const struct network *n, uint32_t index)
{
    return xasprintf("%u %.16s\n", index, n->id);
}

static bool recorded_as_up(const char *dir, const struct network *n, uint32_t index)
{
    _cleanup_free_ char *path = path_join(dir, "up"), *text = NULL, *wanted = up_text(n, index);
    return file_read(AT_FDCWD, path, 64, &text) == 0 && strcmp(text, wanted) == 0;
}

struct link_mac bridge_mac(const struct network *n)
{
    struct link_mac mac = {{0x02, 0x50}};
    memcpy(mac.bytes + 2, &n->gateway.s_addr, 4);
    return mac;
}

/* Its own two addresses, and none that the kernel would make up. */
static int set_ipv6(struct netlink *nl, const struct network *n, uint32_t index,
                    const struct link_mac *mac, struct error *err)
{
    struct in6_addr link_local = link_local_address(mac);
    int r = netns_link_sysctl("ipv6", n->bridge, "disable_ipv6", n->prefix6 ? "0" : "1", err);
    if (r < 0 || n->prefix6 == 0)
        return r;
    r = netlink_address6_add(nl, index, &link_local, 64, err);
    return r < 0 ? r : netlink_address6_add(nl, index, &n->gateway6, n->prefix6, err);
}

/* --- a subnet that another root has --- */

struct rival {
    const struct network *network;
    uint32_t bridge;
    char name[IFNAMSIZ]; /* of the link that has it, too */
};

static int see_rival(void *context, const struct netlink_subnet *subnet)
{
    struct rival *rival = context;
    char name[IFNAMSIZ];
    if (subnet->ipv6 || subnet->index == rival->bridge || !if_indextoname(subnet->index, name) ||
        strncmp(name, "proa", 4) != 0 ||
        !subnet_overlaps(rival->network->subnet, rival->network->prefix, subnet->address,
                         subnet->prefix))
        return 0;
    memcpy(rival->name, name, sizeof(name));
    return -EADDRINUSE;
}

/* A subnet is chosen when the network is made; another root may have had none up at that time, and
 * have chosen the same. */
static int check_rivals(struct netlink *nl, const struct network *n, uint32_t bridge,
                        struct error *err)
{
    struct rival rival = {.network = n, .bridge = bridge};
    int r = netlink_subnets(nl, see_rival, &rival, err);
    if (r != -EADDRINUSE)
        return r;
    return error_set(err, ERROR_CONFLICT, EADDRINUSE,
                     "its subnet %s/%u is that of %s, a network of another state directory: take "
                     "that down (proa --root DIR system prune), or use a network with another "
                     "--subnet",
                     address_text(n->subnet).s, n->prefix, rival.name);
}

static int make_bridge(struct netlink *nl, const struct network *n, uint32_t *ret_index,
                       struct error *err)
{
    struct link_mac mac = bridge_mac(n);
    load_bridge_filter();
    int r = check_rivals(nl, n, if_nametoindex(n->bridge), err);
    if (r < 0)
        return r;
    r = netlink_bridge_create(nl, n->bridge, &mac, n->mtu, err);
    if (r < 0 && r != -EEXIST)
        return r;
    r = netlink_link_index(nl, n->bridge, ret_index, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, *ret_index, err);
    if (r == 0)
        r = netlink_link_up(nl, *ret_index, 0, 0, err);
    if (r == 0)
        r = netlink_address_add(nl, *ret_index, n->gateway, n->prefix, err);
    return r < 0 ? r : set_ipv6(nl, n, *ret_index, &mac, err);
}

/* --- all of it --- */

static int bring_up(struct store *s, struct netlink *nl, const struct network *n, const char *dir,
                    uint32_t *ret_index, struct error *err)
{
    pid_t names = 0;
    int r = make_bridge(nl, n, ret_index, err);
    if (r == 0)
        r = names_up(s, n, &names, err);
    if (r == 0)
        r = set_rules(s, nl, n, err);
    if (r == 0) /* after the rules, which let only the peers in */
        r = tunnel_up(s, nl, n, *ret_index, err);
    if (r == 0)
        r = set_sysctls(nl, n, err);
    if (r == 0)
        r = names_wait(n, names, err);
    if (r == 0)
        r = span_up(s, n, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = path_join(dir, "up"), *text = up_text(n, *ret_index);
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", path);
    return 0;
}

static bool is_up(struct store *s, struct netlink *nl, const struct network *n, const char *dir,
                  uint32_t *ret_index)
{
    return netlink_link_index(nl, n->bridge, ret_index, NULL) == 0 &&
           recorded_as_up(dir, n, *ret_index) && tunnel_is_up(nl, n) && names_running(s, n) &&
           span_running(s, n);
}

int bridge_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t *ret_index,
              struct error *err)
{
    _cleanup_free_ char *dir = NULL;
    _cleanup_close_ int lock = -EBADF;
    int r = bridge_run_dir(s, n, &dir, err);
    if (r < 0)
        return r;
    if (is_up(s, nl, n, dir, ret_index) && !lease_was_killed(s, n, *ret_index))
        return 0;
    _cleanup_free_ char *lock_name = xasprintf("%s/lock", n->name);
    r = network_lock(s, lock_name, LOCK_EX, &lock, err);
    if (r < 0)
        return r;
    if (!is_up(s, nl, n, dir, ret_index)) /* or another command did it while this one waited */
        r = bring_up(s, nl, n, dir, ret_index, err);
    if (r == 0)
        r = lease_up(s, n, *ret_index, err);
    if (r < 0)
        return error_prefix(err, "bring network %s up", n->name);
    return 0;
}

/* --- down --- */

/* Whether a link of this root's is there: a bridge, or a port, which may be on the LAN. */
static int any_own_link(struct store *s, bool *ret, struct error *err)
{
    struct network **networks;
    struct store_port *ports;
    bool any = false;
    int r = store_network_list(s, &networks, err);
    if (r < 0)
        return r;
    for (size_t i = 0; networks[i]; i++)
        any |= !networks[i]->parent && if_nametoindex(networks[i]->bridge) != 0;
    network_list_free(networks);
    r = store_port_list(s, NULL, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++)
        any |= if_nametoindex(p->link) != 0;
    store_port_list_free(ports);
    *ret = any;
    return 0;
}

static int see_bridge(void *context, const struct netlink_link *link)
{
    bool *found = context;
    *found |= strcmp(link->name, DEFAULT_BRIDGE) == 0 || strncmp(link->name, "proa-", 5) == 0;
    return 0;
}

/* What this root has noted when it switched forwarding on holds for as long as another root needs
 * that. */
static int closes_for_others(struct store *s, struct netlink *nl, bool *ret, struct error *err)
{
    *ret = false;
    for (size_t i = 0; i < ARRAY_SIZE(forwarding); i++) {
        _cleanup_free_ char *note = path_join(s->run, forwarding[i].note);
        if (access(note, F_OK) == 0)
            return netlink_links(nl, see_bridge, ret, err);
    }
    return 0;
}

int bridge_tables_down(struct store *s, struct netlink *nl, struct error *err)
{
    bool own, others = false;
    int r = any_own_link(s, &own, err);
    if (r < 0 || own)
        return r;
    r = closes_for_others(s, nl, &others, err);
    if (r == 0 && !others)
        r = rules_remove_all(s, err);
    return r < 0 ? r : policy_table_remove(s, err);
}

int bridge_down(struct store *s, struct netlink *nl, const struct network *n, struct error *err)
{
    _cleanup_free_ char *dir = xasprintf("%s/networks/%s", s->run, n->name);
    _cleanup_free_ char *up = path_join(dir, "up");
    unlink(up);
    lease_down(s, n);
    span_down(s, n);
    names_down(s, n);
    int r = tunnel_down(nl, n, err);
    if (r == 0)
        r = netlink_link_remove(nl, n->bridge, err);
    rules_remove_network(s, n);
    policy_bridge(s, n, false);
    if (r == 0)
        r = bridge_tables_down(s, nl, err);
    if (r < 0)
        return error_prefix(err, "take network %s down", n->name);
    r = path_remove_tree(AT_FDCWD, dir);
    if (r < 0)
        return error_errno(err, r, "remove %s", dir);
    return 0;
}
