#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "wire/qga/qga.h"

int qga_add(struct buf *out, const char *command, json_t *arguments)
{
    _cleanup_json_ json_t *o = json_pack("{s:s}", "execute", command);
    if (arguments)
        json_object_set_new(o, "arguments", arguments);
    _cleanup_free_ char *text = json_to_text(o);
    return buf_addf(out, "%s\n", text);
}

/* As qga_add; arguments NULL: a text in them is no UTF-8, which JSON cannot carry. */
static int add_with(struct buf *out, const char *command, json_t *arguments)
{
    return arguments ? qga_add(out, command, arguments) : -EILSEQ;
}

int qga_add_sync(struct buf *out, uint64_t number)
{
    json_t *o = json_pack("{s:I}", "id", (json_int_t)(number & INT32_MAX));
    int r = buf_add(out, "\xff", 1);
    return r < 0 ? r : add_with(out, "guest-sync-delimited", o);
}

int qga_add_number(struct buf *out, const char *command, const char *key, int64_t value)
{
    return add_with(out, command, json_pack("{s:I}", key, (json_int_t)value));
}

/* NULL: not UTF-8. */
static json_t *exec_arguments(char *const *argv)
{
    _cleanup_json_ json_t *list = json_array();
    for (char *const *v = argv + 1; *v; v++)
        if (json_array_append_new(list, json_string(*v)) < 0)
            return NULL;
    return json_pack("{s:s, s:O}", "path", argv[0], "arg", list);
}

int qga_add_exec(struct buf *out, char *const *argv, bool capture)
{
    json_t *o = exec_arguments(argv);
    if (o)
        json_object_set_new(o, "capture-output", json_boolean(capture));
    return add_with(out, "guest-exec", o);
}

int qga_add_feed(struct buf *out, char *const *argv, const void *input, size_t len)
{
    _cleanup_free_ char *text = base64_encode(input, len);
    json_t *o = exec_arguments(argv);
    if (o)
        json_object_set_new(o, "input-data", json_string(text));
    return add_with(out, "guest-exec", o);
}

int qga_add_open(struct buf *out, const char *path, const char *mode)
{
    return add_with(out, "guest-file-open", json_pack("{s:s, s:s}", "path", path, "mode", mode));
}

int qga_add_read(struct buf *out, int64_t handle, size_t count)
{
    return add_with(out, "guest-file-read",
                    json_pack("{s:I, s:I}", "handle", (json_int_t)handle, "count",
                              (json_int_t)MIN(count, QGA_DATA_MAX)));
}

int qga_add_write(struct buf *out, int64_t handle, const void *data, size_t len)
{
    _cleanup_free_ char *text = base64_encode(data, len);
    return add_with(out, "guest-file-write",
                    json_pack("{s:I, s:s}", "handle", (json_int_t)handle, "buf-b64", text));
}
