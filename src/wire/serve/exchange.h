/* One HTTP request and its answer, inside proa-serve; private to its HTTP job. */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/serve/message.h"
#include "wire/serve/route.h"

struct exchange;
struct peer;

/* What is done for one method of one kind of address. begin is called when the head of the request
 * is there, end when its body is; what they give refuses the request. */
struct way {
    enum serve_route_kind kind;
    const char *method;
    enum serve_problem (*begin)(struct exchange *x); /* may be NULL */
    enum serve_problem (*end)(struct exchange *x);
};

struct exchange {
    struct MHD_Connection *connection;
    struct peer *peer;
    const struct way *way;
    struct serve_route route;
    const char *method;
    bool head; /* HEAD: no content */
    char session[SERVE_ID_LEN + 1];
    bool session_shown; /* it was in the header itself */
    /* A refusal that waits for the end of the body, or of now. */
    enum serve_problem problem;
    char *message;
    /* The body, on its way to the receiver of an upload. */
    char upload[SERVE_ID_LEN + 1]; /* "" when there is none */
    bool own_upload;               /* made for this request only: cancelled when it fails */
    int pipe;                      /* -EBADF when nothing is taken */
    uint64_t offset, room, wrote, skipped;
    struct MHD_Response *answer;
    unsigned int status;
};

/* The token of whoever has no name. */
#define EXCHANGE_ANONYMOUS "anonymous"
/* Where several parts look: set once, before the first request. */
extern struct exchange_policy {
    bool tls;
    bool tokens; /* whoever says no name is sent to /token first, and may get one there */
} exchange_policy;

/* --- ask.c --- */
/* Asks the other half. The answer's problem is given back, PROBLEM_INTERNAL when there was none; *a
 * is filled in any case, and released by the caller. ret_fd may be NULL. */
enum serve_problem ask(const struct serve_request *q, struct serve_reply *a, int *ret_fd);
/* The same with the session of the exchange, and the repository and reference of its address where
 * q leaves them out. Keeps the message of a refusal in the exchange. */
enum serve_problem exchange_ask(struct exchange *x, struct serve_request *q, struct serve_reply *a,
                                int *ret_fd);
/* Fills x->session from the Authorization header: a name with its secret, a token of the file of
 * users, or a session that /token gave. */
enum serve_problem exchange_login(struct exchange *x);

/* --- answer.c --- */
const char *exchange_header(const struct exchange *x, const char *name);
const char *exchange_argument(const struct exchange *x, const char *name);
/* An answer without content, or with the content of a descriptor (taken): a part of it when the
 * client asked for one and `ranged`. */
void answer_empty(struct exchange *x, unsigned int status);
void answer_text(struct exchange *x, char *json); /* takes it */
void answer_fd(struct exchange *x, const char *type, uint64_t size, int fd, bool ranged);
void answer_problem(struct exchange *x, enum serve_problem p, const char *message);
void answer_header(struct exchange *x, const char *name, const char *fmt, ...) _printf_(3, 4);

/* --- pull.c, push.c --- */
extern const struct way pull_ways[], push_ways[];
extern const size_t n_pull_ways, n_push_ways;
#define PUSH_SKIP_MAX ((uint64_t)16 << 20) /* of a body that is refused */
/* Bytes of the body; false when the connection is to be ended. */
bool push_body(struct exchange *x, const char *data, size_t len);
/* The exchange is over; not ok: what was begun for it alone is undone. Once is enough. */
void push_done(struct exchange *x, bool ok);
