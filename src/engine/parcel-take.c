/*
 * The levels of a parcel become snapshots here, as those they were made of are: a row, then the
 * files, each standing on the one before. Nobody is shown them, but for the last of a parcel that
 * is a snapshot. While a level has no row above it, its lock keeps it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/parcel.h"
#include "service/image/disk.h"

void parts_done(struct parts *p)
{
    close_fd(p->lock);
    free(p->base);
    free(p->dir);
}

/* A raw file is what it is; an overlay must be one, and lead nowhere. */
static int check_part(const char *path, struct error *err)
{
    _cleanup_free_ char *format = NULL;
    uint64_t bytes;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    if (!snapshot_is_overlay(path))
        return 0;
    int r = disk_check_file(fd, "qcow2", &format, &bytes, err);
    return r < 0 ? error_prefix(err, "a disk of the parcel") : 0;
}

static int take_file(struct parts *p, const char *file, struct error *err)
{
    _cleanup_free_ char *part = parcel_part_name(p->n, file), *to = path_join(p->dir, file);
    int r = parcel_in_take(p->from, part, to, err);
    return r < 0 ? r : check_part(to, err);
}

int parts_add(struct parts *p, const struct parcel_head *h, char *const *files, const char *name,
              struct error *err)
{
    char id[65];
    _cleanup_close_ int lock = -EBADF;
    random_hex(id, 32);
    struct snapshot_record record = snapshot_record_of(&h->instance, id, name ? (char *)name : id);
    record.base = p->base;
    record.files = (char **)files;
    record.consistency = (char *)"crash";
    record.created_ns = h->created_ns;
    _cleanup_free_ char *dir = snapshot_dir(p->e->store, id);
    int r = snapshot_begin(p->e->store, id, &lock, err);
    if (r == 0)
        r = store_snapshot_add(p->e->store, &record, err);
    if (r < 0)
        return r;
    close_fd(p->lock);
    p->lock = TAKE_FD(lock);
    xreplace(&p->base, id);
    free(p->dir);
    p->dir = TAKE_PTR(dir);
    for (size_t i = 0; r == 0 && files[i]; i++)
        r = take_file(p, files[i], err);
    p->n++;
    return r;
}
