/*
 * VMDK: the sparse kind that is whole in one file ("monolithicSparse", "streamOptimized"), which
 * begins with a binary header and has its description as text inside. The description may name a
 * parent and other extents, so it is read; a file that is a description only is refused, because
 * all that it does is name files.
 */
#include <ctype.h>

#include "wire/disk/format-internal.h"

enum { HEADER = 79, DESCRIPTION_MAX = 65536 };

/* Case does not matter in descriptions, and they are no strings. */
static const char *find(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++)
        if (strncasecmp(text + i, word, n) == 0)
            return text + i;
    return NULL;
}

static int check_description(const char *text, size_t len, struct error *err)
{
    const char *parent = find(text, len, "parentCID");
    if (find(text, len, "parentFileNameHint") ||
        (parent && !find(parent, MIN(len - (size_t)(parent - text), (size_t)32), "=ffffffff")))
        return error_set(err, ERROR_DENIED, EACCES,
                         "the vmdk image names a parent: only images that are whole in one file "
                         "are taken (`qemu-img convert` makes one)");
    const char *type = find(text, len, "createType");
    size_t rest = type ? MIN(len - (size_t)(type - text), (size_t)48) : 0;
    if (type && !find(type, rest, "monolithicSparse") && !find(type, rest, "streamOptimized"))
        return error_set(err, ERROR_DENIED, EACCES,
                         "the vmdk image is in several files: only those in one file are taken");
    return 0;
}

int disk_check_vmdk(const struct disk_reader *r, uint64_t *ret_virtual_bytes, struct error *err)
{
    uint8_t h[HEADER];
    char text[DESCRIPTION_MAX];
    int e = disk_read(r, 0, h, sizeof(h), err);
    if (e < 0)
        return e;
    if (memcmp(h, "KDMV", 4) != 0)
        return error_set(err, ERROR_DENIED, EACCES,
                         "the vmdk image only names other files: only those in one file are taken");
    uint64_t version = disk_le(h + 4, 4), sectors = disk_le(h + 12, 8);
    uint64_t at = disk_le(h + 28, 8), len = disk_le(h + 36, 8);
    if (version < 1 || version > 3)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "vmdk version %llu is not known",
                         (unsigned long long)version);
    /* Without a capacity QEMU takes the description for the image: it would follow its names. */
    if (sectors == 0 || sectors > UINT64_MAX / DISK_SECTOR || at == 0 || len == 0 ||
        len > sizeof(text) / DISK_SECTOR || at > UINT64_MAX / DISK_SECTOR)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the vmdk header is broken");
    e = disk_read(r, at * DISK_SECTOR, text, (size_t)len * DISK_SECTOR, err);
    if (e < 0 || (e = check_description(text, (size_t)len * DISK_SECTOR, err)) < 0)
        return e;
    *ret_virtual_bytes = sectors * DISK_SECTOR;
    return 0;
}
