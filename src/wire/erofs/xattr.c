/*
 * Extended attributes, kept per inode in the form they have on disk: a header, then entries of
 * name and value, each filled up to a multiple of four bytes.
 */
#include <string.h>

#include "wire/erofs/writer-internal.h"

static const struct {
    uint8_t index;
    const char *prefix;
    bool whole; /* the prefix is the whole name */
} prefixes[] = {
    {1, "user.", false},     {2, "system.posix_acl_access", true},
    {4, "trusted.", false},  {3, "system.posix_acl_default", true},
    {6, "security.", false},
};

static int split_name(const char *name, uint8_t *ret_index, const char **ret_rest)
{
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t len = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, len) != 0)
            continue;
        if (prefixes[i].whole != (name[len] == '\0'))
            return -EOPNOTSUPP;
        *ret_index = prefixes[i].index;
        *ret_rest = name + len;
        return 0;
    }
    return -EOPNOTSUPP;
}

const char *erofs_xattr_prefix(uint8_t index)
{
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (prefixes[i].index == index)
            return prefixes[i].prefix;
    return NULL;
}

size_t erofs_xattr_bytes(const struct erofs_disk_xattr *e)
{
    return (sizeof(*e) + e->name_len + e->value_len + 3) & ~(size_t)3;
}

/* Leaves a present entry of this name out of the body; gives the new length. */
static uint32_t drop_entry(char *body, uint32_t len, uint8_t index, const char *name,
                           size_t name_len)
{
    uint32_t at = sizeof(struct erofs_disk_xattr_header);
    while (at < len) {
        struct erofs_disk_xattr e;
        memcpy(&e, body + at, sizeof(e));
        size_t bytes = erofs_xattr_bytes(&e);
        if (e.name_index == index && e.name_len == name_len &&
            memcmp(body + at + sizeof(e), name, name_len) == 0) {
            memmove(body + at, body + at + bytes, len - at - bytes);
            return len - (uint32_t)bytes;
        }
        at += (uint32_t)bytes;
    }
    return len;
}

int erofs_xattr_set(struct erofs_writer *w, struct erofs_inode *i, const char *name,
                    const void *value, size_t len, struct error *err)
{
    struct erofs_disk_xattr e = {0};
    const char *rest;
    int r = split_name(name, &e.name_index, &rest);
    if (r < 0)
        return r;
    size_t name_len = strlen(rest);
    if (name_len > 255 || len > 65535)
        return error_set(err, ERROR_CORRUPT, E2BIG, "attribute %.64s is larger than Linux allows",
                         name);
    e.name_len = (uint8_t)name_len;
    e.value_len = (uint16_t)len;
    uint32_t old = i->xattrs ? i->xattrs_len : (uint32_t)sizeof(struct erofs_disk_xattr_header);
    if (old + erofs_xattr_bytes(&e) > EROFS_XATTR_BODY_MAX)
        return error_set(err, ERROR_CORRUPT, E2BIG, "more attributes than one inode can hold");
    char *body = erofs_arena_get(&w->memory, old + erofs_xattr_bytes(&e));
    if (!body)
        return erofs_no_memory(w, err);
    if (i->xattrs) {
        memcpy(body, i->xattrs, old);
        old = drop_entry(body, old, e.name_index, rest, name_len);
    }
    char *p = body + old;
    memset(p, 0, erofs_xattr_bytes(&e));
    memcpy(p, &e, sizeof(e));
    memcpy(p + sizeof(e), rest, name_len);
    if (len > 0)
        memcpy(p + sizeof(e) + name_len, value, len);
    i->xattrs = body;
    i->xattrs_len = old + (uint32_t)erofs_xattr_bytes(&e);
    return 0;
}
