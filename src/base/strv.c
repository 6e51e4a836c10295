#include "base/strv.h"

#include <stdarg.h>

#include "base/alloc.h"

size_t strv_len(char *const *v)
{
    size_t n = 0;
    while (v && v[n])
        n++;
    return n;
}

void strv_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

void strv_take(char ***v, char *s)
{
    size_t n = strv_len(*v);
    *v = xreallocarray(*v, n + 2, sizeof(char *));
    (*v)[n] = s;
    (*v)[n + 1] = NULL;
}

void strv_add(char ***v, const char *s)
{
    strv_take(v, xstrdup(s));
}

void strv_addf(char ***v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    strv_take(v, xvasprintf(fmt, ap));
    va_end(ap);
}

char **strv_copy(char *const *v)
{
    size_t n = strv_len(v);
    char **copy = xcalloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(v[i]);
    return copy;
}

bool strv_has(char *const *v, const char *s)
{
    for (size_t i = 0; v && v[i]; i++)
        if (strcmp(v[i], s) == 0)
            return true;
    return false;
}

char *strv_join(char *const *v, const char *separator)
{
    size_t len = 1, n = strv_len(v);
    for (size_t i = 0; i < n; i++)
        len += strlen(v[i]) + strlen(separator);
    char *joined = xcalloc(len, 1), *end = joined;
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            end = stpcpy(end, separator);
        end = stpcpy(end, v[i]);
    }
    return joined;
}

char **strv_split(const char *s, char separator)
{
    char **v = xcalloc(1, sizeof(char *));
    if (*s == '\0')
        return v;
    for (;;) {
        const char *end = strchrnul(s, separator);
        strv_take(&v, xstrndup(s, (size_t)(end - s)));
        if (*end == '\0')
            return v;
        s = end + 1;
    }
}

static char **env_find(char *const *env, const char *name, size_t name_len)
{
    for (size_t i = 0; env && env[i]; i++)
        if (strncmp(env[i], name, name_len) == 0 && env[i][name_len] == '=')
            return (char **)&env[i];
    return NULL;
}

void env_set(char ***env, const char *name_value)
{
    size_t name_len = (size_t)(strchrnul(name_value, '=') - name_value);
    char **found = env_find(*env, name_value, name_len);
    if (found)
        xreplace(found, name_value);
    else
        strv_add(env, name_value);
}

const char *env_get(char *const *env, const char *name)
{
    char **found = env_find(env, name, strlen(name));
    return found ? *found + strlen(name) + 1 : NULL;
}
