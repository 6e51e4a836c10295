/* A whole parcel; what the sink is told has to be what the header promises. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wire/parcel/parcel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t left;
};

struct seen {
    bool head, open;
    uint64_t bytes, next, syncs;
};

static void need(bool it)
{
    if (!it)
        abort();
}

static int get(void *source, void *data, size_t len, struct error *err)
{
    struct input *in = source;
    if (in->left < len)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "cut off");
    memcpy(data, in->data, len);
    in->data += len;
    in->left -= len;
    return 0;
}

static int on_head(void *context, const char *text, size_t len, struct error *err)
{
    struct seen *s = context;
    (void)err;
    need(!s->head && strnlen(text, len) <= len && text[len] == '\0');
    s->head = true;
    return 0;
}

static int on_file(void *context, const char *name, uint64_t bytes, struct error *err)
{
    struct seen *s = context;
    (void)err;
    need(s->head && !s->open && bytes <= PARCEL_FILE_MAX);
    need(*name && strlen(name) <= PARCEL_NAME_MAX && !strchr(name, '/') && *name != '.');
    *s = (struct seen){true, true, bytes, 0, s->syncs};
    return 0;
}

static int on_data(void *context, uint64_t at, const void *data, size_t len, struct error *err)
{
    struct seen *s = context;
    (void)err;
    (void)data;
    need(s->open && at >= s->next && at <= s->bytes && len > 0 && len <= s->bytes - at);
    s->next = at + len;
    return 0;
}

static int on_file_end(void *context, struct error *err)
{
    struct seen *s = context;
    (void)err;
    need(s->open);
    s->open = false;
    return 0;
}

static int on_sync(void *context, uint64_t number, struct error *err)
{
    struct seen *s = context;
    (void)err;
    need(!s->open && number == ++s->syncs);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct parcel_sink sink = {on_head, on_file, on_data, on_file_end, on_sync};
    struct input in = {data, size};
    struct seen seen = {0};
    struct error err = ERROR_INIT;
    if (parcel_read(get, &in, &sink, &seen, &err) == 0)
        need(seen.head && !seen.open);
    return 0;
}
