#include "service/network/seal.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/sha256.h"
#include "base/strv.h"
#include "kernel/netns.h"
#include "service/network/network-internal.h"
#include "service/network/tunnel.h"

#define KEY_FILE  "wireguard.key"
#define VXLAN_TAX 50 /* of its headers, in the MTU */

/* --- keys --- */

static int read_key(const char *text, struct wireguard_key *ret)
{
    _cleanup_free_ char *bytes = NULL;
    size_t len;
    int r = base64_decode(text, &bytes, &len);
    if (r == 0 && len != WIREGUARD_KEY_SIZE)
        r = -EBADMSG;
    if (r == 0)
        memcpy(ret->bytes, bytes, WIREGUARD_KEY_SIZE);
    if (bytes)
        explicit_bzero(bytes, len);
    return r;
}

int seal_read_public(const char *text, char **ret, struct error *err)
{
    struct wireguard_key key;
    if (read_key(text, &key) < 0)
        return error_invalid(err,
                             "\"%.64s\" is not a public key of WireGuard's: `proa network key` "
                             "says that of a host",
                             text);
    *ret = base64_encode(key.bytes, WIREGUARD_KEY_SIZE);
    return 0;
}

/* None is left where the kernel could do nothing with it. */
static int make_key(const char *path, struct wireguard_key *ret, struct error *err)
{
    struct wireguard_key public_key;
    if (getrandom(ret->bytes, WIREGUARD_KEY_SIZE, 0) != WIREGUARD_KEY_SIZE)
        return error_errno(err, errno, "make a key");
    /* As `wg genkey` leaves it: the curve's own form of a number. */
    ret->bytes[0] &= 248;
    ret->bytes[31] = (uint8_t)((ret->bytes[31] & 127) | 64);
    int r = wireguard_public(ret, &public_key, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = base64_encode(ret->bytes, WIREGUARD_KEY_SIZE);
    _cleanup_free_ char *line = xasprintf("%s\n", text);
    r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0600);
    explicit_bzero(text, strlen(text));
    explicit_bzero(line, strlen(line));
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int private_key(struct store *s, struct wireguard_key *ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, KEY_FILE), *text = NULL;
    /* Two commands at once make one key. */
    _cleanup_close_ int root = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || flock(root, LOCK_EX) < 0)
        return error_errno(err, errno, "lock %s", s->root);
    int r = file_read(AT_FDCWD, path, 64, &text);
    if (r == -ENOENT)
        return make_key(path, ret, err);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    text[strcspn(text, "\n")] = '\0';
    r = read_key(text, ret);
    explicit_bzero(text, strlen(text));
    return r < 0 ? error_invalid(err,
                                 "%s is not a key of WireGuard's: remove it, and another one is "
                                 "made, which the other hosts have to be told",
                                 path)
                 : 0;
}

int network_public_key(struct store *s, char **ret, struct error *err)
{
    struct wireguard_key own, public_key;
    int r = private_key(s, &own, err);
    if (r == 0)
        r = wireguard_public(&own, &public_key, err);
    explicit_bzero(&own, sizeof(own));
    if (r == 0)
        *ret = base64_encode(public_key.bytes, WIREGUARD_KEY_SIZE);
    return r;
}

/* --- addresses --- */

struct in_addr seal_address(const char *public_key)
{
    unsigned char sum[SHA256_SIZE];
    struct in_addr a;
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, public_key, strlen(public_key));
    sha256_end(&h, sum);
    sum[0] = (unsigned char)(240 + sum[0] % 15);
    memcpy(&a.s_addr, sum, sizeof(a.s_addr));
    return a;
}

int seal_check(struct store *s, const struct network *n, struct error *err)
{
    _cleanup_free_ char *own = NULL;
    int r = network_public_key(s, &own, err);
    if (r < 0)
        return r;
    if (strv_has(n->peer_publics, own))
        return error_invalid(err, "%s is this host's own key: a peer has another", own);
    for (size_t i = 0; n->peer_publics[i]; i++)
        for (size_t j = i; n->peer_publics[j]; j++) {
            const char *other = j == i ? own : n->peer_publics[j];
            if (seal_address(n->peer_publics[i]).s_addr == seal_address(other).s_addr)
                return error_invalid(err,
                                     "keys %s and %s give the same address: remove " KEY_FILE
                                     " of one of the hosts, and it makes another",
                                     n->peer_publics[i], other);
        }
    return 0;
}

/* --- the link --- */

static void link_name(const struct network *n, char ret[IFNAMSIZ])
{
    snprintf(ret, IFNAMSIZ, SEAL_LINK_PREFIX "%.10s", n->id);
}

static int configure(struct store *s, const struct network *n, const char *name, struct error *err)
{
    static struct wireguard_peer peers[WIREGUARD_PEERS_MAX];
    struct wireguard_key own;
    size_t count = 0;
    int r = 0;
    for (; r == 0 && count < WIREGUARD_PEERS_MAX && n->peer_publics[count]; count++) {
        struct wireguard_peer *p = &peers[count];
        *p = (struct wireguard_peer){.port = n->wireguard_port,
                                     .inside = seal_address(n->peer_publics[count])};
        r = address_parse(n->peers[count], &p->endpoint, err);
        if (r == 0 && read_key(n->peer_publics[count], &p->public_key) < 0)
            r = error_invalid(err, "%s is not a key", n->peer_publics[count]);
    }
    if (r == 0)
        r = private_key(s, &own, err);
    if (r == 0)
        r = wireguard_configure(name, &own, n->wireguard_port, peers, count, err);
    explicit_bzero(&own, sizeof(own));
    return r;
}

/* The link's own address follows from the key that the kernel says it has. */
static int own_address(const char *name, struct in_addr *ret, struct error *err)
{
    struct wireguard_key key;
    size_t none;
    int r = wireguard_show(name, &key, NULL, 0, &none, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = base64_encode(key.bytes, WIREGUARD_KEY_SIZE);
    *ret = seal_address(text);
    return 0;
}

static int add_addresses(struct netlink *nl, const struct network *n, uint32_t index,
                         struct in_addr local, struct error *err)
{
    int r = netlink_address_add(nl, index, local, 32, err);
    if (r == 0)
        r = netlink_link_no_ipv6_address(nl, index, err);
    if (r == 0) /* routes are those of a link that is up */
        r = netlink_link_up(nl, index, 0, 0, err);
    for (size_t i = 0; r == 0 && n->peers[i]; i++)
        r = netlink_host_route_add(nl, index, tunnel_peer_address(n, i), local, err);
    return r;
}

int seal_up(struct store *s, struct netlink *nl, const struct network *n, uint32_t *ret_index,
            struct in_addr *ret_local, struct error *err)
{
    char name[IFNAMSIZ];
    link_name(n, name);
    int r = netlink_link_remove(nl, name, err);
    if (r == 0)
        r = wireguard_create(nl, name, (uint16_t)(n->mtu + VXLAN_TAX), err);
    if (r == 0)
        r = configure(s, n, name, err);
    if (r == 0)
        r = own_address(name, ret_local, err);
    if (r == 0)
        r = netlink_link_index(nl, name, ret_index, err);
    return r < 0 ? r : add_addresses(nl, n, *ret_index, *ret_local, err);
}

int seal_down(struct netlink *nl, const struct network *n, struct error *err)
{
    char name[IFNAMSIZ];
    link_name(n, name);
    return tunnel_is_sealed(n) ? netlink_link_remove(nl, name, err) : 0;
}

/* --- seen --- */

int network_sealed_peers(struct store *s, const struct network *n, char **ret_public,
                         struct network_sealed_peer *list, struct error *err)
{
    static struct wireguard_peer peers[WIREGUARD_PEERS_MAX];
    _cleanup_free_ char *text = NULL;
    struct wireguard_key own;
    char name[IFNAMSIZ];
    size_t count = 0;
    link_name(n, name);
    int r = wireguard_show(name, &own, peers, WIREGUARD_PEERS_MAX, &count, NULL);
    if (r < 0) /* it is down */
        return network_public_key(s, ret_public, err);
    for (size_t i = 0; i < count; i++) {
        _cleanup_free_ char *key = base64_encode(peers[i].public_key.bytes, WIREGUARD_KEY_SIZE);
        for (size_t j = 0; n->peer_publics[j]; j++)
            if (strcmp(n->peer_publics[j], key) == 0)
                list[j] = (struct network_sealed_peer){.agreed_s = peers[i].agreed_s,
                                                       .received = peers[i].received,
                                                       .sent = peers[i].sent};
    }
    *ret_public = base64_encode(own.bytes, WIREGUARD_KEY_SIZE);
    return 0;
}
