/* Rows of text in aligned columns, cut to fit a terminal. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct table;

struct table *table_new(void);
void table_free(struct table *t); /* takes NULL */
DEFINE_CLEANUP(struct table *, table_free)
#define _cleanup_table_ _cleanup_(table_free_cleanup)

/* Starts a row; adds a cell to it (a copy, made safe for terminals). */
void table_row(struct table *t);
void table_cell(struct table *t, const char *text);

/* Lets this column be cut to fit; while no column is named, any may be. */
void table_may_cut(struct table *t, size_t column);

/* Prints all rows with three spaces between columns. columns: the widest a line may be; the widest
 * columns are cut with an ellipsis until it fits. 0: no limit, nothing is cut. */
void table_print(const struct table *t, FILE *out, size_t columns);
