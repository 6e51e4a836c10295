/* What every verb prints with: errors, lists in the form that was asked for, the end of output. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "front/command/options.h"
#include "front/command/report.h"

/* The options of everything that lists; first member of those verbs' values. */
struct list_values {
    char *format;   /* NULL: a table; "json"; "table TEMPLATE"; TEMPLATE */
    char **filters; /* KEY=VALUE */
    bool quiet, no_trunc;
};
#define LIST_OPTIONS(values)                                                                       \
    OPT_STRING(0, "format", values, list.format, "string",                                         \
               "Print with a template, e.g. '{{.ID}} {{.Names}}', 'table {{.ID}}\\t{{.Names}}', "  \
               "or json"),                                                                         \
        OPT_LIST('f', "filter", values, list.filters, "filter",                                    \
                 "Show only what matches KEY=VALUE"),                                              \
        OPT_FLAG('q', "quiet", values, list.quiet, "Print only the identifiers"),                  \
        OPT_FLAG(0, "no-trunc", values, list.no_trunc, "Do not shorten anything")

struct column {
    const char *header, *field;
    bool shown; /* in the plain table; templates know all */
    bool cut;   /* may be cut to fit the terminal */
};
struct list_spec {
    const struct column *columns;
    size_t n_columns;
    const char *quiet_field;
};

/* Prints rows (an array of objects whose members are texts). */
int list_print(const struct list_spec *spec, const struct list_values *how, json_t *rows,
               struct error *err) _must_check_;

/* The value of a filter KEY=VALUE when its key is this one, or NULL. */
const char *filter_value(const char *filter, const char *key);
/* Refuses filters whose key is not in the NULL-terminated list. */
int filters_check(char *const *filters, const char *const *keys, struct error *err) _must_check_;
/* "KEY" or "KEY=VALUE" against labels ("key=value"). */
bool label_matches(char *const *labels, const char *wanted);

/* Prints one value: as indented JSON in an array, or through a template. */
int inspect_print(json_t *values, const char *format, struct error *err) _must_check_;

/* Asks on the terminal; true for "y". */
bool output_confirm(const char *question);
