/* The functions that a template can call, and what counts as true. */
#include <string.h>

#include "base/alloc.h"
#include "front/cli/template-internal.h"
#include "front/cli/template.h"

bool template_truth(const json_t *v)
{
    if (json_is_string(v))
        return json_string_length(v) > 0;
    if (json_is_integer(v))
        return json_integer_value(v) != 0;
    if (json_is_array(v) || json_is_object(v))
        return json_array_size(v) + json_object_size(v) > 0;
    return !json_is_null(v) && !json_is_false(v);
}

static int call_json(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)r;
    (void)n;
    _cleanup_free_ char *text = template_json(args[0], false);
    *ret = json_string(text);
    return 0;
}

static int call_len(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)r;
    (void)n;
    *ret = json_integer((json_int_t)(json_is_string(args[0])
                                         ? json_string_length(args[0])
                                         : json_array_size(args[0]) + json_object_size(args[0])));
    return 0;
}

static int call_index(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    json_t *v = args[0];
    for (size_t i = 1; i < n; i++) {
        if (json_is_array(v) && json_is_integer(args[i]))
            v = json_array_get(v, (size_t)json_integer_value(args[i]));
        else if (json_is_object(v) && json_is_string(args[i]))
            v = json_object_get(v, json_string_value(args[i]));
        else if (!json_is_null(v))
            return template_bad(r, "index of a value that has none such");
        if (!v && json_is_array(args[0]))
            return template_bad(r, "index out of range");
        if (!v)
            v = json_null();
    }
    *ret = json_incref(v);
    return 0;
}

static int call_join(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)n;
    _cleanup_buf_ struct buf text = BUF_INIT((size_t)1 << 20);
    if (!json_is_array(args[0]) || !json_is_string(args[1]))
        return template_bad(r, "join wants a list and a text");
    for (size_t i = 0; i < json_array_size(args[0]); i++) {
        const char *item = json_string_value(json_array_get(args[0], i));
        if ((i > 0 && buf_add_str(&text, json_string_value(args[1])) < 0) ||
            buf_add_str(&text, item ? item : "") < 0)
            return template_bad(r, "text too long");
    }
    *ret = json_string(text.data ? text.data : "");
    return 0;
}

static int change_case(struct render *r, json_t *v, char from, json_t **ret)
{
    if (!json_is_string(v))
        return template_bad(r, "upper and lower want a text");
    _cleanup_free_ char *text = xstrdup(json_string_value(v));
    for (char *s = text; *s; s++)
        if (*s >= from && *s < from + 26)
            *s ^= 'a' ^ 'A';
    *ret = json_string(text);
    return 0;
}

static int call_upper(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)n;
    return change_case(r, args[0], 'a', ret);
}

static int call_lower(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)n;
    return change_case(r, args[0], 'A', ret);
}

static int call_eq(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)r;
    bool equal = false;
    for (size_t i = 1; i < n; i++)
        equal |= json_equal(args[0], args[i]) != 0;
    *ret = json_boolean(equal);
    return 0;
}

static int call_ne(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)r;
    (void)n;
    *ret = json_boolean(!json_equal(args[0], args[1]));
    return 0;
}

static int call_not(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    (void)r;
    (void)n;
    *ret = json_boolean(!template_truth(args[0]));
    return 0;
}

static int call_println(struct render *r, json_t *const *args, size_t n, json_t **ret)
{
    /* Printed here, so that the new line is the template's and not the value's. */
    for (size_t i = 0; i < n; i++) {
        int result = i > 0 ? template_room(r, buf_add_str(r->out, " ")) : 0;
        if (result == 0)
            result = template_print(r, args[i]);
        if (result < 0)
            return result;
    }
    *ret = json_string("");
    return template_room(r, buf_add_str(r->out, "\n"));
}

const struct template_function template_functions[] = {
    {"json", call_json, 1, 1},       {"len", call_len, 1, 1},     {"index", call_index, 1, 8},
    {"join", call_join, 2, 2},       {"upper", call_upper, 1, 1}, {"lower", call_lower, 1, 1},
    {"eq", call_eq, 2, 8},           {"ne", call_ne, 2, 2},       {"not", call_not, 1, 1},
    {"println", call_println, 0, 8}, {NULL, NULL, 0, 0},
};
