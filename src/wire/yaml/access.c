/* What readers of a tree ask, and the messages when it is not as they want it. */
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "wire/yaml/yaml.h"

int yaml_wrong(const struct yaml *y, struct error *err, const char *fmt, ...)
{
    char message[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    return error_invalid(err, "line %u: %s", y ? y->line : 1, message);
}

bool yaml_is_null(const struct yaml *y)
{
    return y->type == YAML_SCALAR && y->plain &&
           (!*y->text || strcmp(y->text, "~") == 0 || strcmp(y->text, "null") == 0);
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i], key) == 0)
            return yaml_is_null(map->list[i]) ? NULL : map->list[i];
    return NULL;
}

static json_t *scalar_to_json(const struct yaml *y)
{
    uint64_t number;
    if (yaml_is_null(y))
        return json_null();
    if (y->plain && (strcmp(y->text, "true") == 0 || strcmp(y->text, "false") == 0))
        return json_boolean(*y->text == 't');
    if (y->plain && parse_u64(y->text, INT64_MAX, &number) == 0)
        return json_integer((json_int_t)number);
    json_t *text = json_string(y->text);
    return text ? text : json_string("");
}

json_t *yaml_to_json(const struct yaml *y)
{
    if (y->type == YAML_SCALAR)
        return scalar_to_json(y);
    json_t *o = y->type == YAML_MAPPING ? json_object() : json_array();
    for (size_t i = 0; i < y->n; i++) {
        if (y->type == YAML_MAPPING)
            json_object_set_new(o, y->keys[i], yaml_to_json(y->list[i]));
        else
            json_array_append_new(o, yaml_to_json(y->list[i]));
    }
    return o;
}

int yaml_want(const struct yaml *y, enum yaml_type type, const char *what, struct error *err)
{
    static const char *const names[] = {"a word", "a list", "a mapping"};
    if (y->type == type)
        return 0;
    return yaml_wrong(y, err, "%s must be %s", what, names[type]);
}

int yaml_only(const struct yaml *map, const char *const *keys, const char *where, struct error *err)
{
    int r = yaml_want(map, YAML_MAPPING, where, err);
    for (size_t i = 0; r == 0 && i < map->n; i++) {
        size_t k = 0;
        while (keys[k] && strcmp(keys[k], map->keys[i]) != 0)
            k++;
        if (!keys[k])
            return yaml_wrong(map->list[i], err, "%s has no member \"%.64s\"", where, map->keys[i]);
    }
    return r;
}

int yaml_get_of(const struct yaml *map, const char *key, enum yaml_type type,
                const struct yaml **ret, struct error *err)
{
    const struct yaml *y = yaml_get(map, key);
    int r = y ? yaml_want(y, type, key, err) : 0;
    if (r == 0)
        *ret = y;
    return r;
}

int yaml_get_string(const struct yaml *map, const char *key, const char **ret, struct error *err)
{
    const struct yaml *y;
    int r = yaml_get_of(map, key, YAML_SCALAR, &y, err);
    if (r == 0 && y)
        *ret = y->text;
    return r;
}

int yaml_get_u32(const struct yaml *map, const char *key, uint32_t max, uint32_t *ret,
                 struct error *err)
{
    const struct yaml *y;
    uint64_t value;
    int r = yaml_get_of(map, key, YAML_SCALAR, &y, err);
    if (r < 0 || !y)
        return r;
    if (!y->plain || parse_u64(y->text, max, &value) < 0)
        return yaml_wrong(y, err, "%s must be a number, at most %u", key, max);
    *ret = (uint32_t)value;
    return 0;
}

int yaml_get_bool(const struct yaml *map, const char *key, bool *ret, struct error *err)
{
    const struct yaml *y;
    int r = yaml_get_of(map, key, YAML_SCALAR, &y, err);
    if (r < 0 || !y)
        return r;
    if (!y->plain || (strcmp(y->text, "true") != 0 && strcmp(y->text, "false") != 0))
        return yaml_wrong(y, err, "%s must be true or false", key);
    *ret = *y->text == 't';
    return 0;
}
