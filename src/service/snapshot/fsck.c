#include "service/snapshot/fsck.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/image/disk.h"

/* What is wrong with one; owned, NULL: nothing. */
static char *look_at_disk(int dir, const char *file)
{
    _cleanup_free_ char *format = NULL;
    struct stat st;
    uint64_t bytes;
    struct error why = ERROR_INIT;
    _cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return xasprintf("its %s cannot be opened: %s", file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return xasprintf("its %s is no file", file);
    if (snapshot_is_overlay(file) && disk_check_file(fd, "qcow2", &format, &bytes, &why) < 0)
        return xasprintf("its %s: %s", file, why.msg);
    return NULL;
}

static char *look_at_memory(int dir, uint64_t bytes)
{
    struct stat st;
    if (fstatat(dir, "memory", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return xasprintf("its memory cannot be opened: %s", strerror(errno));
    return (uint64_t)st.st_size == bytes ? NULL
                                         : xstrdup("its memory has another size than it had");
}

static char *look(int dir, const struct snapshot_record *r)
{
    char *fault = NULL;
    for (size_t i = 0; !fault && r->files && r->files[i]; i++)
        fault = look_at_disk(dir, r->files[i]);
    if (!fault && r->memory_bytes > 0)
        fault = look_at_memory(dir, r->memory_bytes);
    return fault;
}

/* Who holds the directory makes or removes it: it is not looked at. */
static char *check_one(struct store *s, const struct snapshot_record *r)
{
    _cleanup_free_ char *path = snapshot_dir(s, r->id);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct snapshot_record again = {0};
    if (dir >= 0 && flock(dir, LOCK_SH | LOCK_NB) < 0)
        return NULL;
    bool gone = store_snapshot_get(s, r->id, &again, NULL) < 0;
    snapshot_record_done(&again);
    if (gone)
        return NULL;
    return dir < 0 ? xasprintf("%s cannot be opened: %s", path, strerror(errno)) : look(dir, r);
}

int snapshot_fsck(struct store *s, bool repair, struct image_fsck *f, struct error *err)
{
    struct snapshot_record *list = NULL;
    int r = store_snapshot_list(s, NULL, true, &list, err);
    for (size_t i = 0; r == 0 && list[i].id; i++) {
        _cleanup_free_ char *fault = check_one(s, &list[i]);
        f->snapshots += list[i].visible;
        if (!fault)
            continue;
        strv_addf(&f->faults, "snapshot %s/%s: %s", list[i].instance_name, list[i].name, fault);
        if (!repair || !list[i].visible)
            continue;
        r = store_snapshot_hide(s, list[i].id, err);
        strv_addf(&f->repaired, "snapshot %s/%s: it was removed", list[i].instance_name,
                  list[i].name);
    }
    snapshot_record_list_free(list);
    return r < 0 || !repair ? r : snapshot_collect(s, err);
}
