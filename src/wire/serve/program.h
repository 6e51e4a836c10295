/* The jobs of proa-serve, each a process of its own without privilege: see main.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* What a job may still do once it has begun (confine.c). */
enum serve_job {
    SERVE_STREAM, /* read, write, compute */
    SERVE_SERVER, /* sockets that are there, threads */
};
int serve_confine(enum serve_job job, struct error *err) _must_check_;

int receive_run(uint64_t most_bytes, struct error *err) _must_check_;
int hash_run(const char *algorithm, struct error *err) _must_check_;
int auth_run(struct error *err) _must_check_;

struct http_options {
    unsigned int connections;
    unsigned int timeout_s;
    bool tls, mutual;
    bool tokens; /* some may pull without a name: clients are sent for a token */
};
/* Serves until the other half goes. */
int http_run(const struct http_options *o, struct error *err) _must_check_;
