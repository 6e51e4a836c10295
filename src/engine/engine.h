/*
 * The engine: one use case a file, over the services and the runtimes. A front end opens it, calls
 * what it needs, and closes it; nothing here prints.
 *
 * Opening repairs what killed processes left half done (repair.c); what a person should know of it
 * is collected in `notices`, one line each, for the front end to show.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "service/store/store.h"

struct engine {
    struct store *store;
    char **notices; /* lines, without newline */
};

/* root NULL: PROA_ROOT, else /var/lib/proa. */
int engine_open(const char *root, struct engine **ret, struct error *err) _must_check_;
void engine_close(struct engine *e); /* takes NULL */
DEFINE_CLEANUP(struct engine *, engine_close)
#define _cleanup_engine_ _cleanup_(engine_close_cleanup)
