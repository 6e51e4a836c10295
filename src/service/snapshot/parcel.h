/*
 * Parcels (wire/parcel/parcel.h) coming in: proa-parcel writes their files into a folder of its
 * own below ROOT/tmp, which is gone with whatever is left in it when this is closed, or the process
 * ends. Its word is not believed: what is taken is a plain file of its user's, under a name asked
 * for.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "service/image/work.h"

/* Files in PEM; all or none. */
struct parcel_tls {
    const char *cert, *key, *ca;
};
int parcel_tls_check(const struct parcel_tls *t, struct error *err) _must_check_;
/* Whether the files are what they should be. */
int parcel_tls_try(const struct parcel_tls *t, struct error *err) _must_check_;

struct parcel_in {
    struct image_work work;
    char *folder;
    int folder_fd;
    uid_t uid;
    pid_t pid;
    int lines;    /* to proa-parcel and back */
    int messages; /* a file: what it writes to stderr */
};
#define PARCEL_IN_INIT                                                                             \
    {                                                                                              \
        .work = {.fd = -EBADF}, .folder_fd = -EBADF, .lines = -EBADF, .messages = -EBADF           \
    }
enum parcel_event {
    PARCEL_IS_HEAD,
    PARCEL_IS_SYNC,
    PARCEL_IS_ALL,
};
/* tls NULL: the stream is a parcel as it is. The stream stays the caller's. */
int parcel_in_open(struct store *s, int stream, const struct parcel_tls *tls, struct parcel_in *p,
                   struct error *err) _must_check_;
int parcel_in_next(struct parcel_in *p, enum parcel_event *ret, struct error *err) _must_check_;
/* After PARCEL_IS_SYNC: a line for the other side, without its end. */
int parcel_in_answer(struct parcel_in *p, const char *line, struct error *err) _must_check_;
/* What it says it is: text, owned. */
int parcel_in_head(struct parcel_in *p, char **ret, struct error *err) _must_check_;
/* The names of the files that are there; owned. */
int parcel_in_names(struct parcel_in *p, char ***ret, struct error *err) _must_check_;
/* Makes a file root's and gives it another place, on the store's file system. */
int parcel_in_take(struct parcel_in *p, const char *name, const char *to,
                   struct error *err) _must_check_;
void parcel_in_close(struct parcel_in *p);

/* A connection to a host that receives: what is written to *ret_fd goes there, lines come back. It
 * is there when the other side has shown who it is. host and port are checked. */
int parcel_dial(const char *host, const char *port, const struct parcel_tls *tls, pid_t *ret_pid,
                int *ret_fd, int *ret_messages, struct error *err) _must_check_;
/* One line, without its end; -EPIPE and why at the end of the connection. */
int parcel_line(int fd, char *line, size_t size, struct error *err) _must_check_;
/* Why a proa-parcel has ended; waits for it. Gives -errno. */
int parcel_why(pid_t *pid, int messages, struct error *err);
