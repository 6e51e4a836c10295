#include "wire/qga/qga.h"

#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "wire/qga/text.h"

/* In the guest's line; what it holds is said without the guest's words. */
static int corrupt(struct error *err, const char *what)
{
    return error_set(err, ERROR_CORRUPT, EPROTO, "the guest agent's answer has %s", what);
}

int qga_line(const char *data, size_t len, const char **ret_line, size_t *ret_len,
             bool *ret_delimited, size_t *ret_used, struct error *err)
{
    const char *end = len ? memchr(data, '\n', MIN(len, QGA_LINE_MAX + 1)) : NULL;
    *ret_used = 0;
    if (!end)
        return len > QGA_LINE_MAX
                   ? error_set(err, ERROR_LIMIT, EFBIG, "the guest agent sent an endless line")
                   : 0;
    const char *cut = memrchr(data, 0xff, (size_t)(end - data));
    *ret_line = cut ? cut + 1 : data;
    *ret_len = (size_t)(end - *ret_line);
    *ret_delimited = cut != NULL;
    *ret_used = (size_t)(end - data) + 1;
    return 0;
}

void qga_answer_done(struct qga_answer *a)
{
    json_decref(a->document);
    *a = (struct qga_answer){0};
}

int qga_parse(const char *line, size_t len, struct qga_answer *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    struct error ignored = ERROR_INIT;
    if (json_parse(line, len, "the guest agent's answer", &o, &ignored) < 0 || !json_is_object(o))
        return error_set(err, ERROR_CORRUPT, EPROTO, "the guest agent's answer is no JSON object");
    struct qga_answer a = {.value = json_object_get(o, "return")};
    if (!a.value) {
        json_t *error = json_object_get(o, "error");
        const char *desc = json_string_value(json_object_get(error, "desc"));
        if (!json_is_object(error) || !desc)
            return corrupt(err, "neither a result nor an error");
        qga_text(a.error, sizeof(a.error), desc);
    }
    a.document = TAKE_PTR(o);
    *ret = a;
    return 0;
}

int qga_get_number(const struct qga_answer *a, int64_t *ret, struct error *err)
{
    if (!json_is_integer(a->value))
        return corrupt(err, "no number");
    *ret = json_integer_value(a->value);
    return 0;
}

int qga_get_pid(const struct qga_answer *a, int64_t *ret, struct error *err)
{
    json_t *pid = json_object_get(a->value, "pid");
    if (!json_is_integer(pid) || json_integer_value(pid) <= 0)
        return corrupt(err, "no process");
    *ret = json_integer_value(pid);
    return 0;
}

int qga_get_count(const struct qga_answer *a, size_t max, size_t *ret, struct error *err)
{
    json_t *count = json_object_get(a->value, "count");
    json_int_t n = json_integer_value(count);
    if (!json_is_integer(count) || n < 0 || (uint64_t)n > max)
        return corrupt(err, "a count that was not asked for");
    *ret = (size_t)n;
    return 0;
}

/* The string that is a member of an answer, decoded; absent: nothing. */
static int get_bytes(const json_t *o, const char *key, size_t max, char **ret, size_t *ret_len,
                     struct error *err)
{
    json_t *text = json_object_get(o, key);
    if (!text)
        return 0;
    if (!json_is_string(text) || json_string_length(text) > max / 3 * 4 + 8)
        return corrupt(err, "more data than was asked for");
    if (base64_decode(json_string_value(text), ret, ret_len) < 0)
        return corrupt(err, "data that is not base64");
    if (*ret_len > max) {
        free(TAKE_PTR(*ret));
        return corrupt(err, "more data than was asked for");
    }
    return 0;
}

int qga_get_data(const struct qga_answer *a, size_t max, struct qga_data *ret, struct error *err)
{
    struct qga_data d = {.eof = json_is_true(json_object_get(a->value, "eof"))};
    if (!json_is_object(a->value))
        return corrupt(err, "no data");
    int r = get_bytes(a->value, "buf-b64", max, &d.bytes, &d.len, err);
    if (r == 0)
        *ret = d;
    return r;
}

void qga_status_done(struct qga_status *s)
{
    free(s->output);
    free(s->errors);
    *s = (struct qga_status){0};
}

static int exit_code(const json_t *o, int *ret, struct error *err)
{
    json_t *code = json_object_get(o, "exitcode"), *signum = json_object_get(o, "signal");
    json_int_t n = json_integer_value(code ? code : signum);
    if ((code && !json_is_integer(code)) || (signum && !json_is_integer(signum)) || n < 0)
        return corrupt(err, "no exit status");
    /* What Windows ends with has 32 bits; a shell shows the last eight. */
    *ret = code ? (int)(n & 0xff) : 128 + (int)(n & 0x7f);
    return 0;
}

int qga_get_status(const struct qga_answer *a, struct qga_status *ret, struct error *err)
{
    _cleanup_(qga_status_done) struct qga_status s = {0};
    json_t *exited = json_object_get(a->value, "exited");
    if (!json_is_boolean(exited))
        return corrupt(err, "no status of a process");
    s.exited = json_is_true(exited);
    s.truncated = json_is_true(json_object_get(a->value, "out-truncated"));
    int r = s.exited ? exit_code(a->value, &s.code, err) : 0;
    if (r == 0)
        r = get_bytes(a->value, "out-data", QGA_TEXT_MAX, &s.output, &s.output_len, err);
    if (r == 0)
        r = get_bytes(a->value, "err-data", QGA_TEXT_MAX, &s.errors, &s.errors_len, err);
    if (r < 0)
        return r;
    *ret = s;
    s = (struct qga_status){0};
    return 0;
}
