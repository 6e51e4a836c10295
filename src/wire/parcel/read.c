#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/parcel/parcel.h"

struct reader {
    parcel_get *get;
    void *source;
    const struct parcel_sink *sink;
    void *context;
    struct sha256 hash;
    char *payload;
    bool head, open;      /* the head has come; a file is open */
    uint64_t bytes, next; /* of that file: its size, and where its next data may begin */
    uint64_t syncs;
    size_t files;
};

struct frame {
    uint32_t type, len;
    uint64_t value;
};

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "it is no parcel of Proa's, or a damaged one: %s",
                     why);
}

int parcel_name_check(const char *name, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    if (len == 0 || len > PARCEL_NAME_MAX)
        return -EINVAL;
    for (size_t i = 0; i < len; i++)
        if (!name[i] || (!strchr(plain, name[i]) && (i == 0 || !strchr("-_.", name[i]))))
            return -EINVAL;
    return 0;
}

static uint64_t number(const unsigned char *p, size_t bytes)
{
    uint64_t n = 0;
    while (bytes > 0)
        n = n << 8 | p[--bytes];
    return n;
}

static int close_file(struct reader *r, struct error *err)
{
    if (!r->open)
        return 0;
    r->open = false;
    return r->sink->file_end(r->context, err);
}

static int on_head(struct reader *r, const struct frame *f, struct error *err)
{
    if (r->head)
        return corrupt(err, "a second head");
    r->head = true;
    return r->sink->head(r->context, r->payload, f->len, err);
}

static int on_file(struct reader *r, const struct frame *f, struct error *err)
{
    int done = close_file(r, err);
    if (done < 0)
        return done;
    if (parcel_name_check(r->payload, f->len) < 0)
        return corrupt(err, "a file's name");
    if (f->value > PARCEL_FILE_MAX)
        return corrupt(err, "a file of more than 16 TiB");
    if (r->files++ == PARCEL_FILES_MAX)
        return corrupt(err, "too many files");
    r->open = true;
    r->bytes = f->value;
    r->next = 0;
    return r->sink->file(r->context, r->payload, f->value, err);
}

static int on_data(struct reader *r, const struct frame *f, struct error *err)
{
    if (!r->open)
        return corrupt(err, "data of no file");
    if (f->value < r->next || f->value > r->bytes || f->len > r->bytes - f->value)
        return corrupt(err, "data outside its file, or in disorder");
    r->next = f->value + f->len;
    return r->sink->data(r->context, f->value, r->payload, f->len, err);
}

static int on_sync(struct reader *r, const struct frame *f, struct error *err)
{
    int done = close_file(r, err);
    if (done < 0)
        return done;
    if (!r->sink->sync)
        return corrupt(err, "a question in a file");
    if (f->value != r->syncs + 1 || f->value > PARCEL_SYNC_MAX)
        return corrupt(err, "questions in disorder");
    r->syncs = f->value;
    return r->sink->sync(r->context, f->value, err);
}

static const struct {
    size_t min, max; /* of the payload */
    int (*on)(struct reader *r, const struct frame *f, struct error *err);
} types[] = {
    [PARCEL_HEAD] = {2, PARCEL_HEAD_MAX, on_head},   [PARCEL_FILE] = {1, PARCEL_NAME_MAX, on_file},
    [PARCEL_DATA] = {1, PARCEL_DATA_MAX, on_data},   [PARCEL_SYNC] = {0, 0, on_sync},
    [PARCEL_END] = {SHA256_SIZE, SHA256_SIZE, NULL},
};

/* The next frame, its payload with a NUL behind it; hashed, unless it is the end. */
static int next(struct reader *r, struct frame *f, struct error *err)
{
    unsigned char head[PARCEL_FRAME_LEN];
    int n = r->get(r->source, head, sizeof(head), err);
    if (n < 0)
        return n;
    *f = (struct frame){(uint32_t)number(head, 4), (uint32_t)number(head + 4, 4),
                        number(head + 8, 8)};
    if (f->type < PARCEL_HEAD || f->type > PARCEL_END)
        return corrupt(err, "a part of a kind that is not known");
    if (f->len < types[f->type].min || f->len > types[f->type].max)
        return corrupt(err, "a part of a wrong size");
    if (!r->head && f->type != PARCEL_HEAD)
        return corrupt(err, "no head");
    if (f->type != PARCEL_END)
        sha256_add(&r->hash, head, sizeof(head));
    if (f->len > 0 && (n = r->get(r->source, r->payload, f->len, err)) < 0)
        return n;
    r->payload[f->len] = '\0';
    if (f->type != PARCEL_END)
        sha256_add(&r->hash, r->payload, f->len);
    return 0;
}

static int check_end(struct reader *r, struct error *err)
{
    unsigned char digest[SHA256_SIZE];
    sha256_end(&r->hash, digest);
    if (memcmp(digest, r->payload, sizeof(digest)) != 0)
        return corrupt(err, "its digest is another");
    return close_file(r, err);
}

static int read_all(struct reader *r, struct error *err)
{
    char magic[PARCEL_MAGIC_LEN];
    struct frame f;
    int n = r->get(r->source, magic, sizeof(magic), err);
    if (n < 0)
        return n;
    if (memcmp(magic, PARCEL_MAGIC, sizeof(magic)) != 0)
        return corrupt(err, "its first bytes");
    sha256_add(&r->hash, magic, sizeof(magic));
    for (;;) {
        if ((n = next(r, &f, err)) < 0)
            return n;
        if (f.type == PARCEL_END)
            return check_end(r, err);
        if ((n = types[f.type].on(r, &f, err)) < 0)
            return n;
    }
}

int parcel_read(parcel_get *get, void *source, const struct parcel_sink *sink, void *context,
                struct error *err)
{
    struct reader r = {.get = get, .source = source, .sink = sink, .context = context};
    r.payload = malloc(PARCEL_HEAD_MAX + 1);
    if (!r.payload)
        return error_errno(err, ENOMEM, "read a parcel");
    sha256_init(&r.hash);
    int n = read_all(&r, err);
    free(r.payload);
    return n;
}
