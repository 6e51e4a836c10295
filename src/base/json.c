#include "base/json.h"

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"

int json_parse(const char *text, size_t len, const char *what, json_t **ret, struct error *err)
{
    json_error_t je;
    if (len > JSON_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: larger than %zu bytes", what,
                         JSON_MAX_BYTES);
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!o)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: not valid JSON (line %d: %s)", what,
                         je.line, je.text);
    *ret = o;
    return 0;
}

int json_parse_file(int dirfd, const char *path, json_t **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(dirfd, path, JSON_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    return json_parse(text, strlen(text), path, ret, err);
}

static int wrong_type(struct error *err, const char *where, const char *key, const char *wanted)
{
    return error_invalid(err, "%s: \"%s\" must be %s", where, key, wanted);
}

/* The member, or NULL when absent or null. */
static json_t *member(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

int json_get_string(const json_t *o, const char *where, const char *key, const char **ret,
                    struct error *err)
{
    json_t *v = member(o, key);
    if (!v)
        return 0;
    if (!json_is_string(v))
        return wrong_type(err, where, key, "a string");
    *ret = json_string_value(v);
    return 0;
}

int json_get_bool(const json_t *o, const char *where, const char *key, bool *ret, struct error *err)
{
    json_t *v = member(o, key);
    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return wrong_type(err, where, key, "true or false");
    *ret = json_is_true(v);
    return 0;
}

int json_get_i64(const json_t *o, const char *where, const char *key, int64_t *ret,
                 struct error *err)
{
    json_t *v = member(o, key);
    if (!v)
        return 0;
    if (!json_is_integer(v))
        return wrong_type(err, where, key, "an integer");
    *ret = json_integer_value(v);
    return 0;
}

int json_get_u32(const json_t *o, const char *where, const char *key, uint32_t *ret,
                 struct error *err)
{
    int64_t value = -1;
    int r = json_get_i64(o, where, key, &value, err);
    if (r < 0 || !member(o, key))
        return r;
    if (value < 0 || value > UINT32_MAX)
        return wrong_type(err, where, key, "an integer from 0 to 4294967295");
    *ret = (uint32_t)value;
    return 0;
}

int json_get_object(const json_t *o, const char *where, const char *key, json_t **ret,
                    struct error *err)
{
    json_t *v = member(o, key);
    if (v && !json_is_object(v))
        return wrong_type(err, where, key, "an object");
    *ret = v;
    return 0;
}

int json_get_array(const json_t *o, const char *where, const char *key, json_t **ret,
                   struct error *err)
{
    json_t *v = member(o, key);
    if (v && !json_is_array(v))
        return wrong_type(err, where, key, "an array");
    *ret = v;
    return 0;
}

int json_get_strv(const json_t *o, const char *where, const char *key, char ***ret,
                  struct error *err)
{
    json_t *array, *item;
    size_t i;
    int r = json_get_array(o, where, key, &array, err);
    if (r < 0)
        return r;
    *ret = NULL;
    if (!array)
        return 0;
    size_t n = json_array_size(array);
    _cleanup_strv_ char **v = xcalloc(n + 1, sizeof(char *));
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item))
            return wrong_type(err, where, key, "an array of strings");
        v[i] = xstrdup(json_string_value(item));
    }
    *ret = TAKE_PTR(v);
    return 0;
}

json_t *json_from_strv(char *const *v)
{
    json_t *array = json_array();
    for (size_t i = 0; v && v[i]; i++)
        json_array_append_new(array, json_string(v[i]));
    return array;
}

char *json_to_text(const json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? text : xstrdup("null");
}
