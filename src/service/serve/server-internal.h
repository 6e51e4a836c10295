/* What the files of this folder share. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "service/image/work.h"
#include "service/serve/serve.h"
#include "wire/serve/message.h"

/* --- children: processes whose output is a result (child.c) --- */

struct server;
struct child {
    struct child *next;
    struct server *server;
    pid_t pid;
    int out;
    struct buf text;
    /* Called once, when the process has closed its output; the child is freed after it. */
    void (*done)(struct child *c, const char *text);
    void *context;
};
struct child_spec {
    const char *program;
    char *const *argv;
    int in, extra; /* its descriptors 0 and 3, or -EBADF */
    void (*done)(struct child *c, const char *text);
    void *context;
};
int child_start(struct server *s, const struct child_spec *spec, struct child **ret,
                struct error *err) _must_check_;
void child_end(struct child *c);  /* kills it; done is not called; takes NULL */
void child_read(struct child *c); /* when there is something on its output, or its end */

/* --- one request, until it is answered (call.c) --- */

struct call {
    struct server *server;
    struct serve_request q;
    struct serve_reply a;
    int reply_fd; /* where the answer goes */
    int fd;       /* what goes with it, or -EBADF */
};
/* What a handler gives: CALL_LATER when something else will call call_answer(). */
enum call_state { CALL_DONE, CALL_LATER };

void call_answer(struct call *c); /* sends and frees */
enum call_state call_refuse(struct call *c, enum serve_problem p);
/* Quotes why. */
enum call_state call_refuse_why(struct call *c, enum serve_problem p, const char *why);
/* Something failed here: said to whoever runs the server, not to the client. */
enum call_state call_failed(struct call *c, const struct error *err);

typedef enum call_state (*call_handler)(struct call *c);
extern const call_handler call_handlers[SERVE_OP_COUNT_];

enum call_state login_call(struct call *c);
enum call_state check_call(struct call *c);
enum call_state manifest_get_call(struct call *c);
enum call_state manifest_put_call(struct call *c);
enum call_state manifest_delete_call(struct call *c);
enum call_state blob_get_call(struct call *c);
enum call_state blob_delete_call(struct call *c);
enum call_state blob_mount_call(struct call *c);
enum call_state upload_begin_call(struct call *c);
enum call_state upload_write_call(struct call *c);
enum call_state upload_wrote_call(struct call *c);
enum call_state upload_status_call(struct call *c);
enum call_state upload_commit_call(struct call *c);
enum call_state upload_cancel_call(struct call *c);
enum call_state tags_call(struct call *c);
enum call_state catalog_call(struct call *c);
enum call_state referrers_call(struct call *c);

/* --- uploads (upload.c) --- */

struct upload {
    struct upload *next;
    struct server *server;
    char id[SERVE_ID_LEN + 1];
    char *repository;
    char *file;             /* below the server's work directory */
    int in;                 /* the pipe to the receiver */
    struct child *receiver; /* NULL when it has ended */
    uint64_t offset;        /* how many bytes have gone in */
    bool writing;
    int64_t touched_ms;
    enum serve_problem failed;
    char digest[SERVE_DIGEST_MAX + 1]; /* of what was received, once known */
    uint64_t bytes;
    /* Who waits for the end, and for which algorithm's digest. */
    struct call *waiting;
    const char *algorithm;
    enum call_state (*complete)(struct upload *u, struct call *c);
};
/* Ends the upload and has complete() called with its digest, or the call refused. complete() is as
 * a handler; the upload is freed after it. */
enum call_state upload_finish(struct call *c, const char *algorithm,
                              enum call_state (*complete)(struct upload *u, struct call *c));
void uploads_tick(struct server *s, int64_t now_ms);
void uploads_free(struct server *s);

/* --- content (blob.c, manifest.c, local.c) --- */

/* Moves an upload's file to where its digest says; inside the caller's transaction. */
int content_place(struct upload *u, struct error *err) _must_check_;
/* Removes the file of a digest that nothing needs any more. */
int content_drop(struct store *s, const char *digest, struct error *err) _must_check_;
int content_open(struct store *s, const char *digest, int *ret_fd, struct error *err) _must_check_;

/* The image of the store that the reference (tag, or made manifest's digest) of the repository
 * names: *ret_digest NULL when there is none. */
int local_manifest(struct server *s, const char *repository, const char *reference,
                   char **ret_digest, uint64_t *ret_bytes, struct error *err) _must_check_;
/* Takes a tag's name from the image that has it; the image goes when nothing else needs it. */
int local_untag(struct server *s, const char *repository, const char *tag, bool *ret_removed,
                struct error *err) _must_check_;
/* Makes an image of the store of a pushed manifest, then answers the call. */
enum call_state local_import(struct call *c, const char *digest, uint64_t bytes, char *const *tags);

/* --- the server (server.c, login.c, listen.c) --- */

#define SESSIONS_MAX 256
struct session {
    char id[SERVE_ID_LEN + 1]; /* "" when free */
    unsigned int role;
    int64_t until_ms;
};

struct server {
    struct store *store;
    const struct serve_options *options;
    struct image_work work;
    char *program; /* path of proa-serve */
    bool listening;
    int channel;
    pid_t http;
    struct child *children;
    struct upload *uploads;
    struct session sessions[SESSIONS_MAX];
    unsigned int logins; /* being checked */
    pid_t *streams;      /* processes that write layers, reaped now and then */
    size_t n_streams;
};
void server_note(struct server *s, const char *fmt, ...) _printf_(2, 3);
bool server_can_stream(struct server *s); /* not more at once than connections */
void server_add_stream(struct server *s, pid_t pid);
/* What the session, or whoever has none, may do. */
unsigned int login_role(struct server *s, const char *session);
/* *ret_shown: how clients address it; owned. */
int listen_open(const struct serve_options *o, int *ret_fd, char **ret_shown,
                struct error *err) _must_check_;
void listen_close(const struct serve_options *o);
