/*
 * Text from outside (names, labels, commands) on its way to a terminal: what could move the cursor,
 * change colours or reorder letters is shown as an escape, and widths are counted in columns.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* A copy in which control characters, invalid UTF-8 and direction overrides are escapes ("\n",
 * "\x1b", "\u202e"). Owned. */
char *text_safe(const char *s);

/* The same, where stream ends at a terminal; otherwise a plain copy. Owned. */
char *text_safe_for(FILE *out, const char *s);

/* Columns that (safe, UTF-8) text takes. */
size_t text_width(const char *s);

/* At most `columns` columns of s, the last of them an ellipsis when something was cut. Owned. */
char *text_cut(const char *s, size_t columns);
