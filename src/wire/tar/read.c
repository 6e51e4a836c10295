/*
 * The reader is a small state machine over 512-byte blocks:
 *
 *   HEADER -> META -> SKIP -> HEADER     a pax header or a GNU long name: collected, then applied
 *   HEADER -> DATA -> SKIP -> HEADER     an entry; contents are passed through, padding is skipped
 *   HEADER -> END                        a block of zeros (two by the book; one is taken as enough)
 *
 * Values from pax records override those of the next header only. Global pax headers (git archive,
 * old tools) are bounded and ignored: no key that matters here may come from one.
 */
#include "wire/tar/tar.h"

#include "base/text.h"

enum { HEADER, META, DATA, SKIP, ENTRY_END, END };

/* Offsets and sizes of the header's fields. */
#define F_NAME   0, 100
#define F_MODE   100, 8
#define F_UID    108, 8
#define F_GID    116, 8
#define F_SIZE   124, 12
#define F_MTIME  136, 12
#define F_SUM    148, 8
#define F_LINK   157, 100
#define F_MAJOR  329, 8
#define F_MINOR  337, 8
#define F_PREFIX 345, 155
#define TYPE_AT  156
#define XATTR    "SCHILY.xattr."
#define MAGIC_AT 257

void tar_reader_init(struct tar_reader *r)
{
    memset(r, 0, sizeof(*r));
    r->state = HEADER;
    r->meta.max = r->attributes.max = TAR_MAX_META;
    r->path.max = r->link.max = TAR_MAX_PATH;
}

void tar_reader_done(struct tar_reader *r)
{
    buf_done(&r->meta);
    buf_done(&r->attributes);
    buf_done(&r->path);
    buf_done(&r->link);
}

static int corrupt(struct error *err, const char *what)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "tar stream: %s", what);
}

/* Octal with leading spaces, or GNU's base 256 (first bit set). Negative values are refused. */
static int field_number(const unsigned char *block, size_t at, size_t size, uint64_t *ret)
{
    const unsigned char *f = block + at;
    uint64_t value = 0;
    size_t i = 0;
    if (f[0] & 0x80) {
        if (f[0] != 0x80)
            return -ERANGE;
        for (i = 1; i < size; i++) {
            if (value >> 56)
                return -ERANGE;
            value = value << 8 | f[i];
        }
        *ret = value;
        return 0;
    }
    while (i < size && f[i] == ' ')
        i++;
    for (; i < size && f[i] >= '0' && f[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(f[i] - '0');
    if (i < size && f[i] != ' ' && f[i] != '\0')
        return -EINVAL;
    *ret = value;
    return 0;
}

static bool checksum_ok(const unsigned char *block)
{
    uint64_t expected;
    unsigned int sum = 0;
    for (size_t i = 0; i < TAR_BLOCK_SIZE; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return field_number(block, F_SUM, &expected) == 0 && sum == expected;
}

static bool is_zero(const unsigned char *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK_SIZE - 1) == 0;
}

static int add_field(struct buf *out, const unsigned char *block, size_t at, size_t size)
{
    const char *f = (const char *)block + at;
    return buf_add(out, f, strnlen(f, size));
}

/* --- pax records --- */

static int set_name(struct buf *target, bool *has, const char *value, size_t len, struct error *err)
{
    if (memchr(value, '\0', len))
        return corrupt(err, "a name holds a NUL byte");
    buf_reset(target);
    int r = buf_add(target, value, len);
    if (r < 0)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "tar stream: a name is too long");
    *has = true;
    return 0;
}

static int set_id(uint32_t *target, bool *has, const char *text)
{
    uint64_t value;
    if (parse_u64(text, UINT32_MAX - 1, &value) < 0)
        return -EINVAL;
    *target = (uint32_t)value;
    *has = true;
    return 0;
}

/* "1700000000.123456789": anything past nanoseconds is dropped. */
static int set_mtime(struct tar_reader *r, const char *text)
{
    char *fraction = strchr(text, '.');
    bool negative = *text == '-';
    uint64_t seconds;
    uint32_t ns = 0, scale = 100000000;
    if (fraction)
        *fraction++ = '\0';
    if (parse_u64(text + negative, INT64_MAX / 2, &seconds) < 0)
        return -EINVAL;
    for (; fraction && *fraction; fraction++, scale /= 10) {
        if (*fraction < '0' || *fraction > '9')
            return -EINVAL;
        ns += (uint32_t)(*fraction - '0') * scale;
    }
    r->mtime = negative ? -(int64_t)seconds : (int64_t)seconds;
    r->mtime_ns = negative ? 0 : ns;
    r->has_mtime = true;
    return 0;
}

/* A whole number of records has room: each is shorter in here than it was in the header. Several
 * headers in front of one entry may have more than that. */
static int add_xattr(struct tar_reader *r, const char *name, const char *value, size_t len,
                     struct error *err)
{
    if (r->n_xattrs == TAR_MAX_XATTRS)
        return 0;
    size_t n = r->n_xattrs, name_at = r->attributes.len;
    if (buf_add(&r->attributes, name, strlen(name) + 1) < 0 ||
        buf_add(&r->attributes, value, len) < 0)
        return error_set(err, ERROR_LIMIT, EFBIG, "tar stream: an entry has too many attributes");
    r->value_at[n] = name_at + strlen(name) + 1;
    r->xattrs[n].len = len;
    r->n_xattrs++;
    return 0;
}

/* The buffer does not move any more. */
static void give_xattrs(struct tar_reader *r, struct tar_entry *e)
{
    size_t name_at = 0;
    for (size_t i = 0; i < r->n_xattrs; i++) {
        r->xattrs[i].name = r->attributes.data + name_at;
        r->xattrs[i].value = r->attributes.data + r->value_at[i];
        name_at = r->value_at[i] + r->xattrs[i].len;
    }
    e->xattrs = r->xattrs;
    e->n_xattrs = r->n_xattrs;
    r->n_xattrs = 0;
}

static int pax_apply(struct tar_reader *r, const char *key, char *value, size_t len,
                     struct error *err)
{
    int result = 0;
    if (strcmp(key, "path") == 0)
        return set_name(&r->path, &r->has_path, value, len, err);
    if (strcmp(key, "linkpath") == 0)
        return set_name(&r->link, &r->has_link, value, len, err);
    if (strncmp(key, XATTR, strlen(XATTR)) == 0 && key[strlen(XATTR)])
        return add_xattr(r, key + strlen(XATTR), value, len, err);
    if (strncmp(key, "GNU.sparse.", 11) == 0)
        r->sparse = true;
    else if (strcmp(key, "size") == 0) {
        result = parse_u64(value, INT64_MAX, &r->size);
        r->has_size = true;
    } else if (strcmp(key, "uid") == 0)
        result = set_id(&r->uid, &r->has_uid, value);
    else if (strcmp(key, "gid") == 0)
        result = set_id(&r->gid, &r->has_gid, value);
    else if (strcmp(key, "mtime") == 0)
        result = set_mtime(r, value);
    return result < 0 ? corrupt(err, "a pax record has a bad value") : 0;
}

static int pax_parse(struct tar_reader *r, struct error *err)
{
    char *p = r->meta.data, *end = p + r->meta.len;
    while (p < end) {
        char *space = memchr(p, ' ', (size_t)(end - p));
        uint64_t len;
        if (!space || space - p > 8)
            return corrupt(err, "a pax record has no length");
        *space = '\0';
        if (parse_u64(p, (uint64_t)(end - p), &len) < 0 || p + len <= space + 1 ||
            p[len - 1] != '\n')
            return corrupt(err, "a pax record has a wrong length");
        char *key = space + 1, *last = p + len - 1;
        char *equals = memchr(key, '=', (size_t)(last - key));
        if (!equals)
            return corrupt(err, "a pax record has no key");
        *equals = *last = '\0';
        int result = pax_apply(r, key, equals + 1, (size_t)(last - equals - 1), err);
        if (result < 0)
            return result;
        p += len;
    }
    return 0;
}

static int meta_complete(struct tar_reader *r, struct error *err)
{
    const char *text = r->meta.data ? r->meta.data : "";
    size_t len = strnlen(text, r->meta.len);
    switch (r->meta_type) {
    case 'x':
        return r->meta.len > 0 ? pax_parse(r, err) : 0;
    case 'L':
        return set_name(&r->path, &r->has_path, text, len, err);
    case 'K':
        return set_name(&r->link, &r->has_link, text, len, err);
    default:
        return 0; /* a global header */
    }
}

/* --- headers --- */

static int entry_type(unsigned char flag, enum tar_type *ret)
{
    switch (flag) {
    case '\0':
    case '0':
    case '7':
        *ret = TAR_FILE;
        return 0;
    case '1' ... '6':
        *ret = (enum tar_type)(TAR_HARDLINK + (flag - '1'));
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

/* Name and link from the header itself, where no pax record has given them. */
static int header_names(struct tar_reader *r)
{
    const unsigned char *b = r->block;
    int result = 0;
    if (!r->has_path) {
        buf_reset(&r->path);
        /* Only POSIX headers have a prefix; GNU's keep times there. */
        if (memcmp(b + MAGIC_AT, "ustar\0", 6) == 0 && b[345]) {
            result = add_field(&r->path, b, F_PREFIX);
            if (result == 0)
                result = buf_add(&r->path, "/", 1);
        }
        if (result == 0)
            result = add_field(&r->path, b, F_NAME);
    }
    if (result == 0 && !r->has_link) {
        buf_reset(&r->link);
        result = add_field(&r->link, b, F_LINK);
    }
    return result;
}

static int header_numbers(struct tar_reader *r, struct tar_entry *e)
{
    const unsigned char *b = r->block;
    uint64_t mode, uid = r->uid, gid = r->gid, size = r->size, mtime = 0, major = 0, minor = 0;
    if (field_number(b, F_MODE, &mode) < 0 || (!r->has_uid && field_number(b, F_UID, &uid) < 0) ||
        (!r->has_gid && field_number(b, F_GID, &gid) < 0) ||
        (!r->has_size && field_number(b, F_SIZE, &size) < 0))
        return -EINVAL;
    if (!r->has_mtime && field_number(b, F_MTIME, &mtime) < 0)
        mtime = 0; /* before 1970 in base 256 */
    if ((e->type == TAR_CHAR || e->type == TAR_BLOCK) &&
        (field_number(b, F_MAJOR, &major) < 0 || field_number(b, F_MINOR, &minor) < 0))
        return -EINVAL;
    if (uid >= UINT32_MAX || gid >= UINT32_MAX || size > INT64_MAX || major > UINT32_MAX ||
        minor > UINT32_MAX)
        return -ERANGE;
    e->mode = (uint32_t)mode & 07777;
    e->uid = (uint32_t)uid;
    e->gid = (uint32_t)gid;
    e->size = e->type == TAR_FILE ? size : 0;
    e->mtime = r->has_mtime ? r->mtime : (int64_t)MIN(mtime, (uint64_t)INT64_MAX / 2);
    e->mtime_ns = r->has_mtime ? r->mtime_ns : 0;
    e->major = (uint32_t)major;
    e->minor = (uint32_t)minor;
    return 0;
}

static void forget_overrides(struct tar_reader *r)
{
    r->has_path = r->has_link = r->has_size = r->has_uid = r->has_gid = r->has_mtime = false;
    r->sparse = false;
}

static int header_entry(struct tar_reader *r, struct tar_event *ev, struct error *err)
{
    struct tar_entry *e = &ev->entry;
    unsigned char flag = r->block[TYPE_AT];
    memset(e, 0, sizeof(*e));
    if (r->sparse || flag == 'S')
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "tar stream: sparse files are not supported");
    if (entry_type(flag, &e->type) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "tar stream: an entry has the unknown type 0x%02x", flag);
    if (header_names(r) < 0 || header_numbers(r, e) < 0)
        return corrupt(err, "a header has a bad field");
    if (r->path.len == 0)
        return corrupt(err, "an entry has no name");
    e->path = r->path.data;
    e->link = r->link.data ? r->link.data : "";
    /* Before 1988's ustar a directory was a file whose name ends with a slash. */
    if (e->type == TAR_FILE && r->path.data[r->path.len - 1] == '/') {
        e->type = TAR_DIRECTORY;
        e->size = 0;
    }
    give_xattrs(r, e);
    forget_overrides(r);
    r->left = e->size;
    r->padding = tar_padding(e->size);
    r->state = r->left > 0 ? DATA : ENTRY_END;
    ev->kind = TAR_EVENT_ENTRY;
    return 0;
}

static int header_meta(struct tar_reader *r, struct error *err)
{
    uint64_t size;
    if (field_number(r->block, F_SIZE, &size) < 0)
        return corrupt(err, "a header has a bad field");
    if (size > TAR_MAX_META)
        return error_set(err, ERROR_LIMIT, EFBIG, "tar stream: an extended header is too large");
    buf_reset(&r->meta);
    if (r->n_xattrs == 0)
        buf_reset(&r->attributes);
    r->meta_type = (char)r->block[TYPE_AT];
    r->left = size;
    r->padding = tar_padding(size);
    r->state = META;
    return 0;
}

/* A whole header block is there. *ret_event tells whether ev was filled. */
static int header_complete(struct tar_reader *r, struct tar_event *ev, bool *ret_event,
                           struct error *err)
{
    r->have = 0;
    if (is_zero(r->block)) {
        r->state = END;
        return 0;
    }
    if (!checksum_ok(r->block))
        return corrupt(err, "a header's checksum is wrong");
    if (memchr("xgLK", r->block[TYPE_AT], 4))
        return header_meta(r, err);
    *ret_event = true;
    return header_entry(r, ev, err);
}

static size_t take(const unsigned char **data, size_t *len, uint64_t at_most)
{
    size_t n = (size_t)MIN((uint64_t)*len, at_most);
    *data += n;
    *len -= n;
    return n;
}

static int collect_meta(struct tar_reader *r, const unsigned char **data, size_t *len,
                        struct error *err)
{
    const unsigned char *from = *data;
    size_t n = take(data, len, r->left);
    if (buf_add(&r->meta, from, n) < 0)
        return error_set(err, ERROR_LIMIT, EFBIG, "tar stream: an extended header is too large");
    r->left -= n;
    if (r->left > 0)
        return 0;
    r->state = SKIP;
    return meta_complete(r, err);
}

static void collect_header(struct tar_reader *r, const unsigned char **data, size_t *len)
{
    const unsigned char *from = *data;
    size_t n = take(data, len, TAR_BLOCK_SIZE - r->have);
    memcpy(r->block + r->have, from, n);
    r->have += n;
}

int tar_reader_next(struct tar_reader *r, const unsigned char **data, size_t *len,
                    struct tar_event *ev, struct error *err)
{
    int result = 0;
    bool event = false;
    ev->data = *data;
    ev->len = 0;
    while (result == 0 && !event) {
        if (r->state == END || r->state == ENTRY_END) {
            ev->kind = r->state == END ? TAR_EVENT_END : TAR_EVENT_ENTRY_END;
            r->state = r->state == END ? END : SKIP;
            return 0;
        }
        if (r->state == SKIP && r->padding == 0)
            r->state = HEADER;
        if (r->state == META && r->left == 0) {
            r->state = SKIP;
            result = meta_complete(r, err);
            continue;
        }
        if (*len == 0) {
            ev->kind = TAR_EVENT_MORE;
            return 0;
        }
        if (r->state == HEADER) {
            collect_header(r, data, len);
            if (r->have == TAR_BLOCK_SIZE)
                result = header_complete(r, ev, &event, err);
        } else if (r->state == META) {
            result = collect_meta(r, data, len, err);
        } else if (r->state == SKIP) {
            r->padding -= take(data, len, r->padding);
        } else {
            ev->data = *data;
            ev->len = take(data, len, r->left);
            ev->kind = TAR_EVENT_DATA;
            r->left -= ev->len;
            if (r->left == 0)
                r->state = ENTRY_END;
            return 0;
        }
    }
    return result;
}

int tar_reader_finish(const struct tar_reader *r, struct error *err)
{
    return r->state == END ? 0 : corrupt(err, "it ends too early");
}
