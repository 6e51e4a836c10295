#include "wire/disk/disk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/disk/format.h"

#define WHERE "disk configuration"

void disk_index_done(struct disk_index *i)
{
    free(i->architecture);
    free(i->chunks);
    memset(i, 0, sizeof(*i));
}

uint64_t disk_chunk_length(uint64_t virtual_bytes, uint32_t position)
{
    uint64_t start = position * DISK_CHUNK_BYTES;
    return start < virtual_bytes ? MIN(DISK_CHUNK_BYTES, virtual_bytes - start) : 0;
}

/* Positions as runs [start, count], because most chunks follow each other. */
static json_t *runs_of(const struct disk_index *index)
{
    json_t *runs = json_array();
    for (size_t i = 0, n; i < index->n_chunks; i += n) {
        const struct disk_chunk *c = &index->chunks[i];
        for (n = 1; i + n < index->n_chunks && c[n].position == c->position + n; n++)
            ;
        json_array_append_new(runs, json_pack("[I,I]", (json_int_t)c->position, (json_int_t)n));
    }
    return runs;
}

char *disk_index_text(const struct disk_index *index)
{
    _cleanup_json_ json_t *o = json_object();
    json_t *digests = json_array();
    for (size_t i = 0; i < index->n_chunks; i++)
        json_array_append_new(digests, json_string(index->chunks[i].hex));
    json_object_set_new(o, "mediaType", json_string(DISK_CONFIG_TYPE));
    json_object_set_new(o, "architecture", json_string(index->architecture));
    json_object_set_new(o, "virtualBytes", json_integer((json_int_t)index->virtual_bytes));
    json_object_set_new(o, "chunkBytes", json_integer(DISK_CHUNK_BYTES));
    json_object_set_new(o, "runs", runs_of(index));
    json_object_set_new(o, "sha256", digests);
    return json_to_text(o);
}

static int wrong(struct error *err, const char *what)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, WHERE ": %s", what);
}

/* The positions that the runs name, in rising order, as many as there are digests. */
static int take_runs(const json_t *runs, struct disk_index *index, struct error *err)
{
    uint64_t all = (index->virtual_bytes + DISK_CHUNK_BYTES - 1) / DISK_CHUNK_BYTES, next = 0;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        json_int_t start = json_integer_value(json_array_get(run, 0));
        json_int_t count = json_integer_value(json_array_get(run, 1));
        if (json_array_size(run) != 2 || start < (json_int_t)next || count < 1 ||
            start >= (json_int_t)all || count > (json_int_t)all - start ||
            (uint64_t)count > index->n_chunks - n)
            return wrong(err, "its runs are broken");
        for (json_int_t k = 0; k < count; k++)
            index->chunks[n++].position = (uint32_t)(start + k);
        next = (uint64_t)(start + count);
    }
    return n == index->n_chunks ? 0 : wrong(err, "its runs and digests differ in number");
}

static int take_digests(const json_t *digests, struct disk_index *index, struct error *err)
{
    size_t n = json_array_size(digests);
    if (n > DISK_MAX_CHUNKS)
        return error_set(err, ERROR_LIMIT, EFBIG, "the disk has more than %llu GiB of data",
                         (unsigned long long)(DISK_MAX_CHUNKS * DISK_CHUNK_BYTES >> 30));
    index->chunks = xcalloc(n + 1, sizeof(*index->chunks));
    index->n_chunks = n;
    for (size_t i = 0; i < n; i++) {
        const char *hex = json_string_value(json_array_get(digests, i));
        if (!hex || strlen(hex) != 64 || !is_hex(hex, 64))
            return wrong(err, "a digest is broken");
        memcpy(index->chunks[i].hex, hex, 65);
    }
    return 0;
}

static bool architecture_valid(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    return n > 0 && n <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int take_members(const json_t *o, struct disk_index *index, struct error *err)
{
    const char *architecture = NULL;
    int64_t bytes = 0, chunk_bytes = 0;
    json_t *runs = NULL, *digests = NULL;
    int r;
    if ((r = json_get_string(o, WHERE, "architecture", &architecture, err)) < 0 ||
        (r = json_get_i64(o, WHERE, "virtualBytes", &bytes, err)) < 0 ||
        (r = json_get_i64(o, WHERE, "chunkBytes", &chunk_bytes, err)) < 0 ||
        (r = json_get_array(o, WHERE, "runs", &runs, err)) < 0 ||
        (r = json_get_array(o, WHERE, "sha256", &digests, err)) < 0)
        return r;
    if (!architecture_valid(architecture) || !runs || !digests)
        return wrong(err, "a member is missing");
    if (bytes < 1 || (uint64_t)bytes > DISK_MAX_BYTES)
        return wrong(err, "the size is out of range");
    if (chunk_bytes != DISK_CHUNK_BYTES)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         WHERE ": chunks of %lld bytes are not known", (long long)chunk_bytes);
    index->virtual_bytes = (uint64_t)bytes;
    index->architecture = xstrdup(architecture);
    r = take_digests(digests, index, err);
    return r < 0 ? r : take_runs(runs, index, err);
}

int disk_index_parse(const char *text, size_t len, struct disk_index *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(disk_index_done) struct disk_index index = {0};
    int r = json_parse(text, len, WHERE, &o, err);
    if (r < 0 || (r = take_members(o, &index, err)) < 0)
        return r;
    *ret = index;
    memset(&index, 0, sizeof(index));
    return 0;
}

char *disk_cut_text(const struct disk_index *index)
{
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < index->n_chunks; i++) {
        const struct disk_chunk *c = &index->chunks[i];
        json_t *entry =
            json_pack("[I,I,s]", (json_int_t)c->position, (json_int_t)c->data_bytes, c->hex);
        if (c->packed_bytes > 0) {
            json_array_append_new(entry, json_integer((json_int_t)c->packed_at));
            json_array_append_new(entry, json_integer((json_int_t)c->packed_bytes));
            json_array_append_new(entry, json_string(c->packed_hex));
        }
        json_array_append_new(list, entry);
    }
    json_object_set_new(o, "bytes", json_integer((json_int_t)index->virtual_bytes));
    json_object_set_new(o, "chunks", list);
    return json_to_text(o);
}

static bool take_hex(const json_t *text, char ret[static 65])
{
    const char *hex = json_string_value(text);
    if (!hex || strlen(hex) != 64 || !is_hex(hex, 64))
        return false;
    memcpy(ret, hex, 65);
    return true;
}

static bool take_cut_chunk(const json_t *o, struct disk_chunk *c)
{
    bool packed = json_array_size(o) == 6;
    c->position = (uint32_t)json_integer_value(json_array_get(o, 0));
    c->data_bytes = (uint32_t)json_integer_value(json_array_get(o, 1));
    c->packed_at = (uint64_t)json_integer_value(json_array_get(o, 3));
    c->packed_bytes = (uint32_t)json_integer_value(json_array_get(o, 4));
    return take_hex(json_array_get(o, 2), c->hex) &&
           (!packed || take_hex(json_array_get(o, 5), c->packed_hex));
}

int disk_cut_parse(const json_t *o, struct disk_index *ret, struct error *err)
{
    int64_t bytes = 0;
    json_t *list = NULL;
    int r;
    if ((r = json_get_i64(o, "proa-disk", "bytes", &bytes, err)) < 0 ||
        (r = json_get_array(o, "proa-disk", "chunks", &list, err)) < 0)
        return r;
    struct disk_index index = {.virtual_bytes = (uint64_t)bytes, .n_chunks = json_array_size(list)};
    index.chunks = xcalloc(index.n_chunks + 1, sizeof(*index.chunks));
    for (size_t i = 0; r == 0 && i < index.n_chunks; i++)
        if (!take_cut_chunk(json_array_get(list, i), &index.chunks[i]))
            r = error_set(err, ERROR_SYSTEM, EIO, "proa-disk gives no digest");
    if (r < 0)
        disk_index_done(&index);
    else
        *ret = index;
    return r;
}
