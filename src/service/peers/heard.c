/* What the relay says that peers said: put together, and handed on when it is whole. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/peers/keeper-internal.h"

static void drop(struct keeper_peer *p)
{
    store_heard_list_free(p->list, p->n);
    p->list = NULL;
    p->n = 0;
    p->open = false;
}

static int hand_on(struct keeper *k, uint32_t peer)
{
    struct keeper_peer *p = &k->peers[peer];
    struct error err = ERROR_INIT;
    struct store *s;
    int r = keeper_open_store(k, &s);
    if (r < 0)
        return r;
    r = network_hear(s, k->network, k->network->peers[peer], p->list, p->n, &err);
    keeper_close_store(s);
    drop(p);
    return r;
}

static int add_member(struct keeper_peer *p, const struct peers_member *m)
{
    const char *label;
    size_t at = 0;
    if (!p->open || p->n == PEERS_MEMBERS_MAX || !peers_member_is_good(m))
        return -EBADMSG;
    p->list = xreallocarray(p->list, p->n + 1, sizeof(*p->list));
    struct store_heard *h = &p->list[p->n++];
    *h = (struct store_heard){.address = m->address,
                              .address6 = m->address6,
                              .names = strv_copy(NULL),
                              .labels = strv_copy(NULL)};
    for (uint32_t i = 0; i < m->n_names; i++)
        strv_add(&h->names, m->names[i]);
    while ((label = peers_member_next_label(m, &at)))
        strv_add(&h->labels, label);
    return 0;
}

int keeper_answer(struct keeper *k, const struct peers_request *q, size_t len, int64_t now_ms)
{
    if (len != sizeof(*q) || q->peer >= k->n)
        return -EBADMSG;
    struct keeper_peer *p = &k->peers[q->peer];
    switch (q->kind) {
    case PEERS_FIRST:
        drop(p);
        p->open = true;
        return 0;
    case PEERS_MEMBER:
        return add_member(p, &q->member);
    case PEERS_LAST:
        if (!p->open)
            return -EBADMSG;
        p->until_ms = now_ms + PEERS_FORGET_MS;
        return hand_on(k, q->peer);
    case PEERS_HEARD:
        p->until_ms = p->until_ms ? now_ms + PEERS_FORGET_MS : 0;
        return 0;
    case PEERS_GONE:
        drop(p);
        p->until_ms = 0;
        return hand_on(k, q->peer);
    default:
        return -EBADMSG;
    }
}

int keeper_forget(struct keeper *k, int64_t now_ms)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < k->n; i++) {
        struct keeper_peer *p = &k->peers[i];
        if (p->until_ms == 0 || now_ms < p->until_ms)
            continue;
        drop(p);
        p->until_ms = 0;
        r = hand_on(k, (uint32_t)i);
    }
    return r;
}

int64_t keeper_next_end(const struct keeper *k)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < k->n; i++)
        if (k->peers[i].until_ms)
            next_ms = MIN(next_ms, k->peers[i].until_ms);
    return next_ms;
}
