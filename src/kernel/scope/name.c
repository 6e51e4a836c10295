/* Names of slices and scopes, and where that puts them. */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "kernel/scope/scope.h"

#define MAX_UNIT 255

void scope_name_done(struct scope_name *n)
{
    free(n->slice);
    free(n->unit);
    *n = (struct scope_name){NULL, NULL};
}

/* What systemd takes for a unit's name without escaping. */
static bool is_unit(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= MAX_UNIT && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@") ==
               len;
}

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), tail = strlen(end);
    return len > tail && strcmp(s + len - tail, end) == 0;
}

int scope_slice_path(const char *slice, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT((size_t)MAX_UNIT * MAX_UNIT);
    if (strcmp(slice, "-.slice") == 0) {
        *ret = xstrdup("");
        return 0;
    }
    size_t len = strlen(slice);
    if (!is_unit(slice) || !ends_with(slice, ".slice") || slice[0] == '-' || strstr(slice, "--") ||
        strstr(slice, "-.slice"))
        return error_invalid(err, "\"%s\" is no name of a slice", slice);
    int r = 0;
    size_t stem = len - strlen(".slice");
    for (size_t i = 1; i <= stem && r == 0; i++)
        if (i == stem || slice[i] == '-')
            r = buf_addf(&path, "/%.*s.slice", (int)i, slice);
    if (r < 0)
        return error_errno(err, r, "slice \"%s\"", slice);
    *ret = buf_take(&path);
    return 0;
}

char *scope_group(const struct scope_name *n)
{
    _cleanup_free_ char *slice = NULL;
    if (scope_slice_path(n->slice, &slice, NULL) < 0)
        return xasprintf("/%s/%s", n->slice, n->unit);
    return xasprintf("%s/%s", slice, n->unit);
}

int scope_name_parse(const char *path, const char *id, bool user, struct scope_name *ret,
                     struct error *err)
{
    const char *by_default = user ? "user.slice" : "system.slice";
    _cleanup_(scope_name_done) struct scope_name n = {NULL, NULL};
    _cleanup_free_ char *slice_path = NULL;
    _cleanup_strv_ char **parts = strv_split(path ? path : "", ':');
    if (!parts[0]) {
        n.slice = xstrdup(by_default);
        n.unit = xasprintf("proa-%s.scope", id);
    } else if (strv_len(parts) == 3 && *parts[2]) {
        n.slice = xstrdup(*parts[0] ? parts[0] : by_default);
        n.unit = *parts[1] ? xasprintf("%s-%s.scope", parts[1], parts[2])
                           : xasprintf("%s.scope", parts[2]);
    } else {
        return error_invalid(
            err,
            "linux.cgroupsPath is to be SLICE:PREFIX:NAME for the systemd manager, "
            "not \"%s\"",
            path);
    }
    int r = scope_slice_path(n.slice, &slice_path, err);
    if (r < 0)
        return r;
    if (!is_unit(n.unit))
        return error_invalid(err, "\"%s\" is no name of a scope", n.unit);
    *ret = n;
    n = (struct scope_name){NULL, NULL};
    return 0;
}
