/* info: the whole at a glance. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/system.h"
#include "engine/view.h"
#include "runtime/vm/kernel.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/template.h"

void system_info_done(struct system_info *i)
{
    free(i->root);
    free(i->run);
    free(i->version);
    free(i->kernel);
    free(i->os);
    free(i->architecture);
    free(i->hostname);
    free(i->cgroup);
    free(i->accelerator);
    free(i->vm_kernel);
    strv_free(i->templates);
    strv_free(i->security);
    memset(i, 0, sizeof(*i));
}

static char *os_name(void)
{
    _cleanup_free_ char *text = NULL;
    if (file_read(AT_FDCWD, "/etc/os-release", 65536, &text) < 0)
        return xstrdup("Linux");
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++)
        if (strncmp(lines[i], "PRETTY_NAME=", 12) == 0) {
            const char *name = lines[i] + 12 + (lines[i][12] == '"');
            return xstrndup(name, strcspn(name, "\""));
        }
    return xstrdup("Linux");
}

static const char *cgroup_layout(void)
{
    bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    bool unified = access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0;
    return v2 ? "v2" : unified ? "hybrid" : "v1";
}

static char **security_features(void)
{
    char **list = NULL;
    _cleanup_free_ char *lsm = NULL;
    if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0)
        strv_add(&list, "seccomp");
    if (file_read_kernel(AT_FDCWD, "/sys/kernel/security/lsm", 4096, &lsm) == 0) {
        _cleanup_strv_ char **names = strv_split(lsm, ',');
        for (size_t i = 0; names[i]; i++)
            if (strcmp(names[i], "landlock") == 0 || strcmp(names[i], "apparmor") == 0 ||
                strcmp(names[i], "selinux") == 0)
                strv_add(&list, names[i]);
    }
    if (!list)
        list = xcalloc(1, sizeof(char *));
    return list;
}

static void add_host(struct system_info *i)
{
    struct utsname u;
    struct sysinfo memory;
    uname(&u);
    sysinfo(&memory);
    i->kernel = xstrdup(u.release);
    i->architecture = xstrdup(u.machine);
    i->hostname = xstrdup(u.nodename);
    i->os = os_name();
    i->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    i->memory_bytes = (uint64_t)memory.totalram * memory.mem_unit;
    i->cgroup = xstrdup(cgroup_layout());
    i->security = security_features();
}

static char *accelerator_name(struct engine *e)
{
    _cleanup_free_ char *cache = path_join(e->store->run, "accelerator");
    unsigned int tsc_khz;
    bool kvm;
    if (access("/usr/bin/qemu-system-x86_64", X_OK) < 0)
        return xstrdup("none (QEMU is not installed: apt-get install qemu-system-x86)");
    vm_accelerator(cache, &kvm, &tsc_khz);
    return xstrdup(kvm ? "kvm" : "tcg");
}

static void count_instance(struct system_info *i, const struct instance_view *v)
{
    i->instances++;
    if (v->kind == RUNTIME_VM)
        i->machines++;
    else
        i->containers++;
    if (v->state == STATE_RUNNING || v->state == STATE_RESTARTING)
        i->running++;
    else if (v->state == STATE_PAUSED)
        i->paused++;
    else
        i->stopped++;
}

int engine_info(struct engine *e, struct system_info *ret, struct error *err)
{
    _cleanup_(system_info_done) struct system_info i = {0};
    struct instance_view **views;
    struct image **images;
    struct error ignored = ERROR_INIT;
    _cleanup_free_ char *initramfs = NULL;
    int r = engine_list(e, true, &views, err);
    if (r < 0)
        return r;
    for (size_t k = 0; views[k]; k++)
        count_instance(&i, views[k]);
    engine_list_free(views);
    r = image_list(e->store, &images, err);
    if (r < 0)
        return r;
    while (images[i.images])
        i.images++;
    image_list_free(images);
    add_host(&i);
    i.root = xstrdup(e->store->root);
    i.run = xstrdup(e->store->run);
    i.version = xstrdup(PROA_VERSION);
    i.accelerator = accelerator_name(e);
    if (vm_kernel_find(e->store->root, &i.vm_kernel, &initramfs, &ignored) < 0)
        i.vm_kernel = NULL;
    r = vm_templates_list(e->store->run, &i.templates, err);
    if (r < 0)
        return r;
    *ret = i;
    memset(&i, 0, sizeof(i));
    return 0;
}

/* Bytes on disk below a directory, holes not counted. */
static uint64_t disk_use(int parent, const char *name)
{
    uint64_t bytes = 0;
    struct dirent *entry;
    struct stat st;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        close_fd(fd);
        return 0;
    }
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bytes += (uint64_t)st.st_blocks * 512;
        if (S_ISDIR(st.st_mode))
            bytes += disk_use(dirfd(dir), entry->d_name);
    }
    closedir(dir);
    return bytes;
}

uint64_t path_disk_use(const char *path)
{
    return disk_use(AT_FDCWD, path);
}
