/* proa-parcel's parts (main.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Descriptors that the engine gives. */
#define PARCEL_FD_STREAM 0 /* the parcel: a file, a pipe or a socket */
#define PARCEL_FD_ENGINE 1 /* lines to the engine and back */
#define PARCEL_FD_FOLDER 3 /* where files are put */
#define PARCEL_FD_CERT   4 /* certificate, key, and the authority of the other side, PEM */
#define PARCEL_FD_KEY    5
#define PARCEL_FD_CA     6

/* confine.c: no privilege, no paths but below folder (-EBADF: none), a list of system calls. */
int parcel_confine(uid_t uid, int folder, struct error *err) _must_check_;
/* The first half alone: a user without privilege, who may still look names up and connect. */
int parcel_drop(uid_t uid, struct error *err) _must_check_;

/* tls.c. A connection; blocking. */
struct tls;
/* host: the other side's name, which its certificate must have; NULL: any that the authority has
 * signed. The files are read here, before there is a connection. */
int tls_new(const char *host, struct tls **ret, struct error *err) _must_check_;
int tls_start(struct tls *t, int fd, struct error *err) _must_check_;
ssize_t tls_read(struct tls *t, void *data,
                 size_t len); /* 0: its orderly end; -EAGAIN: ask again */
int tls_write(struct tls *t, const void *data, size_t len) _must_check_; /* all; 0 or -errno */
bool tls_pending(const struct tls *t);
void tls_free(struct tls *t);

/* receive.c, dial.c. The uid is what each becomes. */
int receive_run(uid_t uid, bool tls, struct error *err) _must_check_;
int try_run(uid_t uid, struct error *err) _must_check_;
int dial_run(uid_t uid, const char *host, const char *port, struct error *err) _must_check_;
