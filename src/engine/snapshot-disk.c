/* What snapshots mean for the files of a bundle: which is the disk, and copies of directories. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "engine/snapshot-internal.h"

int machine_chain(struct engine *e, const struct subject *s, bool boots_disk, char **ret_file,
                  char ***ret_lower, char **ret_memory, struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    _cleanup_free_ char *memory = path_join(s->bundle, MACHINE_MEMORY), *file = NULL;
    uint64_t bytes;
    int r = snapshot_chain(e->store, s->record.id, &c, err);
    if (r < 0)
        return r;
    const char *name = c.file ? c.file : boots_disk ? MACHINE_BOOT_DISK : MACHINE_DISK;
    size_t n = strv_len(c.lower);
    file = path_join(s->bundle, name);
    sweep_disks(s->bundle, name);
    if (boots_disk && c.base && access(file, F_OK) < 0) {
        _cleanup_free_ char *snapshot = snapshot_dir(e->store, c.base);
        r = state_return(snapshot, s->bundle, err);
        if (r < 0)
            return r;
    }
    if (n > 0 && access(file, F_OK) < 0) {
        r = snapshot_disk_size(c.lower[n - 1], &bytes, err);
        if (r == 0)
            r = snapshot_overlay(file, bytes, err);
        if (r < 0)
            return r;
    }
    *ret_file = TAKE_PTR(file);
    *ret_lower = n > 0 ? TAKE_PTR(c.lower) : NULL;
    *ret_memory = access(memory, F_OK) == 0 ? TAKE_PTR(memory) : NULL;
    return 0;
}

int machine_disk(struct engine *e, const struct subject *s, struct bundle *b, struct error *err)
{
    return machine_chain(e, s, false, &b->disk, &b->disk_lower, &b->memory, err);
}

static bool is_disk(const char *name)
{
    return strcmp(name, MACHINE_DISK) == 0 || strcmp(name, MACHINE_BOOT_DISK) == 0 ||
           (strncmp(name, "disk-", 5) == 0 && strspn(name + 5, "0123456789abcdef") == 16 &&
            name[21] == '.');
}

void sweep_disks(const char *bundle, const char *keep)
{
    DIR *d = opendir(bundle);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (is_disk(entry->d_name) && strcmp(entry->d_name, keep) != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
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
