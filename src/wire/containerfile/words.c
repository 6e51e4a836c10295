/* Words, pairs, lists and flags. Quotes and escapes are understood here and kept: expand.c takes
 * them away. */
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/containerfile/containerfile-internal.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

const char *cf_skip_blanks(const char *p)
{
    while (is_blank(*p))
        p++;
    return p;
}

const char *cf_word_end(const char *p, char escape)
{
    char quote = 0;
    for (; *p && (quote || !is_blank(*p)); p++) {
        if (*p == escape && quote != '\'' && p[1])
            p++;
        else if (quote && *p == quote)
            quote = 0;
        else if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
    }
    return p;
}

static int too_many(struct error *err)
{
    return error_set(err, ERROR_LIMIT, E2BIG, "more than %u words", CONTAINERFILE_MAX_WORDS);
}

int cf_split(const char *text, char escape, char ***ret, struct error *err)
{
    _cleanup_strv_ char **words = strv_copy(NULL);
    size_t n = 0;
    for (const char *p = cf_skip_blanks(text); *p;) {
        const char *end = cf_word_end(p, escape);
        if (++n > CONTAINERFILE_MAX_WORDS)
            return too_many(err);
        strv_take(&words, xstrndup(p, (size_t)(end - p)));
        p = cf_skip_blanks(end);
    }
    *ret = TAKE_PTR(words);
    return 0;
}

/* "NAME the rest of the line", the form of old. */
static int split_old_pair(const char *text, char escape, const char *what, char ***ret,
                          struct error *err)
{
    const char *end = cf_word_end(text, escape), *value = cf_skip_blanks(end);
    if (!*value)
        return error_invalid(err, "%s wants NAME=VALUE, \"%.60s\" is none", what, text);
    strv_take(ret, xstrndup(text, (size_t)(end - text)));
    strv_add(ret, value);
    return 0;
}

int cf_split_pairs(const char *text, char escape, const char *what, char ***ret, struct error *err)
{
    _cleanup_strv_ char **words = NULL, **pairs = strv_copy(NULL);
    int r = cf_split(text, escape, &words, err);
    if (r < 0)
        return r;
    if (words[0] && !strchr(words[0], '='))
        r = split_old_pair(text, escape, what, &pairs, err);
    for (size_t i = 0; r == 0 && words[i] && strchr(words[0], '='); i++) {
        const char *equals = strchr(words[i], '=');
        if (!equals || equals == words[i])
            return error_invalid(err, "%s wants NAME=VALUE, \"%.60s\" is none", what, words[i]);
        strv_take(&pairs, xstrndup(words[i], (size_t)(equals - words[i])));
        strv_add(&pairs, equals + 1);
    }
    if (r == 0)
        *ret = TAKE_PTR(pairs);
    return r;
}

/* What only looks like a list ("[ -f x ] && y") is the shell form, as Docker has it. */
int cf_parse_list(const char *text, char ***ret, struct error *err)
{
    _cleanup_json_ json_t *list = NULL;
    _cleanup_strv_ char **words = strv_copy(NULL);
    json_t *item;
    size_t i;
    *ret = NULL;
    if (*text != '[' || json_parse(text, strlen(text), "list", &list, NULL) < 0 ||
        !json_is_array(list))
        return 0;
    if (json_array_size(list) > CONTAINERFILE_MAX_WORDS)
        return too_many(err);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return 0;
        strv_add(&words, json_string_value(item));
    }
    *ret = TAKE_PTR(words);
    return 0;
}

static int add_flag(struct containerfile_step *s, const char *p, const char *end,
                    const char *const *allowed, struct error *err)
{
    const char *equals = memchr(p, '=', (size_t)(end - p)), *name_end = equals ? equals : end;
    size_t len = (size_t)(name_end - p), i = 0;
    while (allowed[i] && (strlen(allowed[i]) != len || memcmp(allowed[i], p, len) != 0))
        i++;
    if (!allowed[i])
        return error_invalid(err, "%s has no flag --%.*s", containerfile_kind_name(s->kind),
                             (int)MIN(len, 60), p);
    if (!equals && strcmp(allowed[i], "link") != 0)
        return error_invalid(err, "--%s needs a value (--%s=...)", allowed[i], allowed[i]);
    if (s->n_flags == CONTAINERFILE_MAX_FLAGS)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u flags", CONTAINERFILE_MAX_FLAGS);
    s->flags = xreallocarray(s->flags, s->n_flags + 1, sizeof(*s->flags));
    s->flags[s->n_flags++] = (struct containerfile_flag){
        allowed[i], equals ? xstrndup(equals + 1, (size_t)(end - equals - 1)) : xstrdup("true")};
    return 0;
}

int cf_take_flags(struct containerfile_step *s, const char **text, const char *const *allowed,
                  char escape, struct error *err)
{
    const char *p = cf_skip_blanks(*text);
    while (p[0] == '-' && p[1] == '-') {
        const char *end = cf_word_end(p, escape);
        bool last = end == p + 2;
        int r = last ? 0 : add_flag(s, p + 2, end, allowed, err);
        if (r < 0)
            return r;
        p = cf_skip_blanks(end);
        if (last)
            break;
    }
    *text = p;
    return 0;
}

/* "<<WORD", "<<-WORD", "3<<'WORD'"; false for any other word. */
static bool read_doc(const char *p, const char *end, struct containerfile_doc *ret)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    if (end - p < 3 || p[0] != '<' || p[1] != '<')
        return false;
    p += 2;
    bool chomp = *p == '-';
    p += chomp;
    size_t len = (size_t)(end - p);
    bool quoted = len >= 2 && (*p == '"' || *p == '\'') && p[len - 1] == *p;
    if (quoted) {
        p++;
        len -= 2;
    }
    if (len == 0 || memchr(p, '<', len) || memchr(p, '"', len) || memchr(p, '\'', len))
        return false;
    *ret = (struct containerfile_doc){xstrndup(p, len), NULL, !quoted, chomp};
    return true;
}

int cf_find_docs(struct containerfile_step *s, char escape, struct error *err)
{
    struct containerfile_doc doc;
    for (const char *p = cf_skip_blanks(s->text); *p;) {
        const char *end = cf_word_end(p, escape);
        if (read_doc(p, end, &doc)) {
            s->docs = xreallocarray(s->docs, s->n_docs + 1, sizeof(*s->docs));
            s->docs[s->n_docs++] = doc;
            if (s->n_docs > CONTAINERFILE_MAX_DOCS)
                return error_set(err, ERROR_LIMIT, E2BIG, "more than %u here-documents",
                                 CONTAINERFILE_MAX_DOCS);
        }
        p = cf_skip_blanks(end);
    }
    return 0;
}
