/* Shared by the files of service/names only: what the relay asks of the keeper. */
#pragma once

#include <poll.h>

#include "service/names/names.h"

/* Of the relay, beside the two sockets of the instance's. */
enum {
    RELAY_KEEPER = 5,
    RELAY_UPSTREAM = 6, /* a UDP socket, connected to dnsmasq */
};

/* A closed table: anything else ends both. Each is one message and has one answer. */
enum names_request_kind {
    NAMES_BEGIN = 1, /* I have given everything up */
    NAMES_LEARN,     /* answers NAMES_DONE, _FULL or _FAILED */
    NAMES_CONNECT,   /* a connection to dnsmasq comes with the answer */
};
enum names_answer {
    NAMES_DONE = 1,
    NAMES_FULL,   /* there is no room: nothing of it was learned */
    NAMES_FAILED, /* the kernel did not take it */
};
#define NAMES_AT_ONCE 128u
struct names_request {
    uint32_t kind;
    uint32_t n;
    char name[DNS_NAME_SIZE + 2]; /* with its NUL */
    struct {
        uint8_t v6;
        uint8_t bytes[16];
        uint32_t ttl_s;
    } list[NAMES_AT_ONCE];
};

/* Answers the relay's requests until it is gone; channel is the keeper's end. 0 or -errno. */
struct keeper;
struct sockaddr_in;
int keeper_upstream(const char *text, struct sockaddr_in *ret); /* "10.1.0.1:10053" */
int keeper_new(const struct names_config *config, const char *upstream, struct keeper **ret);
int keeper_serve(struct keeper *k, int channel);
/* keeper.c: one request to its answer; *ret_fd is a descriptor to send along, or -EBADF. Negative:
 * it is none. */
int keeper_answer(struct keeper *k, const struct names_request *q, size_t len, int *ret_fd);

/* relay.c: never returns but for an end. own: the addresses that questions come from. */
int relay_run(const struct policy_address *own, size_t n_own);
/* Asks the keeper; negative when it is gone. */
int relay_learn(const char *name, const struct dns_address *list, size_t n);
int relay_connect(int *ret_fd);
bool relay_knows(const struct policy_address *own, size_t n_own, struct policy_address who);

/* --- relay-tcp.c: the same over TCP --- */

#define RELAY_STREAMS 16
struct streams;
struct streams *streams_new(void);
/* A connection of the instance's; taken. */
void streams_add(struct streams *s, int fd, int64_t now_ms);
/* What to wait for: fills fds, gives their number. */
size_t streams_poll(const struct streams *s, struct pollfd fds[static RELAY_STREAMS]);
/* After waiting: goes on with each, and ends those that take too long. */
void streams_go_on(struct streams *s, const struct pollfd *fds, size_t n, int64_t now_ms);
