/*
 * QEMU's sandbox. It runs in mount, network, IPC, UTS, PID and cgroup namespaces of its own (made
 * by the clone in qemu.c), on a read-only tmpfs that shows /usr read-only, the loader's cache, the
 * kernel and the initramfs, and nothing else of the host: no /dev but what it is given, and a /proc
 * (of its own process only) where its memory comes from a descriptor. Then it has its own uid, no
 * capability, and can gain none; confine.c takes away more.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "kernel/mount.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/sandbox.h"

#define STAGE "/tmp" /* any directory: it is only covered in QEMU's own mount namespace */

const struct vm_preload vm_preloads[VM_PRELOADS] = {{"proa-memory.so", "/memory.so"},
                                                    {"proa-capstone.so", "/capstone.so"},
                                                    {"proa-pmem.so", "/pmem.so"}};

/* Attributes are added: what the host has set on a mount nobody may take off in a user namespace.
 */
static int bind_with(const char *from, const char *to, bool directory, uint64_t attributes,
                     struct error *err)
{
    _cleanup_free_ char *target = xasprintf(STAGE "%s", to);
    int fd = directory ? -1 : open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    int r = directory ? mkdir(target, 0755) : fd;
    close_fd(fd);
    _cleanup_close_ int shown = r < 0 ? -EBADF : mount_clone(AT_FDCWD, from, false);
    _cleanup_close_ int place = r < 0 ? -EBADF : open(target, O_PATH | O_CLOEXEC);
    if (r < 0 || shown < 0 || place < 0)
        return error_errno(err, r >= 0 && shown < 0 ? shown : -errno, "show %s to QEMU", from);
    if ((r = mount_set(shown, attributes, 0, false)) < 0 || (r = mount_attach(shown, place)) < 0)
        return error_errno(err, r, "show %s to QEMU", from);
    return 0;
}

static int bind_readonly(const char *from, const char *to, bool directory, struct error *err)
{
    return bind_with(from, to, directory, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                     err);
}

/* lib, lib64 and bin are links into /usr, or directories where /usr is not merged. */
static int show_top(const char *path, struct error *err)
{
    struct stat st;
    char target[256];
    if (lstat(path, &st) < 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return bind_readonly(path, path, true, err);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return error_errno(err, errno, "read %s", path);
    target[n] = '\0';
    _cleanup_free_ char *link = xasprintf(STAGE "%s", path);
    return symlink(target, link) < 0 ? error_errno(err, errno, "make %s", link) : 0;
}

static int show_kvm(uid_t uid, struct error *err)
{
    struct stat st;
    if (!process_is_host_root()) /* it may make no node: the host's own, which this user can open */
        return mkdir(STAGE "/dev", 0755) < 0
                   ? error_errno(err, errno, "show /dev/kvm to QEMU")
                   : bind_with("/dev/kvm", "/dev/kvm", false, MOUNT_ATTR_NOSUID, err);
    if (stat("/dev/kvm", &st) < 0 || mkdir(STAGE "/dev", 0755) < 0 ||
        mknod(STAGE "/dev/kvm", S_IFCHR | 0600, st.st_rdev) < 0 ||
        chown(STAGE "/dev/kvm", uid, uid) < 0)
        return error_errno(err, errno, "show /dev/kvm to QEMU");
    return 0;
}

static int show_proc(struct error *err)
{
    if (mkdir(STAGE "/proc", 0555) < 0 ||
        mount("proc", STAGE "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "subset=pid,hidepid=invisible") < 0)
        return error_errno(err, errno, "show QEMU its own process");
    return 0;
}

static int build_root(const struct vm_sandbox *s, uid_t uid, struct error *err)
{
    static const char *const tops[] = {"/lib", "/lib64", "/bin"};
    /* Opened before the stage covers what may be below it. */
    struct {
        const char *path, *seen;
    } files[2 + VM_PRELOADS] = {{s->kernel, VM_SANDBOX_KERNEL},
                                {s->initramfs, VM_SANDBOX_INITRAMFS}};
    int fds[ARRAY_SIZE(files)];
    for (size_t i = 0; i < VM_PRELOADS; i++) {
        files[2 + i].path = s->preloads[i];
        files[2 + i].seen = vm_preloads[i].seen;
    }
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        fds[i] = files[i].path ? open(files[i].path, O_PATH | O_CLOEXEC) : -EBADF;
        if (files[i].path && fds[i] < 0)
            return error_errno(err, errno, "open %s", files[i].path);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | (s->kvm ? 0 : MS_NODEV), "mode=0755,size=64k") <
            0)
        return error_errno(err, errno, "make QEMU's root");
    int r = bind_readonly("/usr", "/usr", true, err);
    for (size_t i = 0; i < ARRAY_SIZE(tops) && r == 0; i++)
        r = show_top(tops[i], err);
    if (r == 0 && mkdir(STAGE "/etc", 0755) < 0)
        r = error_errno(err, errno, "make QEMU's root");
    if (r == 0)
        r = bind_readonly("/etc/ld.so.cache", "/etc/ld.so.cache", false, err);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (r == 0 && fds[i] >= 0)
            r = bind_readonly(fd_path(fds[i]).text, files[i].seen, false, err);
        close_fd(fds[i]);
    }
    return r == 0 && s->kvm ? show_kvm(uid, err) : r;
}

static int change_root(struct error *err)
{
    if (mount(NULL, STAGE, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0 || chdir(STAGE) < 0 ||
        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return error_errno(err, errno, "enter QEMU's root");
    return 0;
}

int vm_drop_root(uid_t uid, struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    for (unsigned long cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return error_errno(err, errno, "drop capabilities");
    if (uid != 0 &&
        (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        return error_errno(err, errno, "give up root");
    if (syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, errno, "give up root");
    return 0;
}

int vm_sandbox_enter(const struct vm_sandbox *s, uid_t uid, struct error *err)
{
    int r = build_root(s, uid, err);
    if (r == 0 && s->proc)
        r = show_proc(err);
    if (r == 0)
        r = change_root(err);
    if (r == 0)
        r = vm_drop_root(uid, err);
    return r < 0 ? r : vm_confine_qemu(err);
}

int vm_sandbox_enter_state(const char *directory, uid_t uid, struct error *err)
{
    _cleanup_close_ int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open %s", directory);
    const struct vm_sandbox nothing = {0};
    int r = build_root(&nothing, uid, err);
    if (r == 0)
        r = bind_with(fd_path(fd).text, VM_SANDBOX_STATE, true,
                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
    if (r == 0)
        r = change_root(err);
    return r < 0 ? r : vm_drop_root(uid, err);
}
