/*
 * What proa-serve (which parses HTTP, and has no privilege) may ask of `proa registry serve` (which
 * holds the store): a closed table of requests. A request is one JSON object in one message of a
 * SOCK_SEQPACKET socket, with one end of a fresh socket pair attached, on which the one reply comes
 * back: so requests wait for each other in no order, and nobody has to match them.
 *
 * Decoding checks everything that can be checked without the store: which members the request must
 * and may have, and the form of each. The privileged side decodes with the same function and relies
 * on nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/serve/name.h"
#include "wire/serve/problem.h"

#define SERVE_MESSAGE_MAX ((size_t)24 << 10)
#define SERVE_TAGS_MAX    32
#define SERVE_SECRET_MAX  1024

enum serve_op {
    SERVE_LOGIN,           /* user, secret: session */
    SERVE_CHECK,           /* may this caller come in at all? */
    SERVE_MANIFEST_GET,    /* reference: digest, media_type, size; a descriptor unless head */
    SERVE_MANIFEST_PUT,    /* reference, upload (complete), media_type, tags: digest, subject */
    SERVE_MANIFEST_DELETE, /* reference */
    SERVE_BLOB_GET,        /* digest: size; a descriptor unless head */
    SERVE_BLOB_DELETE,     /* digest */
    SERVE_BLOB_MOUNT,      /* digest, from: done, or BLOB_UNKNOWN */
    SERVE_UPLOAD_BEGIN,    /* upload, offset 0 */
    SERVE_UPLOAD_WRITE,    /* upload, offset: a pipe for the next bytes, size: how many may come */
    SERVE_UPLOAD_WROTE,    /* upload, count: how many have gone into the pipe */
    SERVE_UPLOAD_STATUS,   /* upload: offset */
    SERVE_UPLOAD_COMMIT,   /* upload, digest */
    SERVE_UPLOAD_CANCEL,   /* upload */
    SERVE_TAGS,            /* last, count: a descriptor of JSON, next when there are more */
    SERVE_CATALOG,         /* the same */
    SERVE_REFERRERS,       /* digest, artifact_type: a descriptor of JSON */
    SERVE_OP_COUNT_,
};

/* What a caller may do; a request's row in the table has what it needs. */
enum serve_role {
    SERVE_ROLE_PULL = 1u << 0,
    SERVE_ROLE_PUSH = 1u << 1,
    SERVE_ROLE_DELETE = 1u << 2,
};

struct serve_request {
    enum serve_op op;
    char *session; /* NULL: nobody in particular */
    char *user, *secret;
    char *repository, *reference, *digest, *upload, *from;
    char *media_type, *artifact_type;
    char *last; /* of a list: what comes after this */
    char **tags;
    uint64_t offset, count;
    bool head; /* no content is wanted */
};
void serve_request_done(struct serve_request *r);

const char *serve_op_name(enum serve_op op);
unsigned int serve_op_role(enum serve_op op); /* 0: none */

/* Owned text. */
char *serve_request_encode(const struct serve_request *r);
int serve_request_decode(const char *text, size_t len, struct serve_request *ret,
                         struct error *err) _must_check_;

struct serve_reply {
    enum serve_problem problem;
    char *message; /* why, or NULL */
    char *session, *upload, *digest, *media_type, *subject;
    char *next; /* of a list: where to go on */
    uint64_t size, offset;
    bool filtered;
};
void serve_reply_done(struct serve_reply *r);
char *serve_reply_encode(const struct serve_reply *r);
int serve_reply_decode(const char *text, size_t len, struct serve_reply *ret,
                       struct error *err) _must_check_;
