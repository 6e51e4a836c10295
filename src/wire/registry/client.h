/* What the files of proa-registry share: requests on their way, the session they belong to. */
#pragma once

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/registry/auth.h"

struct transfer;

/* What was got out of the answer's headers, and the text of one that is no success. */
struct response {
    long status;
    char *location, *type, *digest, *next;
    struct auth_challenge challenge;
    int64_t length;         /* -1: not said */
    int64_t range_start;    /* of a 206; -1: not said */
    uint64_t retry_after_s; /* 0: not said */
    size_t header_bytes;
    struct buf text;
    bool text_cut;     /* given up on the rest of it */
    bool body_started; /* the first bytes were looked at */
};

struct operation {
    const char *name, *method;
    /* Fills in url, limits and headers from the request. */
    int (*prepare)(struct transfer *t, const json_t *request, struct error *err);
    unsigned int fds;                      /* it needs as many */
    bool (*next_step)(struct transfer *t); /* after a success: true when there is more to do */
};

enum transfer_state {
    TRANSFER_RUNNING,
    TRANSFER_DELAYED,      /* until due_ms */
    TRANSFER_UNAUTHORIZED, /* until there is a token */
};

struct transfer {
    struct client *client;
    struct transfer *next;
    const struct operation *op; /* NULL: the token's */
    json_int_t id;
    enum transfer_state state;
    int64_t due_ms, told_ms;

    const char *method;
    char *url, *first_url; /* after redirects; as prepared */
    bool foreign;          /* url is not the registry's: it gets no credentials */
    unsigned int redirects, attempts, refusals;
    unsigned int token_generation; /* of the credentials that it was sent with */
    char **headers;                /* besides authorization */

    int body;                     /* where bytes go or come from; -EBADF */
    int wake;                     /* -EBADF */
    uint64_t offset, asked, skip; /* next byte; where the request began; bytes to leave out */
    uint64_t max, size;           /* most bytes; what it must have when exact */
    uint64_t progress_mark;       /* offset when the attempts were last counted anew */
    bool exact, uploads, posts;   /* posts: an empty or form body */
    char *form;                   /* of the token's POST */
    uint64_t sent;                /* of the body of an upload */
    unsigned int step;            /* of an upload: 0 asks for a place, 1 sends */
    char *upload_digest;

    CURL *easy;
    struct curl_slist *list;
    char curl_error[CURL_ERROR_SIZE];
    struct response response;
    struct error failure; /* decided while receiving */
};

struct client {
    int socket;
    CURLM *multi;
    struct transfer *transfers;
    bool answered; /* something was received from the registry */

    char *name, *url, *repository;
    char *user, *password, *identity, *ca, *cert, *key;
    char **scopes;
    bool verify;
    uint32_t stall_s;

    char *authorization; /* the header, or NULL */
    unsigned int generation;
    bool token_wanted; /* a token's transfer is under way */
};

/* client.c: configuration and the loop until the other side closes the socket. */
int client_configure(struct client *c, const char *text, size_t len,
                     struct error *err) _must_check_;
int client_run(struct client *c, struct error *err) _must_check_;
void client_answer(struct transfer *t, json_t *message); /* takes the message */

/* operation.c */
const struct operation *operation_find(const char *name);

/* transfer.c */
struct transfer *transfer_new(struct client *c);
void transfer_free(struct transfer *t);
/* Sends it (again); a failure ends it with an answer. */
void transfer_start(struct transfer *t);
void transfer_finished(struct transfer *t, CURLcode result);
/* Ends it with an answer. */
void transfer_fail(struct transfer *t, const struct error *err);

/* receive.c: curl's callbacks. */
size_t receive_header(char *data, size_t size, size_t n, void *transfer);
size_t receive_body(char *data, size_t size, size_t n, void *transfer);
size_t send_body(char *data, size_t size, size_t n, void *transfer);
int seek_body(void *transfer, curl_off_t offset, int origin);
void response_reset(struct response *r);

/* credentials.c: after a 401, tries to get what was asked for. True when t goes on or waits. */
bool credentials_get(struct transfer *t, struct error *err);
/* The token's transfer has ended. */
void credentials_received(struct transfer *token, const struct error *failure);

/* address.c */
bool url_same_origin(const char *a, const char *b);
/* The target of a redirect or a Location, absolute; refuses what is no http or https, and http when
 * the registry is reached by https. */
int url_resolve(const struct client *c, const char *base, const char *target, char **ret,
                struct error *err) _must_check_;

/* complaint.c: errors out of answers and of curl's results. Gives whether another try may help. */
bool complaint_of_status(const struct transfer *t, struct error *err);
bool complaint_of_curl(const struct transfer *t, CURLcode result, struct error *err);

/* sandbox.c */
int registry_confine(struct error *err) _must_check_;
