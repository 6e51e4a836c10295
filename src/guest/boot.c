#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "guest/guest.h"

static const struct {
    const char *type, *target;
    unsigned long flags;
    const char *data;
} early_mounts[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

static int mount_early(struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(early_mounts); i++) {
        mkdir(early_mounts[i].target, 0755);
        if (mount(early_mounts[i].type, early_mounts[i].target, early_mounts[i].type,
                  early_mounts[i].flags, early_mounts[i].data) < 0 &&
            errno != EBUSY)
            return error_errno(err, errno, "mount %s", early_mounts[i].target);
    }
    return 0;
}

static int load_module(const char *file, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("/modules/%s", file);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
        return error_errno(err, errno, "load module %s", file);
    return 0;
}

/* Most machines have no volumes. */
static bool for_shares(const char *file)
{
    return strstr(file, "-fuse.ko") || strstr(file, "-virtiofs.ko");
}

/* Files are named NNN-name.ko in the order in which they can be loaded. */
static int load_modules(bool shares, struct error *err)
{
    struct dirent **entries = NULL;
    int n = scandir("/modules", &entries, NULL, alphasort), r = 0;
    for (int i = 0; i < n; i++) {
        if (r == 0 && entries[i]->d_name[0] != '.' && for_shares(entries[i]->d_name) == shares)
            r = load_module(entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return n < 0 ? error_errno(err, ENOENT, "no modules in the initramfs") : r;
}

static void prepare_cgroup(void)
{
    /* Limits and numbers come from here where the kernel has the controllers; the machine works
     * without. */
    (void)!file_write_kernel(AT_FDCWD, "/sys/fs/cgroup/cgroup.subtree_control",
                             "+pids +memory +cpu");
    mkdir(GUEST_CGROUP, 0755);
}

int guest_boot(struct error *err)
{
    int r = mount_early(err);
    if (r == 0)
        r = load_modules(false, err);
    if (r == 0)
        prepare_cgroup();
    return r;
}

int guest_prepare_shares(struct error *err)
{
    return load_modules(true, err);
}

void guest_stop(void)
{
    sync();
    mount(NULL, "/disk", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
}
