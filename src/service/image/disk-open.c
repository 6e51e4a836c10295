/* Reading disks: for machines, and into files. */
#include "service/image/disk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "service/image/disk-internal.h"

#define COPY_BYTES ((size_t)1 << 20)

/* --- the parts of a disk --- */

void disk_parts_done(struct disk_parts *p)
{
    for (size_t i = 0; i < p->n; i++) {
        close_fd(p->parts[i].pack_fd);
        close_fd(p->parts[i].map_fd);
        free(p->parts[i].path);
    }
    free(p->parts);
    memset(p, 0, sizeof(*p));
}

struct opening {
    struct store *s;
    struct store_disk_chunk *map;
    size_t n;
    int64_t *packs;
    struct disk_parts parts;
};

static void opening_done(struct opening *o)
{
    free(o->map);
    free(o->packs);
    disk_parts_done(&o->parts);
}

int disk_open_pack(struct store *s, int64_t pack, int *ret_fd, char **ret_path, struct error *err)
{
    _cleanup_free_ char *name = NULL;
    int r = store_disk_pack_name(s, pack, &name, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *path =
        xasprintf("%s/" DISK_DIRECTORY "/%s.pack", s->root, name ? name : "");
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH) < 0)
        return error_errno(err, errno, "open %s", path);
    *ret_fd = TAKE_FD(fd);
    if (ret_path)
        *ret_path = TAKE_PTR(path);
    return 0;
}

static int add_part(struct opening *o, int64_t pack, struct error *err)
{
    struct disk_parts *p = &o->parts;
    struct disk_part part = {.map_fd = -EBADF};
    for (size_t i = 0; i < p->n; i++)
        if (o->packs[i] == pack)
            return 0;
    int r = disk_open_pack(o->s, pack, &part.pack_fd, &part.path, err);
    if (r < 0)
        return r;
    o->packs = xreallocarray(o->packs, p->n + 1, sizeof(*o->packs));
    o->packs[p->n] = pack;
    p->parts = xreallocarray(p->parts, p->n + 1, sizeof(*p->parts));
    p->parts[p->n++] = part;
    return 0;
}

static int sealed_memfd(const char *name, uint64_t bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && bytes > 0 && ftruncate(fd, (off_t)bytes) < 0)
        fd = close_fd(fd);
    return fd < 0 ? -errno : fd;
}

static int seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0
               ? -errno
               : 0;
}

/* One pack is the disk, when it is as long. */
static bool is_raw(const struct opening *o)
{
    struct stat st;
    return o->parts.n == 1 && fstat(o->parts.parts[0].pack_fd, &st) == 0 &&
           (uint64_t)st.st_size == o->parts.virtual_bytes;
}

static int add_maps(struct opening *o)
{
    _cleanup_free_ uint32_t *positions = xcalloc(o->n + 1, sizeof(*positions));
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->parts.n; i++) {
        size_t n = 0;
        for (size_t k = 0; k < o->n; k++)
            if (o->map[k].pack == o->packs[i])
                positions[n++] = o->map[k].position;
        int fd = sealed_memfd("proa-disk-map", 0);
        o->parts.parts[i].map_fd = fd;
        r = fd < 0 ? fd : disk_map_write(fd, o->parts.virtual_bytes, positions, n);
        if (r == 0)
            r = seal(fd);
    }
    return r;
}

/* A disk without data is zeros of its size. */
static int add_nothing(struct opening *o)
{
    int fd = sealed_memfd("proa-disk-empty", o->parts.virtual_bytes);
    if (fd < 0)
        return fd;
    o->parts.parts = xcalloc(1, sizeof(*o->parts.parts));
    o->parts.parts[o->parts.n++] = (struct disk_part){NULL, fd, -EBADF};
    return seal(fd);
}

/* Inside a transaction: nothing goes away between the map and its packs. */
static int open_parts(struct opening *o, const char *image_id, struct error *err)
{
    bool found = false;
    int r = store_disk_get(o->s, image_id, &found, &o->parts.virtual_bytes, NULL, err);
    if (r == 0 && !found)
        r = error_set(err, ERROR_NOT_FOUND, ENOENT, "no such disk: %.80s", image_id);
    if (r == 0)
        r = store_disk_map(o->s, image_id, &o->map, &o->n, err);
    for (size_t i = 0; r == 0 && i < o->n; i++)
        r = add_part(o, o->map[i].pack, err);
    return r;
}

static int open_disk(struct opening *o, const char *image_id, struct error *err)
{
    int r = store_begin(o->s, err);
    if (r < 0)
        return r;
    r = open_parts(o, image_id, err);
    int ended = store_end(o->s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

int disk_open(struct store *s, const char *image_id, struct disk_parts *ret, struct error *err)
{
    _cleanup_(opening_done) struct opening o = {.s = s};
    int r = open_disk(&o, image_id, err);
    if (r < 0)
        return r;
    if (o.parts.n == 0)
        r = add_nothing(&o);
    else if (!is_raw(&o))
        r = add_maps(&o);
    if (r < 0)
        return error_errno(err, r, "make the map of a disk");
    *ret = o.parts;
    memset(&o.parts, 0, sizeof(o.parts));
    return 0;
}

int disk_read_start(struct store *s, const char *image_id, void *data, size_t len,
                    struct error *err)
{
    _cleanup_(opening_done) struct opening o = {.s = s};
    int r = open_disk(&o, image_id, err);
    memset(data, 0, len);
    for (size_t i = 0; r == 0 && i < o.n; i++)
        for (size_t k = 0; r == 0 && o.map[i].position == 0 && k < o.parts.n; k++)
            if (o.packs[k] == o.map[i].pack && pread(o.parts.parts[k].pack_fd, data, len, 0) < 0)
                r = error_errno(err, errno, "read the disk");
    return r;
}

struct naming {
    const struct disk_parts *parts;
    const char *(*path)(void *context, size_t part, bool map);
    void *context;
};

static const char *name_part(void *context, size_t part, bool map)
{
    const struct naming *n = context;
    return map && n->parts->parts[part].map_fd < 0 ? NULL : n->path(n->context, part, map);
}

char *disk_blockdev(const struct disk_parts *p, const char *node,
                    const char *(*path)(void *context, size_t part, bool map), void *context)
{
    struct naming naming = {p, path, context};
    _cleanup_json_ json_t *top = disk_chain_node(p->n, name_part, &naming);
    if (node)
        json_object_set_new(top, "node-name", json_string(node));
    return json_to_text(top);
}

/* --- export --- */

static int copy_data(int from, off_t from_at, int to, off_t to_at, uint64_t len)
{
    _cleanup_free_ char *buffer = NULL;
    while (len > 0) {
        ssize_t n = buffer ? -1 : copy_file_range(from, &from_at, to, &to_at, (size_t)len, 0);
        if (n < 0 && !buffer) /* not between these files */
            buffer = xcalloc(1, COPY_BYTES);
        if (n < 0) {
            n = pread(from, buffer, MIN((uint64_t)COPY_BYTES, len), from_at);
            if (n > 0 && pwrite(to, buffer, (size_t)n, to_at) != n)
                return errno ? -errno : -EIO;
            from_at += MAX(n, 0);
            to_at += MAX(n, 0);
        }
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* shorter than it was */
        len -= (uint64_t)n;
    }
    return 0;
}

int disk_copy_range(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t len)
{
    uint64_t end = from_at + len;
    for (uint64_t at = from_at; at < end;) {
        off_t data = lseek(from, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0;
        off_t hole = data < 0 ? (off_t)end : lseek(from, data, SEEK_HOLE);
        if (data < 0)
            data = (off_t)at; /* this file system knows no holes */
        if ((uint64_t)data >= end)
            return 0;
        uint64_t stop = MIN(hole < 0 ? end : (uint64_t)hole, end);
        int r = copy_data(from, data, to, (off_t)(to_at + (uint64_t)data - from_at),
                          stop - (uint64_t)data);
        if (r < 0)
            return r;
        at = stop;
    }
    return 0;
}

static int export_raw(struct store *s, const char *image_id, int out_fd, uint64_t *ret_bytes,
                      struct error *err)
{
    _cleanup_(opening_done) struct opening o = {.s = s};
    int r = open_disk(&o, image_id, err);
    if (r < 0)
        return r;
    if (ftruncate(out_fd, 0) < 0 || ftruncate(out_fd, (off_t)o.parts.virtual_bytes) < 0)
        return error_errno(err, errno, "make room for the disk");
    for (size_t i = 0; r == 0 && i < o.n; i++) {
        const struct store_disk_chunk *c = &o.map[i];
        size_t part = 0;
        while (o.packs[part] != c->pack)
            part++;
        uint64_t at = c->position * DISK_CHUNK_BYTES;
        r = disk_copy_range(o.parts.parts[part].pack_fd, at, out_fd, at,
                            disk_chunk_length(o.parts.virtual_bytes, c->position));
    }
    *ret_bytes = o.parts.virtual_bytes;
    return r < 0 ? error_errno(err, r, "write the disk") : 0;
}

/* By qemu-img, through files of its own. */
static int export_converted(struct store *s, const char *image_id, int out_fd, const char *format,
                            struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_close_ int raw = -EBADF, made = -EBADF;
    uint64_t bytes;
    struct stat st;
    int r = image_work_begin(s, &work, err);
    if (r < 0)
        return r;
    if ((raw = image_work_unnamed(&work, err)) < 0)
        return raw;
    if ((made = image_work_unnamed(&work, err)) < 0)
        return made;
    if ((r = export_raw(s, image_id, raw, &bytes, err)) < 0 ||
        (r = disk_helper_convert(raw, "raw", made, format, bytes, err)) < 0)
        return r;
    if (fstat(made, &st) < 0 || ftruncate(out_fd, 0) < 0 || ftruncate(out_fd, st.st_size) < 0)
        return error_errno(err, errno, "make room for the disk");
    r = disk_copy_range(made, 0, out_fd, 0, (uint64_t)st.st_size);
    return r < 0 ? error_errno(err, r, "write the disk") : 0;
}

int disk_export(struct store *s, const char *image_id, int out_fd, const char *format,
                struct error *err)
{
    struct stat st;
    uint64_t bytes;
    if (fstat(out_fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_invalid(err, "a disk can only be written into a regular file");
    return strcmp(format, "raw") == 0 ? export_raw(s, image_id, out_fd, &bytes, err)
                                      : export_converted(s, image_id, out_fd, format, err);
}
