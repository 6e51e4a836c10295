/* A .dockerignore, and after a NUL the path that is looked up in it; the first line as a pattern of
 * COPY, too. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/containerfile/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match_one(const char *text, const char *path)
{
    struct pattern *p = NULL;
    for (int deep = 0; deep < 2; deep++) {
        if (pattern_compile(text, deep, &p, NULL) < 0)
            continue;
        (void)pattern_matches(p, path);
        pattern_free(p);
    }
}

static void match_all(const char *text, size_t len, const char *path)
{
    struct ignore i;
    if (ignore_parse(text, len, "F", &i, NULL) < 0)
        return;
    bool *own = calloc(i.n + 1, sizeof(*own)), *parent = calloc(i.n + 1, sizeof(*parent));
    if (own && parent) {
        (void)ignore_excludes(&i, path, NULL, parent);
        (void)ignore_excludes(&i, path, parent, own);
    }
    free(own);
    free(parent);
    ignore_done(&i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(size + 2, 1);
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    size_t len = strlen(text);
    const char *path = len < size ? text + len + 1 : "a/b";
    match_one(text, path);
    match_all(text, len, path);
    free(text);
    return 0;
}
