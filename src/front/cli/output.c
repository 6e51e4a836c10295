#include "front/cli/output.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "front/cli/table.h"
#include "front/cli/template.h"
#include "front/command/safetext.h"

enum { RENDER_MAX = 64 << 20 };

/* --- lists --- */

static const char *field_text(const json_t *row, const char *field)
{
    const char *text = json_string_value(json_object_get(row, field));
    return text ? text : "";
}

static void print_plain_table(const struct list_spec *spec, const struct list_values *how,
                              json_t *rows)
{
    _cleanup_table_ struct table *t = table_new();
    table_row(t);
    for (size_t i = 0, shown = 0; i < spec->n_columns; i++) {
        if (!spec->columns[i].shown)
            continue;
        table_cell(t, spec->columns[i].header);
        if (spec->columns[i].cut)
            table_may_cut(t, shown);
        shown++;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        table_row(t);
        for (size_t j = 0; j < spec->n_columns; j++)
            if (spec->columns[j].shown)
                table_cell(t, field_text(json_array_get(rows, i), spec->columns[j].field));
    }
    table_print(t, stdout, how->no_trunc ? 0 : output_columns());
}

static int render_row(const char *format, json_t *row, bool safe, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(RENDER_MAX);
    int r = template_render(format, row, safe, &text, err);
    if (r == 0)
        *ret = buf_take(&text);
    return r;
}

/* "table TEMPLATE": the cells are what stands between tabs, the header comes from the columns. */
static int print_template_table(const struct list_spec *spec, const char *format, json_t *rows,
                                unsigned int columns, struct error *err)
{
    _cleanup_table_ struct table *t = table_new();
    _cleanup_json_ json_t *header = json_object();
    for (size_t i = 0; i < spec->n_columns; i++)
        json_object_set_new(header, spec->columns[i].field, json_string(spec->columns[i].header));
    for (size_t i = 0; i <= json_array_size(rows); i++) {
        _cleanup_free_ char *line = NULL;
        json_t *row = i == 0 ? header : json_array_get(rows, i - 1);
        /* Values are made safe here already, so that a tab in one does not make a column. */
        int r = render_row(format, row, true, &line, err);
        if (r < 0)
            return r;
        _cleanup_strv_ char **cells = strv_split(line, '\t');
        table_row(t);
        for (size_t j = 0; cells[j]; j++)
            table_cell(t, cells[j]);
    }
    table_print(t, stdout, columns);
    return 0;
}

static int print_rows(const char *format, json_t *rows, struct error *err)
{
    bool safe = isatty(STDOUT_FILENO), json = strcmp(format, "json") == 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        _cleanup_free_ char *line = json ? template_json(row, false) : NULL;
        int r = json ? 0 : render_row(format, row, safe, &line, err);
        if (r < 0)
            return r;
        puts(line);
    }
    return 0;
}

int list_print(const struct list_spec *spec, const struct list_values *how, json_t *rows,
               struct error *err)
{
    static const char table_word[] = "table ";
    if (how->quiet) {
        for (size_t i = 0; i < json_array_size(rows); i++) {
            _cleanup_free_ char *id =
                text_safe_for(stdout, field_text(json_array_get(rows, i), spec->quiet_field));
            puts(id);
        }
        return 0;
    }
    if (!how->format || strcmp(how->format, "table") == 0) {
        print_plain_table(spec, how, rows);
        return 0;
    }
    if (strncmp(how->format, table_word, strlen(table_word)) == 0)
        return print_template_table(spec, how->format + strlen(table_word), rows,
                                    how->no_trunc ? 0 : output_columns(), err);
    return print_rows(how->format, rows, err);
}

/* --- filters --- */

const char *filter_value(const char *filter, const char *key)
{
    size_t n = strlen(key);
    return strncmp(filter, key, n) == 0 && filter[n] == '=' ? filter + n + 1 : NULL;
}

int filters_check(char *const *filters, const char *const *keys, struct error *err)
{
    for (size_t i = 0; filters && filters[i]; i++) {
        bool known = false;
        for (size_t k = 0; keys[k]; k++)
            known |= filter_value(filters[i], keys[k]) != NULL;
        if (known)
            continue;
        _cleanup_free_ char *list = strv_join((char *const *)keys, ", ");
        return error_invalid(err, "invalid filter \"%s\": KEY=VALUE with one of %s", filters[i],
                             list);
    }
    return 0;
}

bool label_matches(char *const *labels, const char *wanted)
{
    size_t n = strlen(wanted);
    bool key_only = !strchr(wanted, '=');
    for (size_t i = 0; labels && labels[i]; i++)
        if (strcmp(labels[i], wanted) == 0 ||
            (key_only && strncmp(labels[i], wanted, n) == 0 && labels[i][n] == '='))
            return true;
    return false;
}

/* --- one value --- */

int inspect_print(json_t *values, const char *format, struct error *err)
{
    if (format && strcmp(format, "json") != 0)
        return print_rows(format, values, err);
    _cleanup_free_ char *text = template_json(values, format == NULL);
    puts(text);
    return 0;
}

bool output_confirm(const char *question)
{
    char answer[16] = "";
    fflush(stdout);
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
