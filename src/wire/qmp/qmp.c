#include "wire/qmp/qmp.h"

#include <string.h>

#include "base/json.h"

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static int parse_event(json_t *o, const char *name, struct qmp_message *m, struct error *err)
{
    json_t *data = NULL;
    int r = json_get_object(o, "qmp", "data", &data, err);
    const char *reason = json_string_value(json_object_get(data, "reason"));
    const char *status = json_string_value(json_object_get(data, "status"));
    const char *device = json_string_value(json_object_get(data, "device"));
    const char *action = json_string_value(json_object_get(data, "action"));
    m->type = QMP_EVENT;
    copy_text(m->name, sizeof(m->name), name);
    copy_text(m->text, sizeof(m->text), reason ? reason : status ? status : device);
    m->stops = action && strcmp(action, "stop") == 0;
    m->no_room = json_is_true(json_object_get(data, "nospace"));
    return r;
}

static uint64_t actual_of(const json_t *answer)
{
    json_int_t n = json_integer_value(json_object_get(answer, "actual"));
    return n > 0 ? (uint64_t)n : 0;
}

int qmp_parse(const char *line, size_t len, struct qmp_message *ret, struct error *err)
{
    struct qmp_message m = {0};
    _cleanup_json_ json_t *o = NULL;
    json_t *error = NULL;
    const char *event = NULL, *desc = NULL;
    if (len > QMP_LINE_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "QEMU sent a line that is too long");
    int r = json_parse(line, len, "QEMU's answer", &o, err);
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return error_set(err, ERROR_CORRUPT, EPROTO, "QEMU's answer is no object");
    r = json_get_string(o, "qmp", "event", &event, err);
    if (r == 0)
        r = json_get_object(o, "qmp", "error", &error, err);
    if (r < 0)
        return r;
    if (event) {
        r = parse_event(o, event, &m, err);
    } else if (error) {
        m.type = QMP_ERROR;
        r = json_get_string(error, "qmp", "desc", &desc, err);
        copy_text(m.text, sizeof(m.text), desc);
    } else if (json_object_get(o, "return")) {
        m.type = QMP_RETURN;
        m.actual = actual_of(json_object_get(o, "return"));
    } else if (json_object_get(o, "QMP")) {
        m.type = QMP_GREETING;
    } else {
        r = error_set(err, ERROR_CORRUPT, EPROTO, "QEMU's answer is of no known kind");
    }
    if (r == 0)
        *ret = m;
    return r;
}

int qmp_command_add(struct buf *out, const char *command)
{
    return buf_addf(out, "{\"execute\":\"%s\"}\r\n", command);
}

int qmp_command_add_arguments(struct buf *out, const char *command, const char *arguments)
{
    return buf_addf(out, "{\"execute\":\"%s\",\"arguments\":%s}\r\n", command, arguments);
}
