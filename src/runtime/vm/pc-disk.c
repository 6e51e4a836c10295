/*
 * The disks of a machine that boots one. What it writes goes into a file of its own, the overlay:
 * an empty qcow2 in front of the store's packs, which are opened for reading and locked (shared),
 * so that nothing in them goes away while they are open. The overlay is locked alone: no other
 * machine gets it. QEMU is told what is behind it on the command line; no name is in any file.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "runtime/vm/pc.h"
#include "wire/disk/disk.h"

int vm_pc_add_file(struct vm_pc *pc, int *fd, int *ret_place, struct error *err)
{
    if (pc->n_files == VM_PC_FILES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "a machine's disks are at most %u files",
                         VM_PC_FILES_MAX);
    *ret_place = (int)pc->n_files;
    pc->files[pc->n_files++] = TAKE_FD(*fd);
    return 0;
}

static bool is_block_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* A block device that is written to must be nobody else's: not a mounted file system's, either. */
static int open_locked(const char *path, int flags, int lock, struct vm_pc *pc, int *ret_place,
                       struct error *err)
{
    struct stat st;
    int alone = lock == LOCK_EX && is_block_device(path) ? O_EXCL : 0;
    _cleanup_close_ int fd = open(path, flags | alone | O_CLOEXEC);
    if (fd < 0 && alone && errno == EBUSY)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "%s is in use on this host: unmount it, or say readonly", path);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "the machine's disk %s is gone", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_invalid(err, "%s is neither a file nor a block device", path);
    if (lock && flock(fd, lock | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? error_set(err, ERROR_CONFLICT, EBUSY, "%s is in use by another machine", path)
                   : error_errno(err, errno, "lock %s", path);
    return vm_pc_add_file(pc, &fd, ret_place, err);
}

static int make_overlay(const struct machine_disk *d, struct error *err)
{
    _cleanup_free_ char *making = xasprintf("%s.making", d->file);
    _cleanup_close_ int fd =
        open(making, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : disk_overlay_write(fd, d->bytes);
    if (r == 0 && rename(making, d->file) < 0)
        r = -errno;
    if (r < 0) {
        unlink(making);
        return error_errno(err, r, "make %s", d->file);
    }
    return 0;
}

static int open_drive(const struct machine_disk *d, struct vm_pc *pc, struct vm_pc_drive *drive,
                      struct error *err)
{
    int r = 0;
    drive->file = -1;
    if (d->file && d->bytes > 0 && access(d->file, F_OK) < 0)
        r = make_overlay(d, err);
    for (size_t i = 0; r == 0 && d->lower && d->lower[i]; i++)
        r = open_locked(d->lower[i], O_RDONLY, 0, pc, &drive->lower[i], err);
    if (r == 0 && d->file)
        r = open_locked(d->file, d->read_only ? O_RDONLY : O_RDWR, d->read_only ? LOCK_SH : LOCK_EX,
                        pc, &drive->file, err);
    drive->is_device = r == 0 && d->file && is_block_device(d->file);
    for (size_t i = 0; r == 0 && i < d->n_parts; i++) {
        drive->maps[i] = -1;
        r = open_locked(d->parts[i].pack, O_RDONLY, LOCK_SH, pc, &drive->packs[i], err);
        if (r == 0 && d->parts[i].map)
            r = open_locked(d->parts[i].map, O_RDONLY, LOCK_SH, pc, &drive->maps[i], err);
    }
    return r;
}

int vm_pc_open_disks(const struct bundle_machine *m, struct vm_pc *ret, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n_disks; i++)
        r = open_drive(&m->disks[i], ret, &ret->drives[i], err);
    return r;
}

struct set_path {
    char text[32];
};

static const char *set_path(struct set_path *p, int place)
{
    snprintf(p->text, sizeof(p->text), "/dev/fdset/%d", place + 1);
    return p->text;
}

struct naming {
    const struct vm_pc_drive *drive;
    struct set_path path;
};

static const char *name_part(void *context, size_t part, bool map)
{
    struct naming *n = context;
    int place = map ? n->drive->maps[part] : n->drive->packs[part];
    return place < 0 ? NULL : set_path(&n->path, place);
}

char *vm_pc_blockdev(const struct machine_disk *d, const struct vm_pc_drive *drive,
                     const char *node, bool ephemeral)
{
    struct naming naming = {.drive = drive};
    struct set_path path;
    _cleanup_json_ json_t *top = disk_chain_node(d->n_parts, name_part, &naming);
    for (size_t i = 0; d->lower && d->lower[i]; i++) {
        json_t *file = disk_file_node(set_path(&path, drive->lower[i]), true);
        json_t *o = json_pack("{s:s, s:b, s:o, s:O}", "driver", "qcow2", "read-only", 1, "file",
                              file, "backing", top);
        json_decref(top);
        top = o;
    }
    if (d->file) {
        json_t *file = disk_file_node(set_path(&path, drive->file), d->read_only);
        if (drive->is_device) /* QEMU takes no device for a file */
            json_object_set_new(file, "driver", json_string("host_device"));
        json_object_set_new(file, "discard", json_string("unmap"));
        json_t *o = json_pack("{s:s, s:b, s:s, s:o}", "driver", d->format, "read-only",
                              (int)d->read_only, "discard", "unmap", "file", file);
        /* Thrown away with the machine: nothing need reach the host's disk. */
        if (ephemeral && !d->read_only)
            json_object_set_new(o, "cache", json_pack("{s:b}", "no-flush", 1));
        if (strcmp(d->format, "qcow2") == 0)
            json_object_set(o, "backing", top);
        json_decref(top);
        top = o;
    }
    json_object_set_new(top, "node-name", json_string(node));
    return json_to_text(top);
}
