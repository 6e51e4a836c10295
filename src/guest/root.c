/*
 * The root file system: read-only EROFS disks ("layer0" is the bottom; or all of them on one, see
 * layers.c), the writable disk, and the overlay of them at GUEST_ROOT. Disks are found by the
 * serial that the host gave them, since the kernel's names follow the order of probing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/hosts.h"
#include "base/path.h"
#include "base/text.h"
#include "guest/guest.h"
#include "wire/agent/layers.h"

#define DISK_WAIT_MS 5000
#define KNOWN_MAX    32u

/* Asking a disk for its serial is a question to the host: a template asks once for its clones. */
static struct known_disk {
    char serial[24], device[40];
} known[KNOWN_MAX];
static size_t n_known;
static bool writable_mounted;
static uint32_t layers_built; /* in a template */
static bool files_prepared;

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static bool has_serial(const char *name, const char *serial)
{
    _cleanup_free_ char *path = xasprintf("/sys/block/%s/serial", name), *text = NULL;
    return file_read_kernel(AT_FDCWD, path, 256, &text) == 0 &&
           strncmp(text, serial, strlen(serial)) == 0 &&
           (text[strlen(serial)] == '\0' || text[strlen(serial)] == '\n');
}

static char *find_known(const char *serial)
{
    for (size_t i = 0; i < n_known; i++)
        if (strcmp(known[i].serial, serial) == 0)
            return xstrdup(known[i].device);
    return NULL;
}

static char *find_disk(const char *serial)
{
    char *device = find_known(serial);
    if (device)
        return device;
    _cleanup_(cleanup_dir) DIR *d = opendir("/sys/block");
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && has_serial(entry->d_name, serial))
            return xasprintf("/dev/%s", entry->d_name);
    return NULL;
}

/* other: a disk that may be there instead, or NULL. */
static int wait_disk(const char *serial, const char *other, char **ret, struct error *err)
{
    int64_t until = time_monotonic_ms() + DISK_WAIT_MS;
    while (!(*ret = find_disk(serial)) && !(other && (*ret = find_disk(other)))) {
        if (time_monotonic_ms() > until)
            return error_set(err, ERROR_SYSTEM, ENODEV, "the machine has no disk \"%s\"", serial);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

static int mount_device(const char *device, const char *type, const char *target,
                        unsigned long flags, const char *options, struct error *err)
{
    mkdir(target, 0755);
    if (mount(device, target, type, flags, options) < 0)
        return error_errno(err, errno, "mount disk %s (%s)", device, type);
    return 0;
}

static int mount_disk(const char *serial, const char *type, const char *target, unsigned long flags,
                      const char *options, struct error *err)
{
    _cleanup_free_ char *device = NULL;
    int r = wait_disk(serial, NULL, &device, err);
    return r < 0 ? r : mount_device(device, type, target, flags, options, err);
}

/* *ret: the disk that all layers are on, owned; NULL when each has its own. */
static int find_joined(uint32_t n_layers, char **ret, struct error *err)
{
    _cleanup_free_ char *device = find_known("layer0");
    if (device) /* of a template, which has no such disk */
        return 0;
    int r = wait_disk("layer0", AGENT_LAYERS_SERIAL, &device, err);
    if (r < 0 || !has_serial(device + strlen("/dev/"), AGENT_LAYERS_SERIAL))
        return r;
    r = guest_layers_split(device, n_layers, err);
    if (r == 0)
        *ret = TAKE_PTR(device);
    return r;
}

static int mount_layer(const char *joined, uint32_t i, const char *target, struct error *err)
{
    _cleanup_free_ char *name = joined ? xasprintf("%s%u", joined, i + 1) : xasprintf("layer%u", i);
    return joined ? mount_device(name, "erofs", target, MS_RDONLY, NULL, err)
                  : mount_disk(name, "erofs", target, MS_RDONLY, NULL, err);
}

static int mount_writable(bool disk, struct error *err)
{
    int r = 0;
    if (writable_mounted)
        return 0;
    mkdir("/disk", 0755);
    if (disk)
        r = mount_disk("disk", "ext4", "/disk", MS_NOATIME,
                       "noinit_itable,no_prefetch_block_bitmaps", err);
    else if (mount("tmpfs", "/disk", "tmpfs", 0, "mode=0755") < 0)
        r = error_errno(err, errno, "mount the writable layer");
    if (r == 0 && disk)
        guest_room_keep();
    if (r == 0 && mkdir(GUEST_UPPER, 0755) < 0 && errno != EEXIST)
        r = error_errno(err, errno, "make the writable layer");
    if (r == 0 && mkdir("/disk/work", 0755) < 0 && errno != EEXIST)
        r = error_errno(err, errno, "make the writable layer");
    return r;
}

static void learn_disk(const char *name)
{
    _cleanup_free_ char *path = xasprintf("/sys/block/%s/serial", name), *text = NULL;
    if (n_known == KNOWN_MAX || file_read_kernel(AT_FDCWD, path, 256, &text) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    struct known_disk *k = &known[n_known];
    if (*text && snprintf(k->serial, sizeof(k->serial), "%s", text) < (int)sizeof(k->serial) &&
        snprintf(k->device, sizeof(k->device), "/dev/%s", name) < (int)sizeof(k->device))
        n_known++;
}

int guest_root_prepare(bool disk, struct error *err)
{
    _cleanup_(cleanup_dir) DIR *d = opendir("/sys/block");
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            learn_disk(entry->d_name);
    mkdir("/l", 0755);
    mkdir(GUEST_ROOT, 0755);
    int r = disk ? mount_writable(true, err) : 0;
    writable_mounted = disk && r == 0;
    return r;
}

int guest_root_build(const struct agent_configure *c, struct error *err)
{
    _cleanup_buf_ struct buf options = BUF_INIT(4000);
    _cleanup_free_ char *joined = NULL;
    if (c->n_layers == 0 || (layers_built && layers_built != c->n_layers))
        return error_invalid(err, "a machine needs at least one layer, and those of its template");
    if (layers_built)
        return 0;
    int r = find_joined(c->n_layers, &joined, err);
    if (r < 0)
        return r;
    r = buf_add_str(&options, "upperdir=" GUEST_UPPER ",workdir=/disk/work,lowerdir=");
    mkdir("/l", 0755);
    for (uint32_t i = c->n_layers; i-- > 0 && r == 0;) {
        char target[24];
        snprintf(target, sizeof(target), "/l/%u", i);
        r = mount_layer(joined, i, target, err);
        if (r < 0)
            return r;
        r = buf_addf(&options, "%s%s", target, i ? ":" : "");
    }
    if (r < 0)
        return error_errno(err, r, "too many layers");
    r = mount_writable(c->has_disk, err);
    if (r < 0)
        return r;
    mkdir(GUEST_ROOT, 0755);
    if (mount("overlay", GUEST_ROOT, "overlay", 0, options.data) < 0)
        return error_errno(err, errno, "mount the root file system");
    layers_built = c->n_layers;
    return 0;
}

#define USUAL_MODE 0644
#define HOSTS_MAX  ((size_t)1 << 20)

static bool files_stored; /* what comes next may be shorter */

/* In place: a template has it with one byte, the usual mode, and bound already. */
static int write_file(const char *name, const void *content, size_t len, mode_t mode)
{
    _cleanup_free_ char *path = path_join(GUEST_FILES, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, USUAL_MODE);
    int r = fd < 0 ? -errno : fd_write_all(fd, content, len);
    if (r == 0 && (len == 0 || files_stored) && ftruncate(fd, (off_t)len) < 0)
        r = -errno;
    return r == 0 && mode != USUAL_MODE && fchmod(fd, mode) < 0 ? -errno : r;
}

static int write_numbered(size_t i, const void *content, size_t len, mode_t mode)
{
    char name[24];
    snprintf(name, sizeof(name), "%zu", i);
    return write_file(name, content, len, mode);
}

int guest_files_prepare(size_t n, struct error *err)
{
    mkdir(GUEST_FILES, 0755);
    int r = write_file(GUEST_MACHINE_ID, "\n", 1, USUAL_MODE);
    for (size_t i = 0; i < n && r == 0; i++)
        r = write_numbered(i, "\n", 1, USUAL_MODE);
    files_prepared = r == 0;
    return r < 0 ? error_errno(err, r, "make " GUEST_FILES) : 0;
}

int guest_files_store(const struct agent_configure *c, struct error *err)
{
    if (!files_prepared)
        mkdir(GUEST_FILES, 0755);
    _cleanup_free_ char *id = xasprintf("%s\n", c->machine_id);
    int r = write_file(GUEST_MACHINE_ID, id, strlen(id), USUAL_MODE);
    if (r < 0)
        return error_errno(err, r, "write " GUEST_FILES);
    for (size_t i = 0; i < c->n_files; i++) {
        r = write_numbered(i, c->files[i].content, c->files[i].len, (mode_t)c->files[i].mode);
        if (r < 0)
            return error_errno(err, r, "write %s", c->files[i].path);
    }
    files_stored = true;
    return 0;
}

/* What the workload has written there stays. */
static int edit_hosts(size_t file, const struct agent_names *n)
{
    _cleanup_buf_ struct buf out = BUF_INIT(2 * HOSTS_MAX);
    _cleanup_free_ char *path = xasprintf(GUEST_FILES "/%zu", file), *text = NULL;
    int r = file_read(AT_FDCWD, path, HOSTS_MAX, &text);
    if (r == 0)
        r = hosts_text_edit(text, n->gone, n->more, &out);
    return r < 0 ? r : write_numbered(file, out.data ? out.data : "", out.len, USUAL_MODE);
}

int guest_names_change(const struct guest *g, const struct agent_names *n, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < g->n_files; i++) {
        if (strcmp(g->files[i].path, "/etc/hosts") == 0)
            r = edit_hosts(i, n);
        else if (strcmp(g->files[i].path, "/etc/resolv.conf") == 0 && *n->resolv_conf)
            r = write_numbered(i, n->resolv_conf, strlen(n->resolv_conf), USUAL_MODE);
        if (r < 0)
            return error_errno(err, r, "write %s", g->files[i].path);
    }
    return 0;
}
