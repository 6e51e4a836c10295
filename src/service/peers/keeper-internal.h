/* Shared by the files of the keeper only. */
#pragma once

#include "service/network/span.h"
#include "service/peers/peers-internal.h"

struct keeper_peer {
    int64_t until_ms;         /* 0: nothing is known of it */
    bool open;                /* its roster has begun and is not whole */
    struct store_heard *list; /* ... so far */
    size_t n;
};
struct keeper {
    char *root, *name;
    struct network *network;
    int channel, watch, signals;
    struct keeper_peer peers[PEERS_MAX];
    size_t n;
    struct buf told;
    int64_t look_ms; /* when to look next */
    bool again;      /* ... and soon after that */
};

/* keeper.c */
int keeper_open_store(const struct keeper *k, struct store **ret) _must_check_;
void keeper_close_store(struct store *s);

/* --- heard.c --- */

/* Ends what was not heard for too long. */
int keeper_forget(struct keeper *k, int64_t now_ms) _must_check_;
/* When there may be something to end. */
int64_t keeper_next_end(const struct keeper *k);
