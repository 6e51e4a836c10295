/* Shared by the files of service/peers only: what keeper and relay say to each other, and how the
 * relay is divided. */
#pragma once

#include <netinet/in.h>
#include <poll.h>

#include "service/peers/peers.h"
#include "wire/peers/peers.h"

/* Descriptors of the relay, beside the socket that peers connect to. */
enum {
    RELAY_KEEPER = 4,
    RELAY_KEY = 5, /* the key, or nothing */
};

/* A closed table: anything else ends both. peer: its number on the command line. */
enum peers_request_kind {
    PEERS_BEGIN = 1, /* I have given everything up */
    PEERS_CONNECT,   /* answered by an order of the same kind */
    PEERS_FIRST,     /* a peer's roster begins */
    PEERS_MEMBER,    /* ... has this member */
    PEERS_LAST,      /* ... and is whole */
    PEERS_HEARD,     /* it is as the last one */
    PEERS_GONE,      /* nobody is there any more */
};
struct peers_request {
    uint32_t kind;
    uint32_t peer;
    struct peers_member member; /* of PEERS_MEMBER */
};

enum peers_order_kind {
    PEERS_CONNECTED = 1, /* with a connection that has begun, or without one */
    PEERS_TELL,          /* with a file: the body of the roster from now on */
    PEERS_END,           /* take leave of everybody */
};
struct peers_order {
    uint32_t kind;
    uint32_t peer;
};

/* --- keeper.c --- */

struct keeper;
struct network;
/* 0 or -errno. */
int keeper_new(const char *root, const char *network, struct keeper **ret);
const struct network *keeper_network(const struct keeper *k);
/* Answers the relay's requests; channel is the keeper's end. Until the relay is gone, or somebody
 * ends this (SIGTERM). */
int keeper_serve(struct keeper *k, int channel);
/* heard.c: one request; negative: it is none. */
int keeper_answer(struct keeper *k, const struct peers_request *q, size_t len, int64_t now_ms);

/* --- relay.c: never returns but for an end --- */

struct relay {
    uint32_t vxlan_id;
    struct in_addr peers[PEERS_MAX];
    size_t n;
    uint8_t key[PEERS_KEY_SIZE];
    size_t key_len;
    struct buf roster; /* what is told */
    uint64_t edition;  /* which one it is, counted */
    bool ending;
};
int relay_run(struct relay *r);
/* Negative: the keeper is gone. */
int relay_ask(const struct peers_request *q);

/* --- teller.c: connections to peers --- */

struct teller {
    int fd;           /* -EBADF: none */
    bool asked;       /* the keeper, for a connection */
    int64_t next_ms;  /* when to try again, or to say that nothing has changed */
    int64_t since_ms; /* when it last got on */
    uint64_t edition; /* told */
    bool greeted, left;
    size_t n_greeting;
    struct peers_session session;
    struct buf out;
};
void teller_init(struct teller *t);
/* What it waits for; 0: nothing. */
short teller_events(const struct teller *t);
/* Takes a connection that has begun, or -EBADF. */
void teller_connected(struct teller *t, int fd, int64_t now_ms);
/* Whatever can be done now; negative: the keeper is gone. */
int teller_go_on(struct teller *t, const struct relay *r, uint32_t peer, short revents,
                 int64_t now_ms);

/* --- listener.c: connections from peers --- */

struct listener {
    int fd;
    int64_t since_ms;
    int64_t rest_ms;   /* nothing more is taken before */
    size_t n_greeting; /* said */
    struct peers_session session;
    struct buf in;
};
void listener_init(struct listener *l);
bool listener_rests(const struct listener *l, int64_t now_ms);
short listener_events(const struct listener *l, int64_t now_ms);
/* Takes a new connection, in the place of an older one. */
void listener_connected(struct listener *l, const struct relay *r, int fd, int64_t now_ms);
int listener_go_on(struct listener *l, uint32_t peer, short revents, int64_t now_ms);
