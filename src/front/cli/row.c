#include "front/cli/row.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/command/safetext.h"

json_t *json_text(const char *text)
{
    json_t *v = json_string(text ? text : "");
    if (v)
        return v;
    _cleanup_free_ char *safe = text_safe(text);
    return json_string(safe);
}

void row_set(json_t *row, const char *field, const char *text)
{
    json_object_set_new(row, field, json_text(text));
}

void row_setf(json_t *row, const char *field, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    row_set(row, field, n < 0 ? "" : text);
    if (n >= 0)
        free(text);
}

void row_set_list(json_t *row, const char *field, char *const *list)
{
    _cleanup_free_ char *text = list ? strv_join(list, ",") : NULL;
    row_set(row, field, text);
}

void row_set_age(json_t *row, const char *age_field, const char *time_field, int64_t ns)
{
    int64_t seconds = (time_now_ns() - ns) / 1000000000;
    char text[64];
    struct tm tm;
    time_t t = (time_t)(ns / 1000000000);
    row_setf(row, age_field, "%s ago", format_age(MAX(seconds, (int64_t)0)).s);
    if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm) > 0)
        row_set(row, time_field, text);
}

json_t *json_labels(char *const *labels)
{
    json_t *o = json_object();
    for (size_t i = 0; labels && labels[i]; i++) {
        _cleanup_free_ char *key = text_safe(labels[i]);
        char *equals = strchr(key, '=');
        if (equals)
            *equals = '\0';
        const char *value = strchr(labels[i], '=');
        json_object_set_new(o, key, json_text(value ? value + 1 : ""));
    }
    return o;
}

json_t *json_texts(char *const *list)
{
    if (!list)
        return json_null();
    json_t *a = json_array();
    for (size_t i = 0; list[i]; i++)
        json_array_append_new(a, json_text(list[i]));
    return a;
}

json_t *json_time(int64_t ns)
{
    return ns == 0 ? json_string("0001-01-01T00:00:00Z") : json_string(time_format(ns).s);
}
