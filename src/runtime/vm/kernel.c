#include "runtime/vm/kernel.h"

#include <dirent.h>
#include <string.h>

#include "base/alloc.h"
#include "base/path.h"

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static bool prepared(const char *dir, const char *version)
{
    static const char *const files[] = {"vmlinux", "initramfs"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s/%s", dir, version, files[i]);
        if (access(path, R_OK) < 0)
            return false;
    }
    return true;
}

int vm_kernel_find(const char *root, char **ret_kernel, char **ret_initramfs, struct error *err)
{
    _cleanup_free_ char *dir = path_join(root, "cache/kernel");
    _cleanup_free_ char *best = NULL;
    _cleanup_(cleanup_dir) DIR *d = opendir(dir);
    struct dirent *entry;
    if (!d && errno != ENOENT)
        return error_errno(err, errno, "open %s", dir);
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && prepared(dir, entry->d_name) &&
            (!best || strverscmp(entry->d_name, best) > 0))
            xreplace(&best, entry->d_name);
    if (!best)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no kernel for machines is prepared; run: proa kernel add");
    *ret_kernel = xasprintf("%s/%s/vmlinux", dir, best);
    *ret_initramfs = xasprintf("%s/%s/initramfs", dir, best);
    return 0;
}
