/* libarchive, reduced to reading tar out of a layer_stream, with errors in our idiom. */
#include <string.h>

#include "wire/layer/layer-internal.h"

static int read_recorded(struct layer_tar *t, uint64_t settled, const void **ret, size_t *ret_len,
                         struct error *err)
{
    if (!t->split)
        return layer_stream_next(t->stream, ret, ret_len, err);
    int r = split_settle(t->split, settled, err);
    if (r == 0)
        r = layer_stream_next(t->stream, ret, ret_len, err);
    if (r == 0)
        split_bytes(t->split, *ret, *ret_len);
    return r;
}

uint64_t layer_tar_position(const struct layer_tar *t)
{
    return (uint64_t)archive_filter_bytes(t->archive, 0);
}

static la_ssize_t read_stream(struct archive *a, void *context, const void **buffer)
{
    struct layer_tar *t = context;
    size_t len = 0;
    /* The position is what libarchive is done with, as opposed to what it has read ahead. */
    int r = read_recorded(t, layer_tar_position(t), buffer, &len, &t->error);
    if (r < 0) {
        archive_set_error(a, EIO, "%s", t->error.msg);
        return -1;
    }
    return (la_ssize_t)len;
}

static int tar_failed(struct layer_tar *t, struct error *err)
{
    const char *why = archive_error_string(t->archive);
    if (t->error.code) {
        *err = t->error;
        return -err->code;
    }
    if (why && strcmp(why, "Unrecognized archive format") == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "this is no tar archive");
    if (why && strstr(why, "runcated"))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is truncated");
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the archive is damaged%s%s", why ? ": " : "",
                     why ? why : "");
}

int layer_tar_open(struct layer_tar *t, const struct layer_source *source,
                   struct split_recorder *split, struct error *err)
{
    *t = (struct layer_tar){.split = split};
    int r = layer_stream_open(source, &t->stream, err);
    if (r < 0)
        return r;
    t->archive = archive_read_new();
    if (!t->archive || archive_read_support_format_tar(t->archive) != ARCHIVE_OK)
        return error_errno(err, ENOMEM, "read an archive");
    if (archive_read_open(t->archive, t, NULL, read_stream, NULL) != ARCHIVE_OK)
        return tar_failed(t, err);
    return 0;
}

void layer_tar_close(struct layer_tar *t)
{
    archive_read_free(t->archive);
    layer_stream_close(t->stream);
    t->archive = NULL;
    t->stream = NULL;
}

int layer_tar_next(struct layer_tar *t, struct archive_entry **ret, struct error *err)
{
    switch (archive_read_next_header(t->archive, ret)) {
    case ARCHIVE_OK:
    case ARCHIVE_WARN: /* a name that is not UTF-8 and is taken as bytes */
        return 1;
    case ARCHIVE_EOF:
        return 0;
    default:
        return tar_failed(t, err);
    }
}

int layer_tar_data(struct layer_tar *t, const void **data, size_t *len, uint64_t *offset,
                   struct error *err)
{
    la_int64_t at = 0;
    switch (archive_read_data_block(t->archive, data, len, &at)) {
    case ARCHIVE_OK:
        if (at < 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "a file's contents begin before it");
        *offset = (uint64_t)at;
        return 1;
    case ARCHIVE_EOF:
        return 0;
    default:
        return tar_failed(t, err);
    }
}

int layer_tar_finish(struct layer_tar *t, struct layer_digests *ret, struct error *err)
{
    const void *data;
    size_t len = 1;
    while (len > 0) {
        int r = read_recorded(t, UINT64_MAX, &data, &len, err);
        if (r < 0)
            return r;
    }
    return layer_stream_digests(t->stream, ret, err);
}
