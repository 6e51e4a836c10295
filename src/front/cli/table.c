#include "front/cli/table.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "front/command/safetext.h"

enum { GAP = 3, NARROWEST = 8 };

struct table {
    char ***rows; /* each a NULL-terminated vector */
    size_t n_rows, room;
    uint64_t cuttable; /* a bit for each column; 0: all */
};

struct table *table_new(void)
{
    return xnew(struct table);
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_rows; i++)
        strv_free(t->rows[i]);
    free(t->rows);
    free(t);
}

void table_row(struct table *t)
{
    if (t->n_rows == t->room) {
        t->room = t->room ? t->room * 2 : 16;
        t->rows = xreallocarray(t->rows, t->room, sizeof(*t->rows));
    }
    t->rows[t->n_rows++] = xcalloc(1, sizeof(char *));
}

void table_cell(struct table *t, const char *text)
{
    strv_take(&t->rows[t->n_rows - 1], text_safe(text));
}

void table_may_cut(struct table *t, size_t column)
{
    if (column < 64)
        t->cuttable |= (uint64_t)1 << column;
}

static bool may_cut(const struct table *t, size_t column)
{
    return t->cuttable == 0 || (column < 64 && (t->cuttable >> column & 1));
}

/* Takes one column at a time from the widest until the line fits, or nothing can give any more. */
static void shrink(const struct table *t, size_t *widths, size_t n, size_t columns)
{
    size_t total = n > 0 ? (n - 1) * GAP : 0;
    for (size_t i = 0; i < n; i++)
        total += widths[i];
    while (total > columns) {
        size_t *widest = NULL;
        for (size_t i = 0; i < n; i++)
            if (may_cut(t, i) && (!widest || widths[i] > *widest))
                widest = &widths[i];
        if (!widest || *widest <= NARROWEST)
            return;
        --*widest;
        total--;
    }
}

static void print_row(char *const *row, const size_t *widths, FILE *out)
{
    for (size_t i = 0; row[i]; i++) {
        _cleanup_free_ char *cell = text_cut(row[i], widths[i]);
        fputs(cell, out);
        if (row[i + 1])
            fprintf(out, "%*s", (int)(widths[i] - text_width(cell) + GAP), "");
    }
    fputc('\n', out);
}

void table_print(const struct table *t, FILE *out, size_t columns)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows; i++)
        n = MAX(n, strv_len(t->rows[i]));
    _cleanup_free_ size_t *widths = xcalloc(n + 1, sizeof(*widths));
    for (size_t i = 0; i < t->n_rows; i++)
        for (size_t j = 0; t->rows[i][j]; j++)
            widths[j] = MAX(widths[j], text_width(t->rows[i][j]));
    if (columns > 0)
        shrink(t, widths, n, columns);
    for (size_t i = 0; i < t->n_rows; i++)
        print_row(t->rows[i], widths, out);
}
