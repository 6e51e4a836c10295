#include "service/snapshot/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/disk/disk.h"

/* QEMU opens all of them, and reads what is not written through all. */
#define CHAIN_MAX 64
#define FILES_MAX 200

char *snapshot_dir(const struct store *s, const char *id)
{
    return xasprintf("%s/snapshots/%s", s->root, id);
}

bool snapshot_is_overlay(const char *path)
{
    size_t n = strlen(path);
    return n > 6 && strcmp(path + n - 6, ".qcow2") == 0;
}

char *snapshot_disk_name(unsigned int disk, bool overlay)
{
    return disk == 0 ? xstrdup(overlay ? "disk.qcow2" : "disk.raw")
                     : xasprintf("disk%u.qcow2", disk);
}

bool snapshot_disk_number(const char *name, unsigned int *ret)
{
    for (unsigned int i = 0; i < SNAPSHOT_DISKS_MAX; i++) {
        _cleanup_free_ char *same = snapshot_disk_name(i, snapshot_is_overlay(name));
        if (strcmp(name, same) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

void snapshot_levels_free(struct snapshot_level *list)
{
    for (struct snapshot_level *l = list; l && l->dir; l++) {
        free(l->dir);
        strv_free(l->files);
    }
    free(list);
}

void snapshot_chain_done(struct snapshot_chain *c)
{
    snapshot_levels_free(c->levels);
    free(c->base);
    free(c->file);
    memset(c, 0, sizeof(*c));
}

struct walk {
    struct snapshot_level *list; /* topmost first, its end left out */
    size_t n, n_files;
};

static int walk_add(struct walk *w, struct store *s, struct snapshot_record *r, struct error *err)
{
    if (strv_len(r->files) == 0)
        return 0;
    w->n_files += strv_len(r->files);
    w->list = xreallocarray(w->list, w->n + 2, sizeof(*w->list));
    w->list[w->n++] =
        (struct snapshot_level){.dir = snapshot_dir(s, r->id), .files = TAKE_PTR(r->files)};
    w->list[w->n] = (struct snapshot_level){0};
    return w->n > CHAIN_MAX || w->n_files > FILES_MAX
               ? error_set(err, ERROR_LIMIT, E2BIG,
                           "more than %d snapshots, or %d files of them, stand on one another: "
                           "proa snapshot flatten makes one of them, when the machine is stopped",
                           CHAIN_MAX, FILES_MAX)
               : 0;
}

/* From a snapshot down to the bottom. */
static int walk_down(struct walk *w, struct store *s, const char *id, struct error *err)
{
    _cleanup_free_ char *at = xstrdup(id);
    int r = 0;
    while (r == 0 && at) {
        struct snapshot_record record = {0};
        r = store_snapshot_get(s, at, &record, err);
        if (r == 0)
            r = walk_add(w, s, &record, err);
        free(at);
        at = TAKE_PTR(record.base);
        snapshot_record_done(&record);
    }
    return r;
}

int snapshot_levels(struct store *s, const char *id, struct snapshot_level **ret, struct error *err)
{
    struct walk w = {.list = xnew(struct snapshot_level)};
    int r = id ? walk_down(&w, s, id, err) : 0;
    if (r < 0) {
        snapshot_levels_free(w.list);
        return r;
    }
    for (size_t i = 0; i < w.n / 2; i++) {
        struct snapshot_level other = w.list[i];
        w.list[i] = w.list[w.n - 1 - i];
        w.list[w.n - 1 - i] = other;
    }
    *ret = w.list;
    return 0;
}

char **snapshot_lower(const struct snapshot_level *list, unsigned int disk)
{
    char **paths = strv_copy(NULL);
    unsigned int number;
    for (; list->dir; list++)
        for (size_t i = 0; list->files[i]; i++)
            if (snapshot_disk_number(list->files[i], &number) && number == disk)
                strv_take(&paths, path_join(list->dir, list->files[i]));
    return paths;
}

int snapshot_chain(struct store *s, const char *instance_id, struct snapshot_chain *ret,
                   struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    int r = store_instance_base(s, instance_id, &c.base, &c.file, err);
    if (r == 0)
        r = snapshot_levels(s, c.base, &c.levels, err);
    if (r < 0)
        return r;
    *ret = c;
    memset(&c, 0, sizeof(c));
    return 0;
}

char *snapshot_own_name(const char *file, unsigned int disk)
{
    char set[17];
    return disk == 0                             ? xstrdup(file)
           : file && snapshot_own_set(file, set) ? xasprintf("disk%u-%s.qcow2", disk, set)
                                                 : xasprintf("disk%u.qcow2", disk);
}

/* "disk", a number or none, "-" and 16 digits or nothing, and what kind of file it is. */
bool snapshot_own_set(const char *name, char ret_set[static 17])
{
    if (strncmp(name, "disk", 4) != 0)
        return false;
    const char *end = name + 4 + strspn(name + 4, "0123456789");
    *ret_set = '\0';
    if (*end == '-') {
        if (strspn(end + 1, "0123456789abcdef") != 16)
            return false;
        snprintf(ret_set, 17, "%s", end + 1);
        end += 17;
    }
    return strncmp(end, ".qcow2", 6) == 0 || strncmp(end, ".ext4", 5) == 0;
}

int snapshot_stand_on(struct store *s, const char *instance_id, const char *snapshot_id,
                      char **ret_file, struct error *err)
{
    struct snapshot_level *levels = NULL;
    char random[17];
    int r = snapshot_levels(s, snapshot_id, &levels, err);
    if (r < 0)
        return r;
    random_hex(random, 8);
    _cleanup_free_ char *file = xasprintf("disk-%s.%s", random, levels->dir ? "qcow2" : "ext4");
    snapshot_levels_free(levels);
    r = store_instance_set_base(s, instance_id, snapshot_id, file, err);
    if (r == 0)
        *ret_file = TAKE_PTR(file);
    return r;
}

/* Takes the lock of a directory that is there: 1, 0 when somebody holds it or it has gone. */
static int hold(const char *path, int *ret_fd, struct error *err)
{
    struct stat held, there;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? 0 : error_errno(err, errno, "lock %s", path);
    if (fstat(fd, &held) < 0 || stat(path, &there) < 0 || held.st_ino != there.st_ino)
        return 0;
    *ret_fd = TAKE_FD(fd);
    return 1;
}

int snapshot_begin(struct store *s, const char *id, int *ret_lock, struct error *err)
{
    _cleanup_free_ char *path = snapshot_dir(s, id);
    for (int r = 0; r == 0;) { /* one that is not locked yet may be taken for a dead one's */
        r = path_make_dirs(path, 0700);
        if (r < 0)
            return error_errno(err, r, "create %s", path);
        r = hold(path, ret_lock, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The directory goes while the row is there still, so that a kill leaves a row that is found again.
 */
static int remove_one(struct store *s, const char *id, struct error *err)
{
    char random[17];
    _cleanup_free_ char *path = snapshot_dir(s, id);
    _cleanup_close_ int fd = -EBADF;
    int r = hold(path, &fd, err);
    if (r < 0 || (r == 0 && access(path, F_OK) == 0))
        return r;
    random_hex(random, 8);
    _cleanup_free_ char *doomed = xasprintf("%s/tmp/%d-%s", s->root, (int)getpid(), random);
    if (rename(path, doomed) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove %s", path);
    r = store_snapshot_delete(s, id, err);
    if (r < 0)
        return r;
    r = path_remove_tree(AT_FDCWD, doomed);
    return r < 0 ? error_errno(err, r, "remove %s", doomed) : 1;
}

/* Names of directories that no row knows. */
static int list_strangers(struct store *s, char ***ids, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, "snapshots");
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "open %s", path);
    int r = path_list_names(dir, &names);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    for (size_t i = 0; names[i]; i++) {
        struct snapshot_record record = {0};
        if (is_hex(names[i], 64) && store_snapshot_get(s, names[i], &record, NULL) == -ENOENT)
            strv_add(ids, names[i]);
        snapshot_record_done(&record);
    }
    return 0;
}

static int list_removable(struct store *s, char ***ret, struct error *err)
{
    int r = store_snapshot_forgotten(s, ret, err);
    return r < 0 ? r : list_strangers(s, ret, err);
}

/* Looks again inside a transaction; 1 when something has gone, so that more may be forgotten. */
static int collect_once(struct store *s, struct error *err)
{
    _cleanup_strv_ char **ids = NULL;
    int gone = 0, r = store_begin(s, err);
    if (r < 0)
        return r;
    r = list_removable(s, &ids, err);
    for (size_t i = 0; r >= 0 && ids[i]; i++) {
        r = remove_one(s, ids[i], err);
        gone += r > 0;
    }
    int ended = store_end(s, r >= 0, r >= 0 ? err : NULL);
    return r < 0 ? r : ended < 0 ? ended : gone > 0;
}

/* Of one that stays because something stands on its disk; whoever makes it holds it. */
static int drop_memory(struct store *s, const char *id, struct error *err)
{
    _cleanup_free_ char *dir = snapshot_dir(s, id), *memory = path_join(dir, "memory");
    _cleanup_close_ int fd = -EBADF;
    struct snapshot_record record = {0};
    int r = access(memory, F_OK) == 0 ? hold(dir, &fd, err) : 0;
    if (r > 0 && store_snapshot_get(s, id, &record, NULL) == 0 && !record.visible &&
        unlink(memory) < 0 && errno != ENOENT)
        r = error_errno(err, errno, "remove %s", memory);
    snapshot_record_done(&record);
    return r < 0 ? r : 0;
}

static int drop_memories(struct store *s, struct error *err)
{
    _cleanup_strv_ char **hidden = NULL;
    int r = store_snapshot_hidden(s, &hidden, err);
    for (size_t i = 0; r == 0 && hidden[i]; i++)
        r = drop_memory(s, hidden[i], err);
    return r;
}

int snapshot_collect(struct store *s, struct error *err)
{
    _cleanup_strv_ char **ids = NULL;
    int r = drop_memories(s, err);
    if (r == 0)
        r = list_removable(s, &ids, err);
    if (r < 0 || !ids[0])
        return r;
    do
        r = collect_once(s, err);
    while (r > 0);
    return r;
}

int snapshot_overlay(const char *path, uint64_t virtual_bytes, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, errno, "make %s", path);
    int r = disk_overlay_write(fd, virtual_bytes);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0)
        return 0;
    unlink(path);
    return error_errno(err, r, "make %s", path);
}

int snapshot_disk_size(const char *path, uint64_t *ret, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!snapshot_is_overlay(path)) {
        *ret = (uint64_t)st.st_size;
        return 0;
    }
    int r = disk_overlay_size(fd, ret);
    return r < 0 ? error_set(err, ERROR_CORRUPT, EBADMSG, "%s is no overlay of a disk", path) : 0;
}
