/*
 * From bytes to logical lines. A line that ends in the escape character, blanks behind it or not,
 * is continued by the next one; comments and empty lines in between are left out, and nothing is
 * put in the place of the line's end. Two escape characters are an escaped one, which continues
 * nothing.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "wire/containerfile/containerfile-internal.h"

/* One physical line, without its end. */
static bool next_physical(struct cf_lines *l, const char **ret, size_t *ret_len)
{
    if (l->at >= l->end)
        return false;
    const char *end = memchr(l->at, '\n', (size_t)(l->end - l->at));
    size_t len = end ? (size_t)(end - l->at) : (size_t)(l->end - l->at);
    *ret = l->at;
    l->at += end ? len + 1 : len;
    l->number++;
    *ret_len = len > 0 && (*ret)[len - 1] == '\r' ? len - 1 : len;
    return true;
}

static void trim_left(const char **p, size_t *len)
{
    for (; *len > 0 && (**p == ' ' || **p == '\t'); (*p)++)
        (*len)--;
}

/* Takes the escape at the end of the line off; false when there is none. */
static bool take_continuation(const char *p, size_t *len, char escape)
{
    size_t n = *len;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    if (n == 0 || p[n - 1] != escape || (n > 1 && p[n - 2] == escape))
        return false;
    *len = n - 1;
    return true;
}

int cf_lines_next(struct cf_lines *l, struct buf *line, unsigned int *ret_number, struct error *err)
{
    const char *p;
    size_t len;
    bool begun = false;
    buf_reset(line);
    while (next_physical(l, &p, &len)) {
        const char *text = p;
        size_t rest = len;
        trim_left(&text, &rest);
        if (rest == 0 || *text == '#')
            continue;
        if (!begun)
            *ret_number = l->number;
        bool more = begun ? take_continuation(p, &len, l->escape)
                          : take_continuation(text, &rest, l->escape);
        int r = begun ? buf_add(line, p, len) : buf_add(line, text, rest);
        if (r < 0)
            return error_errno(err, r, "read a line");
        begun = true;
        if (!more)
            break;
    }
    while (line->len > 0 && isspace((unsigned char)line->data[line->len - 1]))
        line->data[--line->len] = '\0';
    return begun;
}

/* "# name=value"; false for anything else. */
static bool read_directive(const char *p, size_t len, char *name, size_t size, const char **value,
                           size_t *value_len)
{
    size_t n = 0;
    trim_left(&p, &len);
    if (len == 0 || *p != '#')
        return false;
    p++, len--;
    trim_left(&p, &len);
    for (; len > 0 && isalnum((unsigned char)*p); p++, len--)
        if (n + 1 < size)
            name[n++] = (char)tolower((unsigned char)*p);
    name[n] = '\0';
    trim_left(&p, &len);
    if (n == 0 || len == 0 || *p != '=')
        return false;
    p++, len--;
    trim_left(&p, &len);
    while (len > 0 && isspace((unsigned char)p[len - 1]))
        len--;
    *value = p;
    *value_len = len;
    return true;
}

int cf_lines_directives(struct cf_lines *l, struct error *err)
{
    static const char *const known[] = {"syntax", "escape", "check"};
    bool seen[ARRAY_SIZE(known)] = {false};
    for (;;) {
        struct cf_lines before = *l;
        char name[16];
        const char *p, *value;
        size_t len, value_len, which = 0;
        bool is = next_physical(l, &p, &len) &&
                  read_directive(p, len, name, sizeof(name), &value, &value_len);
        while (is && which < ARRAY_SIZE(known) && strcmp(name, known[which]) != 0)
            which++;
        if (!is || which == ARRAY_SIZE(known)) {
            *l = before;
            return 0;
        }
        if (seen[which])
            return error_invalid(err, "the directive \"%s\" is given twice", name);
        seen[which] = true;
        if (strcmp(name, "escape") != 0)
            continue;
        if (value_len != 1 || (*value != '\\' && *value != '`'))
            return error_invalid(err, "the directive \"escape\" is a backslash or a backquote");
        l->escape = *value;
    }
}

char *containerfile_doc_text(const struct containerfile_doc *doc)
{
    char *text = xstrdup(doc->text), *out = text;
    bool start = true;
    for (const char *p = doc->text; *p; p++) {
        if (doc->chomp && start && *p == '\t')
            continue;
        start = *p == '\n';
        *out++ = *p;
    }
    *out = '\0';
    return text;
}

static bool ends_doc(const struct containerfile_doc *doc, const char *p, size_t len)
{
    for (; doc->chomp && len > 0 && *p == '\t'; p++)
        len--;
    return len == strlen(doc->name) && memcmp(p, doc->name, len) == 0;
}

int cf_lines_doc(struct cf_lines *l, struct containerfile_doc *doc, struct error *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(CONTAINERFILE_MAX_BYTES);
    const char *p;
    size_t len;
    int r = 0;
    while (next_physical(l, &p, &len)) {
        if (ends_doc(doc, p, len)) {
            doc->text = buf_take(&body);
            return 0;
        }
        if ((r = buf_add(&body, p, len)) < 0 || (r = buf_add(&body, "\n", 1)) < 0)
            return error_errno(err, r, "read a here-document");
    }
    return error_invalid(err, "the here-document \"%.60s\" has no end", doc->name);
}
