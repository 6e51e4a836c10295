/*
 * Variables, quotes and escapes of one word, in one pass over it. Nothing that a variable is worth
 * is looked at again, but for where it is split. The words in "${x:-word}" are expanded in turn,
 * NESTING_MAX deep.
 */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "wire/containerfile/containerfile.h"

#define NESTING_MAX 16u

struct expansion {
    const struct containerfile_scope *scope;
    struct buf out;
    char ***words; /* where words go that are split; NULL: no splitting */
    bool any;      /* the current word is one, even when it is empty */
    bool text;     /* a here-document: quotes are letters */
    unsigned int depth;
    struct error *err;
};

static int put(struct expansion *e, const char *p, size_t len)
{
    e->any = true;
    int r = buf_add(&e->out, p, len);
    return r < 0 ? error_set(e->err, ERROR_LIMIT, EFBIG, "a word is longer than %zu bytes",
                             e->out.max)
                 : 0;
}

static int end_word(struct expansion *e)
{
    if (!e->any)
        return 0;
    if (strv_len(*e->words) >= CONTAINERFILE_MAX_WORDS)
        return error_set(e->err, ERROR_LIMIT, E2BIG, "more than %u words", CONTAINERFILE_MAX_WORDS);
    strv_add(e->words, e->out.data ? e->out.data : "");
    buf_reset(&e->out);
    e->any = false;
    return 0;
}

static int put_value(struct expansion *e, const char *value, bool quoted)
{
    if (!e->words || quoted)
        return put(e, value, strlen(value));
    for (const char *p = value; *p;) {
        size_t blanks = strspn(p, " \t\n"), len = strcspn(p + blanks, " \t\n");
        int r = blanks > 0 ? end_word(e) : 0;
        if (r == 0 && len > 0)
            r = put(e, p + blanks, len);
        if (r < 0)
            return r;
        p += blanks + len;
    }
    return 0;
}

static int expand_until(struct expansion *e, const char **p, char end, bool quoted);

/* The word of ${x:-word}, up to its brace; thrown away unless it is wanted. */
static int expand_alternative(struct expansion *e, const char **p, bool wanted, bool quoted,
                              char **ret)
{
    struct expansion inner = {
        .scope = e->scope, .out = BUF_INIT(e->out.max), .depth = e->depth + 1, .err = e->err};
    if (inner.depth > NESTING_MAX)
        return error_set(e->err, ERROR_LIMIT, E2BIG, "variables nest deeper than %u", NESTING_MAX);
    int r = expand_until(&inner, p, '}', false);
    if (r == 0 && **p != '}')
        r = error_invalid(e->err, "\"${\" without \"}\"");
    if (r == 0)
        (*p)++;
    if (r == 0 && ret)
        *ret = buf_take(&inner.out);
    else if (r == 0 && wanted)
        r = put_value(e, inner.out.data ? inner.out.data : "", quoted);
    buf_done(&inner.out);
    return r;
}

/* After the name in ${...}: the operator and its word. */
static int expand_operator(struct expansion *e, const char **p, const char *name, size_t len,
                           bool quoted)
{
    const char *value = e->scope->lookup(e->scope->context, name, len);
    bool colon = **p == ':';
    *p += colon;
    const char op = **p;
    bool is_set = value && (!colon || *value);
    int r = 0;
    if (!op || !strchr("-+?", op))
        return error_invalid(e->err, "\"${%.*s\" goes on with what is not understood",
                             (int)MIN(len, 60), name);
    (*p)++;
    if (op == '?') {
        _cleanup_free_ char *why = NULL;
        if ((r = expand_alternative(e, p, false, quoted, &why)) < 0)
            return r;
        if (!is_set)
            return error_invalid(e->err, "%.*s: %.200s", (int)MIN(len, 60), name,
                                 why && *why ? why : "it is not set");
        return put_value(e, value, quoted);
    }
    if (op == '-' && is_set && (r = put_value(e, value, quoted)) < 0)
        return r;
    return expand_alternative(e, p, op == '-' ? !is_set : is_set, quoted, NULL);
}

static size_t name_length(const char *p)
{
    size_t n = 0;
    if (*p && strchr("0123456789@*#?-$!", *p)) /* the shell's own, which have no value here */
        return 1;
    while (isalnum((unsigned char)p[n]) || p[n] == '_')
        n++;
    return n;
}

/* At a "$". */
static int expand_variable(struct expansion *e, const char **p, bool quoted)
{
    const char *name = *p + 1;
    bool braces = *name == '{';
    name += braces;
    size_t len = name_length(name);
    if (len == 0 && braces)
        return error_invalid(e->err, "\"${\" without a name");
    if (len == 0) {
        (*p)++;
        return put(e, "$", 1);
    }
    *p = name + len;
    if (braces && **p != '}')
        return expand_operator(e, p, name, len, quoted);
    *p += braces;
    const char *value = e->scope->lookup(e->scope->context, name, len);
    return value ? put_value(e, value, quoted) : 0;
}

/* At an escape character: what follows loses its meaning. In double quotes, and in the text of a
 * here-document, only some characters have one. */
static int expand_escape(struct expansion *e, const char **p, bool quoted)
{
    const char *c = *p;
    const char *special = e->text ? "$" : "\"$";
    *p += c[1] ? 2 : 1;
    if (!c[1])
        return put(e, c, 1);
    if ((quoted || e->text) && !strchr(special, c[1]) && c[1] != e->scope->escape)
        return put(e, c, 2);
    return put(e, c + 1, 1);
}

static int expand_single(struct expansion *e, const char **p)
{
    const char *end = strchr(*p + 1, '\'');
    if (!end)
        return error_invalid(e->err, "a quote (') is not closed");
    int r = put(e, *p + 1, (size_t)(end - *p - 1));
    *p = end + 1;
    return r;
}

static int expand_double(struct expansion *e, const char **p)
{
    (*p)++;
    int r = put(e, "", 0);
    if (r == 0)
        r = expand_until(e, p, '"', true);
    if (r == 0 && **p != '"')
        return error_invalid(e->err, "a quote (\") is not closed");
    *p += r == 0;
    return r;
}

static int expand_until(struct expansion *e, const char **p, char end, bool quoted)
{
    int r = 0;
    while (r == 0 && **p && (**p != end || (end == '\0'))) {
        char c = **p;
        if (c == e->scope->escape) {
            r = expand_escape(e, p, quoted);
        } else if (c == '$') {
            r = expand_variable(e, p, quoted || e->text);
        } else if (!quoted && !e->text && c == '\'') {
            r = expand_single(e, p);
        } else if (!quoted && !e->text && c == '"') {
            r = expand_double(e, p);
        } else if (e->words && !quoted && (c == ' ' || c == '\t')) {
            r = end_word(e);
            (*p)++;
        } else {
            r = put(e, *p, 1);
            (*p)++;
        }
    }
    return r;
}

static int expand_whole(const struct containerfile_scope *scope, const char *word, bool text,
                        size_t max, char **ret, struct error *err)
{
    struct expansion e = {.scope = scope, .out = BUF_INIT(max), .text = text, .err = err};
    const char *p = word;
    int r = expand_until(&e, &p, '\0', false);
    if (r == 0)
        *ret = buf_take(&e.out);
    buf_done(&e.out);
    return r;
}

int containerfile_expand(const struct containerfile_scope *scope, const char *word, char **ret,
                         struct error *err)
{
    return expand_whole(scope, word, false, CONTAINERFILE_MAX_VALUE, ret, err);
}

int containerfile_expand_text(const struct containerfile_scope *scope, const char *text, char **ret,
                              struct error *err)
{
    return expand_whole(scope, text, true, CONTAINERFILE_MAX_BYTES, ret, err);
}

int containerfile_expand_words(const struct containerfile_scope *scope, const char *word,
                               char ***ret, struct error *err)
{
    _cleanup_strv_ char **words = strv_copy(NULL);
    struct expansion e = {
        .scope = scope, .out = BUF_INIT(CONTAINERFILE_MAX_VALUE), .words = &words, .err = err};
    const char *p = word;
    int r = expand_until(&e, &p, '\0', false);
    if (r == 0)
        r = end_word(&e);
    buf_done(&e.out);
    if (r == 0)
        *ret = TAKE_PTR(words);
    return r;
}

/* The length of the well-formed sequence at p (Unicode, table 3-7), or 0. */
static size_t utf8_length(const unsigned char *p, size_t len)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (*p < 0x80)
        return *p ? 1 : 0;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (*p < forms[i].first_low || *p > forms[i].first_high || len < forms[i].len)
            continue;
        if (p[1] < forms[i].second_low || p[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if (p[k] < 0x80 || p[k] > 0xbf)
                return 0;
        return forms[i].len;
    }
    return 0;
}

bool containerfile_text_valid(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, n; i < len; i += n)
        if ((n = utf8_length(p + i, len - i)) == 0)
            return false;
    return true;
}
