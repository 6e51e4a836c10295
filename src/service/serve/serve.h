/*
 * A registry over the local store, for other hosts: the privileged half. It opens the socket and
 * starts proa-serve, which parses everything that comes over it without any privilege, and answers
 * proa-serve's requests (wire/serve/message.h) from the store until it is told to stop.
 *
 * What is offered: what was pushed, byte for byte (store/content.h), and the images of the store
 * (image/offer.h). A pushed image becomes an image of the store as well.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct serve_options {
    const char *listen; /* "ADDRESS:PORT", or the path of a Unix socket */
    bool push, remove;  /* accept these */
    bool insecure_http; /* plain HTTP on an address that others can reach */
    const char *users;  /* file of names, hashes and roles, or NULL */
    bool anonymous;     /* with users: whoever says no name may pull */
    const char *tls_cert, *tls_key, *tls_client_ca; /* files, or NULL */
    uint32_t connections;                           /* at once */
    uint64_t max_upload_bytes;                      /* of one blob */
    uint64_t upload_room_bytes;                     /* of all that are not finished */
    uint64_t timeout_ms;                            /* of a client that does nothing */
    /* Called once, when clients can connect: "http://127.0.0.1:5000". */
    void (*ready)(void *context, const char *address);
    /* One line for whoever runs it; may be NULL. */
    void (*note)(void *context, const char *line);
    void *context;
};

/* Returns 0 after SIGTERM, SIGINT or SIGHUP. */
int serve_run(struct store *s, const struct serve_options *o, struct error *err) _must_check_;
