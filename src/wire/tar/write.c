#include "wire/tar/tar.h"

/* The fields of a ustar header, by offset. */
struct tar_block {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char link[100], magic[8], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct tar_block) == TAR_BLOCK_SIZE, "a header is one block");

/* Octal digits and a NUL. Values that do not fit are written as 0: a pax record has them. */
static void put_octal(char *field, size_t size, uint64_t value)
{
    if (value >> (3 * (size - 1)))
        value = 0;
    field[size - 1] = '\0';
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static bool fits_octal(size_t size, uint64_t value)
{
    return value >> (3 * (size - 1)) == 0;
}

static void put_text(char *field, size_t size, const char *s)
{
    memcpy(field, s, strnlen(s, size));
}

static int add_block(struct buf *out, struct tar_block *b)
{
    unsigned int sum = 0;
    memcpy(b->magic, "ustar\00000", 8);
    memset(b->checksum, ' ', sizeof(b->checksum));
    for (size_t i = 0; i < sizeof(*b); i++)
        sum += ((const unsigned char *)b)[i];
    put_octal(b->checksum, 7, sum);
    return buf_add(out, b, sizeof(*b));
}

static int add_zeros(struct buf *out, size_t n)
{
    static const char zeros[2 * TAR_BLOCK_SIZE];
    return buf_add(out, zeros, n);
}

/* One record "LEN PREFIXKEY=VALUE\n", where LEN counts itself. */
static int pax_add_bytes(struct buf *records, const char *prefix, const char *key,
                         const void *value, size_t value_len)
{
    size_t rest = strlen(prefix) + strlen(key) + value_len + 3, len = rest + 1;
    for (size_t digits = 1, top = 10; len >= top; top *= 10)
        len = rest + ++digits;
    int r = buf_addf(records, "%zu %s%s=", len, prefix, key);
    if (r == 0)
        r = buf_add(records, value, value_len);
    return r < 0 ? r : buf_add(records, "\n", 1);
}

static int pax_add(struct buf *records, const char *key, const char *value)
{
    return pax_add_bytes(records, "", key, value, strlen(value));
}

static int pax_add_number(struct buf *records, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return pax_add(records, key, text);
}

static int pax_add_time(struct buf *records, const struct tar_entry *e)
{
    char text[48];
    /* Before 1970 a fraction counts the other way in decimal notation; such a time loses it. */
    if (e->mtime_ns && e->mtime >= 0)
        snprintf(text, sizeof(text), "%lld.%09u", (long long)e->mtime, e->mtime_ns);
    else
        snprintf(text, sizeof(text), "%lld", (long long)e->mtime);
    return pax_add(records, "mtime", text);
}

static int pax_add_sparse(struct buf *records, const struct tar_entry *e)
{
    int r = pax_add(records, "GNU.sparse.major", "1");
    if (r == 0)
        r = pax_add(records, "GNU.sparse.minor", "0");
    if (r == 0)
        r = pax_add(records, "GNU.sparse.name", e->path);
    return r < 0 ? r : pax_add_number(records, "GNU.sparse.realsize", e->real_size);
}

/* What does not fit in the ustar header of e. */
static int pax_collect(struct buf *records, const struct tar_entry *e)
{
    int r = 0;
    if (e->sparse)
        r = pax_add_sparse(records, e);
    else if (strlen(e->path) > 100)
        r = pax_add(records, "path", e->path);
    if (r == 0 && strlen(e->link) > 100)
        r = pax_add(records, "linkpath", e->link);
    if (r == 0 && !fits_octal(12, e->size))
        r = pax_add_number(records, "size", e->size);
    if (r == 0 && !fits_octal(8, e->uid))
        r = pax_add_number(records, "uid", e->uid);
    if (r == 0 && !fits_octal(8, e->gid))
        r = pax_add_number(records, "gid", e->gid);
    if (r == 0 && (e->mtime_ns || e->mtime < 0 || !fits_octal(12, (uint64_t)e->mtime)))
        r = pax_add_time(records, e);
    for (size_t i = 0; r == 0 && i < e->n_xattrs; i++)
        r = pax_add_bytes(records, "SCHILY.xattr.", e->xattrs[i].name, e->xattrs[i].value,
                          e->xattrs[i].len);
    return r;
}

static int add_pax_header(struct buf *out, const struct buf *records)
{
    struct tar_block b = {.type = 'x'};
    put_text(b.name, sizeof(b.name), "././@PaxHeader");
    put_octal(b.mode, sizeof(b.mode), 0644);
    put_octal(b.uid, sizeof(b.uid), 0);
    put_octal(b.gid, sizeof(b.gid), 0);
    put_octal(b.size, sizeof(b.size), records->len);
    put_octal(b.mtime, sizeof(b.mtime), 0);
    int r = add_block(out, &b);
    if (r == 0)
        r = buf_add(out, records->data, records->len);
    return r < 0 ? r : add_zeros(out, tar_padding(records->len));
}

int tar_write_header(struct buf *out, const struct tar_entry *entry)
{
    static const char types[] = {'0', '1', '2', '3', '4', '5', '6'};
    struct tar_entry e = *entry;
    struct tar_block b = {.type = types[e.type]};
    if (!e.link)
        e.link = "";
    if (strlen(e.path) > TAR_MAX_PATH || strlen(e.link) > TAR_MAX_PATH)
        return -ENAMETOOLONG;
    _cleanup_buf_ struct buf records = BUF_INIT(TAR_MAX_META);
    int r = pax_collect(&records, &e);
    if (r == 0 && records.len > 0)
        r = add_pax_header(out, &records);
    if (r < 0)
        return r;
    put_text(b.name, sizeof(b.name), e.path);
    put_text(b.link, sizeof(b.link), e.link);
    put_octal(b.mode, sizeof(b.mode), e.mode & 07777);
    put_octal(b.uid, sizeof(b.uid), e.uid);
    put_octal(b.gid, sizeof(b.gid), e.gid);
    put_octal(b.size, sizeof(b.size), e.size);
    put_octal(b.mtime, sizeof(b.mtime), e.mtime < 0 ? 0 : (uint64_t)e.mtime);
    put_octal(b.major, sizeof(b.major), e.major);
    put_octal(b.minor, sizeof(b.minor), e.minor);
    return add_block(out, &b);
}

int tar_write_end(struct buf *out)
{
    return add_zeros(out, (size_t)2 * TAR_BLOCK_SIZE);
}
