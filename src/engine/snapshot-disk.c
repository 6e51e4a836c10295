/* What snapshots mean for the files of a bundle: which are the disks, and copies of directories. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "engine/machine-disks.h"
#include "engine/snapshot-internal.h"

char *machine_own_file(const struct subject *s, const struct snapshot_chain *c, unsigned int disk)
{
    const char *first = s->options.firmware ? MACHINE_BOOT_DISK : MACHINE_DISK;
    _cleanup_free_ char *name =
        disk == 0 && !c->file ? xstrdup(first) : snapshot_own_name(c->file, disk);
    return path_join(s->bundle, name);
}

/* What a restore or a clone has not made yet: what goes with the first disk, and an empty file. */
static int make_top(struct engine *e, const struct subject *s, const struct snapshot_chain *c,
                    unsigned int disk, const char *file, char *const *lower, struct error *err)
{
    uint64_t bytes;
    size_t n = strv_len(lower);
    int r = 0;
    if (disk == 0 && s->options.firmware && c->base) {
        _cleanup_free_ char *snapshot = snapshot_dir(e->store, c->base);
        r = state_return(snapshot, s->bundle, err);
    }
    if (r < 0 || n == 0)
        return r;
    r = snapshot_disk_size(lower[n - 1], &bytes, err);
    return r < 0 ? r : snapshot_overlay(file, bytes, err);
}

/* Any file that the bundle has for this disk gets this name. */
static void take_file(const char *bundle, unsigned int disk, const char *as)
{
    _cleanup_free_ char *begin = xasprintf("disk%u", disk);
    char set[17];
    DIR *d = opendir(bundle);
    struct dirent *entry;
    size_t n = strlen(begin);
    while (d && (entry = readdir(d)))
        if (strncmp(entry->d_name, begin, n) == 0 && strchr("-.", entry->d_name[n]) &&
            snapshot_own_set(entry->d_name, set) &&
            renameat(dirfd(d), entry->d_name, AT_FDCWD, as) == 0)
            break;
    if (d)
        closedir(d);
}

/* A disk that is in none of the snapshots below, while the first one is (they were made by a Proa
 * that kept no other), is what it is: it goes along. */
static void keep_unsaved(const struct subject *s, const struct snapshot_chain *c)
{
    _cleanup_strv_ char **others = NULL;
    struct error ignored = ERROR_INIT;
    uint32_t own = 0;
    if (!c->levels->dir || machine_own_disks(&s->options, &own, &others, &ignored) < 0)
        return;
    for (unsigned int disk = 1; disk < SNAPSHOT_DISKS_MAX; disk++) {
        _cleanup_strv_ char **lower = snapshot_lower(c->levels, disk);
        _cleanup_free_ char *file = machine_own_file(s, c, disk);
        if ((own & 1u << disk) && strv_len(lower) == 0 && access(file, F_OK) < 0)
            take_file(s->bundle, disk, file);
    }
}

static void sweep_chain(const struct subject *s, const struct snapshot_chain *c)
{
    _cleanup_free_ char *keep = machine_own_file(s, c, 0);
    char kept[17], set[17];
    bool any = snapshot_own_set(strrchr(keep, '/') + 1, kept);
    keep_unsaved(s, c);
    DIR *d = opendir(s->bundle);
    struct dirent *entry;
    while (d && any && (entry = readdir(d)))
        if (snapshot_own_set(entry->d_name, set) && strcmp(set, kept) != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
}

void sweep_disks(struct engine *e, const struct subject *s)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    struct error ignored = ERROR_INIT;
    if (snapshot_chain(e->store, s->record.id, &c, &ignored) == 0)
        sweep_chain(s, &c);
}

int machine_chain(struct engine *e, const struct subject *s, unsigned int disk, char **ret_file,
                  char ***ret_lower, struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    int r = snapshot_chain(e->store, s->record.id, &c, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *file = machine_own_file(s, &c, disk);
    _cleanup_strv_ char **lower = snapshot_lower(c.levels, disk);
    if (disk == 0)
        sweep_chain(s, &c);
    if (access(file, F_OK) < 0)
        r = make_top(e, s, &c, disk, file, lower, err);
    if (r < 0)
        return r;
    *ret_file = TAKE_PTR(file);
    *ret_lower = strv_len(lower) > 0 ? TAKE_PTR(lower) : NULL;
    return 0;
}

char *machine_memory(const struct subject *s)
{
    _cleanup_free_ char *memory = path_join(s->bundle, MACHINE_MEMORY);
    return access(memory, F_OK) == 0 ? TAKE_PTR(memory) : NULL;
}

int machine_disk(struct engine *e, const struct subject *s, struct bundle *b, struct error *err)
{
    b->memory = machine_memory(s);
    return machine_chain(e, s, 0, &b->disk, &b->disk_lower, err);
}

static void update_disk(const struct subject *s, const struct snapshot_chain *c, unsigned int disk,
                        char **file, char ***lower)
{
    free(*file);
    strv_free(*lower);
    *file = machine_own_file(s, c, disk);
    *lower = snapshot_lower(c->levels, disk);
}

int bundle_update_disks(const struct subject *s, const struct snapshot_chain *c, struct error *err)
{
    _cleanup_(bundle_done) struct bundle b = {0};
    _cleanup_strv_ char **others = NULL;
    uint32_t own = 0;
    int r = bundle_load(s->bundle, &b, err);
    if (r == 0)
        r = machine_own_disks(&s->options, &own, &others, err);
    if (r < 0)
        return r;
    if (!machine_boots_disk(&b.machine))
        update_disk(s, c, 0, &b.disk, &b.disk_lower);
    for (unsigned int i = 0; i < b.machine.n_disks; i++)
        if (own & 1u << i)
            update_disk(s, c, i, &b.machine.disks[i].file, &b.machine.disks[i].lower);
    return bundle_save(&b, s->bundle, err);
}

int copy_directory(const char *from, const char *to, struct error *err)
{
    char *const argv[] = {(char *)"cp",
                          (char *)"-aT",
                          (char *)"--reflink=auto",
                          (char *)"--sparse=auto",
                          (char *)"--",
                          (char *)from,
                          (char *)to,
                          NULL};
    return process_run("cp", argv, -EBADF, NULL, err);
}
