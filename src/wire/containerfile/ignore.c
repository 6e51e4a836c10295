/* .dockerignore and .containerignore. */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "wire/containerfile/pattern.h"

void ignore_done(struct ignore *i)
{
    for (size_t k = 0; k < i->n; k++)
        pattern_free(i->patterns[k]);
    free(i->patterns);
    free(i->negated);
    memset(i, 0, sizeof(*i));
}

static char *trimmed(const char *p, size_t len)
{
    while (len > 0 && isspace((unsigned char)*p))
        p++, len--;
    while (len > 0 && isspace((unsigned char)p[len - 1]))
        len--;
    return xstrndup(p, len);
}

static int add_line(struct ignore *i, const char *line, size_t len, struct error *err)
{
    _cleanup_free_ char *text = trimmed(line, len);
    bool negated = *text == '!';
    if (*line == '#' || !*text)
        return 0;
    _cleanup_free_ char *rest = trimmed(text + negated, strlen(text + negated));
    _cleanup_free_ char *path = path_normalize(rest);
    if (strcmp(path, "/") == 0) /* "/" and "." name the whole, which cannot be left out */
        return 0;
    if (i->n == PATTERN_MAX_IGNORE)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u patterns", PATTERN_MAX_IGNORE);
    i->patterns = xreallocarray(i->patterns, i->n + 1, sizeof(*i->patterns));
    i->negated = xreallocarray(i->negated, i->n + 1, sizeof(*i->negated));
    int r = pattern_compile(path + 1, true, &i->patterns[i->n], err);
    if (r < 0)
        return r;
    i->negated[i->n++] = negated;
    i->any_negated |= negated;
    return 0;
}

int ignore_parse(const char *text, size_t len, const char *name, struct ignore *ret,
                 struct error *err)
{
    struct ignore i = {.n = 0};
    int r = 0;
    size_t at = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (len > IGNORE_MAX_BYTES)
        r = error_set(err, ERROR_LIMIT, EFBIG, "it is larger than %zu bytes", IGNORE_MAX_BYTES);
    else if (memchr(text, '\0', len))
        r = error_invalid(err, "it is no text");
    for (unsigned int line = 1; r == 0 && at < len; line++) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        r = add_line(&i, text + at, n, err);
        at += n + 1;
        if (r < 0)
            (void)error_prefix(err, "line %u", line);
    }
    if (r < 0) {
        ignore_done(&i);
        return error_prefix(err, "%s", name);
    }
    *ret = i;
    return 0;
}

bool ignore_excludes(const struct ignore *i, const char *path, const bool *parent, bool *own)
{
    bool excluded = false;
    for (size_t k = 0; k < i->n; k++) {
        own[k] = (parent && parent[k]) || pattern_matches(i->patterns[k], path);
        if (own[k])
            excluded = !i->negated[k];
    }
    return excluded;
}
