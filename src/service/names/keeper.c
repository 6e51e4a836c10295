/*
 * The keeper: what it is told is checked as if a stranger said it.
 *
 * It remembers until when each address of each list is good, so that a later answer never shortens
 * what an earlier one promised, and so that there is a bound. What a keeper before it has added is
 * read from the kernel first.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/text.h"
#include "kernel/nft_dump.h"
#include "service/names/names-internal.h"
#include "service/policy/policy.h"

struct known {
    size_t list;
    struct policy_address address;
    int64_t until_ms;
};

/* Never outside: this host's loopback, links' own addresses, groups. */
static const char *const inside[] = {"0.0.0.0/8", "127.0.0.0/8",   "169.254.0.0/16", "224.0.0.0/3",
                                     "::/96",     "::ffff:0:0/96", "fe80::/10",      "ff00::/8"};

struct keeper {
    struct names_config config;
    struct policy_range inside[ARRAY_SIZE(inside)];
    struct sockaddr_in upstream;
    struct nft_channel *nft;
    struct known known[NAMES_LEARNED_MAX];
    size_t n;
    size_t reading; /* the list that is being read */
    size_t before;
    bool v6;
};

/* --- what is there already --- */

static const struct policy_address *first_of(const struct names_config *c, bool v6)
{
    for (size_t i = 0; i < c->n_addresses; i++)
        if (c->addresses[i].v6 == v6)
            return &c->addresses[i];
    return NULL;
}

static int see(void *context, const struct nft_element *e)
{
    struct keeper *k = context;
    size_t half = k->v6 ? 16 : 4;
    const struct policy_address *own = first_of(&k->config, k->v6);
    if (e->key_len != 2 * half || k->n == NAMES_LEARNED_MAX ||
        policy_address_from_bytes(e->key, k->v6).n != own->n)
        return 0;
    k->known[k->n++] = (struct known){
        .list = k->reading,
        .address = policy_address_from_bytes(e->key + half, k->v6),
        .until_ms = time_monotonic_ms() + (int64_t)e->expires_ms,
    };
    return 0;
}

static void again(void *context)
{
    struct keeper *k = context;
    k->n = k->before;
}

static int read_known(struct keeper *k)
{
    char set[64];
    int r = 0;
    for (size_t i = 0; r == 0 && i < 2 * k->config.n_lists; i++) {
        k->reading = i / 2;
        k->v6 = i % 2;
        k->before = k->n;
        policy_domains_set(k->config.lists[i / 2].id, k->v6, set);
        if (first_of(&k->config, k->v6))
            r = nft_dump_whole(NFT_INET, k->config.table, set, see, again, k, NULL);
    }
    return r;
}

int keeper_upstream(const char *text, struct sockaddr_in *ret)
{
    char address[INET_ADDRSTRLEN] = "";
    const char *colon = strchr(text, ':');
    uint64_t port;
    if (!colon || (size_t)(colon - text) >= sizeof(address) ||
        parse_u64(colon + 1, UINT16_MAX, &port) < 0)
        return -EINVAL;
    memcpy(address, text, (size_t)(colon - text));
    ret->sin_family = AF_INET;
    ret->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, address, &ret->sin_addr) == 1 ? 0 : -EINVAL;
}

int keeper_new(const struct names_config *config, const char *upstream, struct keeper **ret)
{
    struct keeper *k = xnew(struct keeper);
    k->config = *config;
    int r = keeper_upstream(upstream, &k->upstream);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inside); i++)
        r = policy_block_parse(inside[i], &k->inside[i], NULL);
    if (r == 0)
        r = nft_channel_open(&k->nft, NULL);
    if (r == 0)
        r = read_known(k);
    if (r == 0)
        *ret = k;
    return r;
}

/* --- learning --- */

static bool is_outside(const struct keeper *k, struct policy_address a)
{
    for (size_t i = 0; i < ARRAY_SIZE(k->inside); i++)
        if (policy_range_has(&k->inside[i], a))
            return false;
    return !policy_is_metadata(a);
}

static void forget_old(struct keeper *k, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->n; i++)
        if (k->known[i].until_ms > now_ms)
            k->known[kept++] = k->known[i];
    k->n = kept;
}

/* The entry, a new one where there is none; NULL: there is no room. */
static struct known *find(struct keeper *k, size_t list, struct policy_address a)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->known[i].list == list && k->known[i].address.v6 == a.v6 &&
            k->known[i].address.n == a.n)
            return &k->known[i];
    if (k->n == NAMES_LEARNED_MAX)
        return NULL;
    k->known[k->n] = (struct known){.list = list, .address = a};
    return &k->known[k->n++];
}

static void put(const struct keeper *k, const char *set, struct policy_address address,
                uint64_t lifetime_ms, const char *name, struct nft_batch *out)
{
    struct nft_data key;
    for (size_t i = 0; i < k->config.n_addresses; i++) {
        if (k->config.addresses[i].v6 != address.v6)
            continue;
        learned_key(k->config.addresses[i], address, &key);
        nft_batch_renew(out, NFT_INET, set, &key, lifetime_ms, name);
    }
}

static bool any_fits(const struct policy_domains *list, const char *name)
{
    for (size_t i = 0; list->patterns[i]; i++)
        if (dns_pattern_fits(list->patterns[i], name))
            return true;
    return false;
}

static bool put_all(struct keeper *k, size_t list, const struct names_request *q, int64_t now_ms,
                    struct nft_batch *out)
{
    char set[64];
    for (uint32_t i = 0; i < q->n; i++) {
        struct policy_address a = policy_address_from_bytes(q->list[i].bytes, q->list[i].v6);
        uint32_t ttl_s = MIN(MAX(q->list[i].ttl_s, NAMES_LEAST_S), NAMES_MOST_S);
        if (!is_outside(k, a))
            continue;
        struct known *known = find(k, list, a);
        if (!known)
            return false;
        known->until_ms = MAX(known->until_ms, now_ms + (int64_t)ttl_s * 1000);
        policy_domains_set(k->config.lists[list].id, a.v6, set);
        put(k, set, a, (uint64_t)(known->until_ms - now_ms), q->name, out);
    }
    return true;
}

/* For `proa flows` only: nothing depends on it. */
static void remember(struct keeper *k, const struct names_request *q)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new(k->config.table);
    for (uint32_t i = 0; i < q->n; i++) {
        struct policy_address a = policy_address_from_bytes(q->list[i].bytes, q->list[i].v6);
        if (is_outside(k, a))
            put(k, a.v6 ? LEARNED_NAMES6 : LEARNED_NAMES4, a, 0, q->name, b);
    }
    (void)!nft_channel_commit(k->nft, b, NULL);
}

static enum names_answer learn(struct keeper *k, const struct names_request *q)
{
    _cleanup_nft_batch_ struct nft_batch *b = nft_batch_new(k->config.table);
    int64_t now_ms = time_monotonic_ms();
    forget_old(k, now_ms);
    size_t before = k->n;
    bool fits = false, room = true;
    for (size_t i = 0; room && i < k->config.n_lists; i++)
        if (any_fits(&k->config.lists[i], q->name)) {
            fits = true;
            room = put_all(k, i, q, now_ms, b);
        }
    if (!fits)
        return NAMES_DONE;
    if (!room || nft_channel_commit(k->nft, b, NULL) < 0) {
        k->n = before;
        return room ? NAMES_FAILED : NAMES_FULL;
    }
    remember(k, q);
    return NAMES_DONE;
}

/* --- requests --- */

static bool is_well_made(const struct names_request *q, size_t len)
{
    char name[DNS_NAME_SIZE];
    if (len != sizeof(*q) || q->n > NAMES_AT_ONCE)
        return false;
    if (q->kind != NAMES_LEARN)
        return q->n == 0;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->list[i].v6 > 1)
            return false;
    return memchr(q->name, '\0', sizeof(q->name)) && dns_name_parse(q->name, name) &&
           strcmp(name, q->name) == 0;
}

static int connect_upstream(const struct keeper *k)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&k->upstream, sizeof(k->upstream)) < 0 &&
        errno != EINPROGRESS)
        fd = close_fd(fd);
    return fd;
}

int keeper_answer(struct keeper *k, const struct names_request *q, size_t len, int *ret_fd)
{
    *ret_fd = -EBADF;
    if (!is_well_made(q, len))
        return -EBADMSG;
    switch (q->kind) {
    case NAMES_BEGIN:
        return NAMES_DONE;
    case NAMES_LEARN:
        return (int)learn(k, q);
    case NAMES_CONNECT:
        *ret_fd = connect_upstream(k);
        return *ret_fd < 0 ? NAMES_FAILED : NAMES_DONE;
    default:
        return -EBADMSG;
    }
}

int keeper_serve(struct keeper *k, int channel)
{
    static struct names_request q;
    for (;;) {
        _cleanup_close_ int fd = -EBADF;
        ssize_t n = recv(channel, &q, sizeof(q), MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        int answer = keeper_answer(k, &q, (size_t)n, &fd);
        if (answer < 0)
            return answer;
        uint8_t byte = (uint8_t)answer;
        int r = fd >= 0 ? fd_pass(channel, &byte, 1, fd)
                        : (send(channel, &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno);
        if (r < 0)
            return r;
        if (q.kind == NAMES_BEGIN)
            (void)!write(NAMES_READY, "r", 1);
    }
}
