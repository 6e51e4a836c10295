/* Instances of other hosts, by the words that commands know them by. */
#pragma once

#include "base/error.h"
#include "service/store/heard.h"

struct engine;

/* "web@198.51.100.2": its own name and its host; owned. */
char *heard_name(const struct store_heard *h);
/* By such a name, any of its names, or an address. ERROR_NOT_FOUND; ERROR_CONFLICT for a name that
 * several have. */
int heard_find(struct engine *e, const char *text, struct store_heard *ret,
               struct error *err) _must_check_;
