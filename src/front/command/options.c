/*
 * The parser behind options.h. Each word is one of: "--", "--name", "--name=value", a cluster of
 * letters ("-it", "-eA=1", "-p", "8080:80"), or a positional argument ("-" alone is one). Messages
 * are those that Docker's users know.
 */
#include "front/command/options.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"

static const struct cli_option *find_option(const struct command *c, const char *name, size_t len,
                                            char letter)
{
    for (size_t s = 0; s < COMMAND_MAX_SETS; s++)
        for (size_t i = 0; i < c->sets[s].n; i++) {
            const struct cli_option *o = &c->sets[s].options[i];
            if (letter ? o->letter == letter
                       : strncmp(o->name, name, len) == 0 && o->name[len] == '\0')
                return o;
        }
    return NULL;
}

const struct cli_option *option_by_name(const struct command *c, const char *name, size_t len)
{
    return find_option(c, name, len, 0);
}

const struct cli_option *option_by_letter(const struct command *c, char letter)
{
    return letter ? find_option(c, "", 0, letter) : NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct cli_option *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

void options_each(const struct command *c, void (*each)(void *context, const struct cli_option *o),
                  void *context)
{
    size_t n = 0;
    for (size_t s = 0; s < COMMAND_MAX_SETS; s++)
        n += c->sets[s].n;
    _cleanup_free_ const struct cli_option **all = xcalloc(n + 1, sizeof(*all));
    n = 0;
    for (size_t s = 0; s < COMMAND_MAX_SETS; s++)
        for (size_t i = 0; i < c->sets[s].n; i++)
            if (c->sets[s].options[i].help)
                all[n++] = &c->sets[s].options[i];
    qsort(all, n, sizeof(*all), by_name);
    for (size_t i = 0; i < n; i++)
        each(context, all[i]);
}

static int parse_bool(const char *s, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "true", "True", "TRUE"};
    static const char *const no[] = {"0", "f", "F", "false", "False", "FALSE"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *ret = strcmp(s, yes[i]) == 0;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_signed(const char *s, int64_t max, int64_t *ret)
{
    uint64_t value = 0;
    bool minus = *s == '-';
    int r = parse_u64(s + minus, (uint64_t)max, &value);
    if (r == 0)
        *ret = minus ? -(int64_t)value : (int64_t)value;
    return r;
}

/* KEY or KEY=VALUE: the key is not empty, and a later one replaces an earlier one. */
static int add_key_value(char ***list, const char *text)
{
    if (*text == '\0' || *text == '=')
        return -EINVAL;
    size_t len = (size_t)(strchrnul(text, '=') - text);
    for (size_t i = 0; *list && (*list)[i]; i++)
        if (strncmp((*list)[i], text, len) == 0 &&
            ((*list)[i][len] == '=' || (*list)[i][len] == '\0')) {
            xreplace(&(*list)[i], text);
            return 0;
        }
    strv_add(list, text);
    return 0;
}

static int store_signed(const struct cli_option *o, void *place, const char *text)
{
    int64_t value = 0;
    bool wide = o->type == OPTION_I64;
    int r = parse_signed(text, wide ? INT64_MAX : INT32_MAX, &value);
    if (r < 0)
        return r;
    if (wide)
        *(int64_t *)place = value;
    else
        *(int32_t *)place = (int32_t)value;
    return 0;
}

static int store(const struct cli_option *o, void *values, const char *text)
{
    void *place = (char *)values + o->offset;
    switch (o->type) {
    case OPTION_FLAG:
        return parse_bool(text, place);
    case OPTION_STRING:
        xreplace(place, text);
        return 0;
    case OPTION_LIST:
        strv_add(place, text);
        return 0;
    case OPTION_KEY_VALUE:
        return add_key_value(place, text);
    case OPTION_SIZE:
        return parse_size(text, place);
    case OPTION_MILLI:
        return parse_milli(text, place);
    case OPTION_DURATION:
        return parse_duration(text, place);
    case OPTION_U32:
        return parse_u32(text, place);
    case OPTION_U64:
        return parse_u64(text, UINT64_MAX, place);
    case OPTION_I32:
    case OPTION_I64:
        return store_signed(o, place, text);
    }
    return -EINVAL;
}

static const char *wanted(enum option_type type)
{
    switch (type) {
    case OPTION_FLAG:
        return "it must be true or false";
    case OPTION_KEY_VALUE:
        return "it must be KEY=VALUE or KEY";
    case OPTION_SIZE:
        return "it must be a size such as 512m or 2g";
    case OPTION_MILLI:
        return "it must be a number such as 1 or 0.5";
    case OPTION_DURATION:
        return "it must be a time such as 90s or 1m30s";
    default:
        return "it must be a whole number";
    }
}

static int set_option(const struct cli_option *o, void *values, const char *text, struct error *err)
{
    int r = store(o, values, text);
    if (r == 0)
        return 0;
    char letter[8] = "";
    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    return error_invalid(err, "invalid argument \"%s\" for \"%s--%s\": %s%s", text, letter, o->name,
                         wanted(o->type), r == -ERANGE ? " in range" : "");
}

struct parser {
    const struct command *command;
    char *const *argv;
    size_t at;
    void *values;
    struct parsed *out;
    struct error *err;
};

static int parse_long(struct parser *p, const char *word)
{
    size_t len = strcspn(word, "=");
    const struct cli_option *o = len ? option_by_name(p->command, word, len) : NULL;
    if (!o && strcmp(word, "help") == 0) {
        p->out->help = true;
        return 0;
    }
    if (!o && len == 0)
        return error_invalid(p->err, "bad flag syntax: --%s", word);
    if (!o)
        return error_invalid(p->err, "unknown flag: --%.*s", (int)MIN(len, (size_t)200), word);
    if (word[len] == '=')
        return set_option(o, p->values, word + len + 1, p->err);
    if (o->type == OPTION_FLAG)
        return set_option(o, p->values, "true", p->err);
    if (!p->argv[p->at])
        return error_invalid(p->err, "flag needs an argument: --%s", o->name);
    return set_option(o, p->values, p->argv[p->at++], p->err);
}

static int parse_letters(struct parser *p, const char *letters)
{
    for (const char *l = letters; *l; l++) {
        const struct cli_option *o = option_by_letter(p->command, *l);
        if (!o && *l == 'h') {
            p->out->help = true;
            return 0;
        }
        if (!o)
            return error_invalid(p->err, "unknown shorthand flag: '%c' in -%s", *l, letters);
        if (l[1] == '=')
            return set_option(o, p->values, l + 2, p->err);
        if (o->type == OPTION_FLAG) {
            int r = set_option(o, p->values, "true", p->err);
            if (r < 0)
                return r;
            continue;
        }
        if (l[1])
            return set_option(o, p->values, l + 1, p->err);
        if (!p->argv[p->at])
            return error_invalid(p->err, "flag needs an argument: '%c' in -%s", *l, letters);
        return set_option(o, p->values, p->argv[p->at++], p->err);
    }
    return 0;
}

/* With one dash before it, where the command has it so. */
static bool is_name(const struct command *c, const char *word)
{
    size_t len = strcspn(word, "=");
    return c->single_dash && len > 1 && option_by_name(c, word, len);
}

static void take_rest(struct parser *p)
{
    while (p->argv[p->at])
        p->out->args[p->out->n_args++] = p->argv[p->at++];
}

static int check_count(const struct parser *p)
{
    const struct command *c = p->command;
    size_t n = p->out->n_args;
    if (n >= c->min_args && n <= c->max_args)
        return 0;
    if (c->max_args == 0)
        return error_invalid(p->err, "\"%s\" accepts no arguments", c->name);
    const char *how = c->min_args == c->max_args ? "exactly"
                      : n < c->min_args          ? "at least"
                                                 : "at most";
    unsigned int count = n < c->min_args ? c->min_args : c->max_args;
    return error_invalid(p->err, "\"%s\" requires %s %u argument%s", c->name, how, count,
                         count == 1 ? "" : "s");
}

int options_parse(const struct command *c, char *const *argv, void *values, struct parsed *ret,
                  struct error *err)
{
    struct parser p = {c, argv, 0, values, ret, err};
    *ret = (struct parsed){.args = xcalloc(strv_len(argv) + 1, sizeof(char *))};
    int r = 0;
    while (r == 0 && !ret->help && argv[p.at]) {
        const char *word = argv[p.at];
        if (word[0] != '-' || word[1] == '\0') {
            if (c->stop_at_argument)
                take_rest(&p);
            else
                ret->args[ret->n_args++] = argv[p.at++];
            continue;
        }
        p.at++;
        if (strcmp(word, "--") == 0)
            take_rest(&p);
        else
            r = word[1] == '-'         ? parse_long(&p, word + 2)
                : is_name(c, word + 1) ? parse_long(&p, word + 1)
                                       : parse_letters(&p, word + 1);
    }
    if (r == 0 && !ret->help)
        r = check_count(&p);
    if (r < 0) {
        free(ret->args);
        *ret = (struct parsed){0};
    }
    return r;
}

void options_done(const struct command *c, void *values)
{
    for (size_t s = 0; s < COMMAND_MAX_SETS; s++)
        for (size_t i = 0; i < c->sets[s].n; i++) {
            const struct cli_option *o = &c->sets[s].options[i];
            void *place = (char *)values + o->offset;
            if (o->type == OPTION_STRING) {
                xreplace(place, NULL);
            } else if (o->type == OPTION_LIST || o->type == OPTION_KEY_VALUE) {
                strv_free(*(char ***)place);
                *(char ***)place = NULL;
            }
        }
}
