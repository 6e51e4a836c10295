/* Shared by the files of service/network only: networks that span hosts. */
#pragma once

#include "service/network/span.h"

/* --- span.c: what hosts tell each other about a network that they share --- */

/* ERROR_CONFLICT where another network has the port. */
int span_check(const struct network *n, struct network *const *others,
               struct error *err) _must_check_;
/* path NULL: none, *ret is NULL. */
int span_read_key(const char *path, char **ret, struct error *err) _must_check_;
bool span_running(struct store *s, const struct network *n); /* or it need not */
int span_up(struct store *s, const struct network *n, struct error *err) _must_check_;
/* Takes leave of the others, and forgets what they said. */
void span_down(struct store *s, const struct network *n);

/* --- heard.c: what they said --- */

/* The files of names, as the store says: only what differs is written. */
int heard_write_names(struct store *s, const struct network *n, struct error *err) _must_check_;
int heard_forget(struct store *s, const char *network, struct error *err) _must_check_;
