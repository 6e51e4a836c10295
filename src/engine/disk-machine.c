/*
 * A machine that boots a disk has a system of its own: what `run` says about processes, files and
 * users inside is not Proa's to arrange there, and is refused (kinds.c).
 *
 * At each start its bundle gets the maps of its disks anew (service/image/disk.h), and the monitor
 * holds the packs: while they are held nothing in them goes away, whatever happens to the image, so
 * a restart by the monitor finds what the start found.
 */
#include "engine/disk-machine.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/disk.h"

#define MEMORY_DEFAULT ((uint64_t)1 << 30)
#define STOP_TIMEOUT_S 60 /* a whole system shuts its services down */
#define DISK_MAX       ((uint64_t)16 << 40)

int disk_machine_check(const struct create_options *o, const struct image *disk, struct error *err)
{
    if (strcmp(disk->architecture, "amd64") != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOEXEC,
                         "the disk %s is for %s, machines are amd64", o->image, disk->architecture);
    if (o->disk_bytes && o->disk_bytes < disk->disk_bytes)
        return error_invalid(err, "--disk-size: the disk has %s, and can only grow",
                             format_size(disk->disk_bytes).s);
    if (o->disk_bytes > DISK_MAX)
        return error_invalid(err, "--disk-size: the maximum is 16 TiB");
    if (o->disk_bytes % 512)
        return error_invalid(err, "--disk-size: not a multiple of 512 bytes");
    return 0;
}

void disk_machine_defaults(struct create_options *o)
{
    o->kind = RUNTIME_VM;
    /* Its stdio is its serial console, which is there whether somebody sits at it or not. */
    o->terminal = o->open_stdin = true;
    if (o->stop_timeout_s < 0)
        o->stop_timeout_s = STOP_TIMEOUT_S;
}

void held_fds_done(struct held_fds *h)
{
    for (size_t i = 0; i < h->n; i++)
        close_fd(h->fds[i]);
    free(h->fds);
    *h = (struct held_fds){0};
}

void held_fds_add(struct held_fds *h, int *fd)
{
    h->fds = xreallocarray(h->fds, h->n + 1, sizeof(*h->fds));
    h->fds[h->n++] = TAKE_FD(*fd);
}

static int write_map(int map_fd, const char *path, struct error *err)
{
    _cleanup_close_ int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 || lseek(map_fd, 0, SEEK_SET) < 0 ? -errno : fd_copy(map_fd, fd);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* What a disk of the store is read from. */
static int add_parts(struct engine *e, const char *image_id, const char *stem,
                     struct machine_disk *d, struct held_fds *held, struct error *err)
{
    struct disk_parts parts;
    int r = disk_open(e->store, image_id, &parts, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < parts.n; i++) {
        if (!parts.parts[i].path) /* nothing but zeros */
            continue;
        struct machine_part *p = machine_disk_add_part(d);
        p->pack = xstrdup(parts.parts[i].path);
        if (parts.parts[i].map_fd >= 0) {
            p->map = xasprintf("%s.map%zu", stem, i);
            r = write_map(parts.parts[i].map_fd, p->map, err);
        }
        held_fds_add(held, &parts.parts[i].pack_fd);
    }
    d->bytes = parts.virtual_bytes;
    disk_parts_done(&parts);
    return r;
}

/* The disk that the machine was made of. */
static int add_root(struct engine *e, const struct subject *s, const struct image *disk,
                    struct bundle *b, struct held_fds *held, struct error *err)
{
    struct machine_disk *d = bundle_machine_add_disk(&b->machine);
    _cleanup_free_ char *stem = path_join(s->bundle, "disk0");
    int r = add_parts(e, disk->id, stem, d, held, err);
    d->format = xstrdup("qcow2");
    d->bytes = MAX(d->bytes, s->options.disk_bytes);
    d->boot = 1;
    return r < 0 ? r : machine_chain(e, s, true, &d->file, &d->lower, &b->memory, err);
}

int disk_machine_describe(struct engine *e, const struct subject *s, const struct image *disk,
                          struct bundle *b, struct held_fds *held, struct error *err)
{
    const struct create_options *o = &s->options;
    b->memory_bytes = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT;
    b->cpus = o->cpus_milli ? (uint32_t)((o->cpus_milli + 999) / 1000) : 1;
    b->ephemeral = s->record.auto_remove;
    return add_root(e, s, disk, b, held, err);
}
