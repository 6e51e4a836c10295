/*
 * Registries: where they are and how far they are trusted (config.c, trust.c), who we are there
 * (credentials.c), and talking to one (session.c), which the helper program proa-registry does
 * (wire/registry/protocol.h).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/registry/reference.h"

/* What a command line says; NULL and 0 when it says nothing. Borrowed. */
struct registry_options {
    const char *config;    /* instead of /etc/proa/registries.json */
    const char *auth_file; /* instead of Docker's config.json */
    const char *cert_dir;  /* instead of the certs.d directories */
    const char *user, *password;
    bool insecure; /* --tls-verify=false: of the one registry that is named */
};

/* The name of an image as typed, made complete: a name without a registry is looked up in the list
 * of short names. ERROR_INVALID says so when it is not in it. */
int registry_resolve(const struct registry_options *o, const char *text, struct reference *ret,
                     struct error *err) _must_check_;

/* One way to reach a registry: itself, or a mirror. */
struct registry_endpoint {
    char *host; /* HOST[:PORT], to which credentials and certificates belong */
    char *url;
    bool verify;
    uint32_t stall_s;
};
/* In the order in which they are to be tried; owned, ended by a NULL host. for_writing: no mirrors.
 */
int registry_endpoints(const struct registry_options *o, const char *registry, bool for_writing,
                       struct registry_endpoint **ret, struct error *err) _must_check_;
void registry_endpoints_free(struct registry_endpoint *list); /* takes NULL */

struct registry_credentials {
    char *user, *password;
    char *identity; /* a token that other tokens are got with */
};
void registry_credentials_done(struct registry_credentials *c);
/* All NULL when none are known. */
int registry_credentials_find(const struct registry_options *o, const char *host,
                              const char *repository, struct registry_credentials *ret,
                              struct error *err) _must_check_;
/* *ret_where: the file or helper that has them now; owned. */
int registry_credentials_store(const struct registry_options *o, const char *host,
                               const struct registry_credentials *c, char **ret_where,
                               struct error *err) _must_check_;
/* *ret_known: whether there were any. */
int registry_credentials_erase(const struct registry_options *o, const char *host, bool *ret_known,
                               struct error *err) _must_check_;

/* Adds "ca", "cert" and "key" to a session's configuration (protocol.h). */
int registry_trust_add(const struct registry_options *o, const char *host, json_t *config,
                       struct error *err) _must_check_;

struct registry_session;
/* repository NULL: for "ping". scopes: NULL, or more rights to ask for than the registry does. */
int registry_session_open(const struct registry_options *o, const struct registry_endpoint *at,
                          const char *repository, char *const *scopes,
                          struct registry_session **ret, struct error *err) _must_check_;
void registry_session_close(struct registry_session *s); /* takes NULL */
DEFINE_CLEANUP(struct registry_session *, registry_session_close)
#define _cleanup_session_ _cleanup_(registry_session_close_cleanup)

/* Readable when an answer is there. */
int registry_session_fd(const struct registry_session *s);
/* Sends a request (taken) with n descriptors; gives its id. */
int registry_session_send(struct registry_session *s, json_t *request, const int *fds, size_t n,
                          int64_t *ret_id, struct error *err) _must_check_;

struct registry_answer {
    int64_t id;
    bool ended;
    uint64_t received;    /* so far, or in all */
    struct error failure; /* code 0: none */
    json_t *members;      /* of a success; owned */
};
void registry_answer_done(struct registry_answer *a);
/* Waits for one; only the session's own end is a failure of this. */
int registry_session_receive(struct registry_session *s, struct registry_answer *ret,
                             struct error *err) _must_check_;

/* Sends and waits; ends of others are kept for registry_session_receive. fd -EBADF: none. *ret is
 * owned, may be NULL. */
int registry_session_call(struct registry_session *s, json_t *request, int fd, json_t **ret,
                          struct error *err) _must_check_;
/* The same for a request whose body is a document; *ret_text is owned, NUL-terminated. */
int registry_session_document(struct registry_session *s, json_t *request, char **ret_text,
                              size_t *ret_len, json_t **ret, struct error *err) _must_check_;
