/*
 * A kernel, its package and its modules are bytes from outside. What reads them is a child without
 * privilege: the user "nobody", in process, network and IPC namespaces of its own, with bounded
 * time and memory, that by Landlock can only write below its own directory and only read the
 * system's programs besides (dpkg-deb is one of them). It leaves files in its directory; when it
 * has ended, and every process of it, those of the expected names are copied if they are plain
 * files of bounded size, and nothing else of it is looked at.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/unprivileged.h"
#include "runtime/vm/prepare/prepare.h"

#define NOBODY           65534
#define CPU_SECONDS      300
#define MEMORY_MAX_BYTES ((rlim_t)2 << 30)
#define SOURCE           "source"

#define READ_ACCESS                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static const struct module_wish wanted_modules[] = {
    {"virtio_mmio", true}, {"virtio_console", true}, {"virtio_blk", true}, {"erofs", true},
    {"overlay", true},     {"virtio_net", true},     {"virtiofs", true},   {"virtio_balloon", true},
};

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* --- the child --- */

struct job {
    const char *modules; /* "/proc/self/fd/N", or NULL */
    int work, modules_fd, report;
    bool package;
};

static int find_one(const char *dir, const char *prefix, char **ret, struct error *err)
{
    _cleanup_(cleanup_dir) DIR *d = opendir(dir);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            *ret = path_join(dir, entry->d_name);
            return 0;
        }
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "the package has no %s* in %s", prefix,
                     strchr(dir, '/'));
}

static int allow_paths(int ruleset, const void *context)
{
    static const char *const programs[] = {"/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"};
    const struct job *job = context;
    int r = unprivileged_allow_fd(ruleset, job->work, (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1);
    if (r == 0 && job->modules_fd >= 0)
        r = unprivileged_allow_fd(ruleset, job->modules_fd,
                                  LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
    for (size_t i = 0; i < ARRAY_SIZE(programs) && r == 0; i++) {
        struct stat st;
        _cleanup_close_ int fd = open(programs[i], O_PATH | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &st) == 0)
            r = unprivileged_allow_fd(
                ruleset, fd, S_ISDIR(st.st_mode) ? READ_ACCESS : LANDLOCK_ACCESS_FS_READ_FILE);
    }
    _cleanup_close_ int null = open("/dev/null", O_PATH | O_CLOEXEC);
    if (r == 0 && null >= 0)
        r = unprivileged_allow_fd(ruleset, null,
                                  LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    return r;
}

static int confine(const struct job *job, struct error *err)
{
    int keep[] = {job->work, job->report, job->modules_fd};
    fd_close_others(keep, job->modules_fd < 0 ? 2 : 3);
    umask(022);
    int r = fchdir(job->work) < 0 ? -errno : 0;
    if (r == 0)
        r = unprivileged_limit(RLIMIT_CPU, CPU_SECONDS);
    if (r == 0)
        r = unprivileged_limit(RLIMIT_FSIZE, 2 * KERNEL_MAX_BYTES);
    if (r == 0)
        r = unprivileged_limit(RLIMIT_CORE, 0);
    if (r == 0 && !UNPRIVILEGED_SANITIZED)
        r = unprivileged_limit(RLIMIT_AS, MEMORY_MAX_BYTES);
    if (r == 0)
        r = unprivileged_become(NOBODY);
    if (r == 0)
        r = unprivileged_paths(allow_paths, job);
    return r < 0 ? error_errno(err, r, "give up privilege") : 0;
}

static int make_vmlinux(const char *image, struct error *err)
{
    _cleanup_buf_ struct buf in = BUF_INIT(KERNEL_MAX_BYTES), out = BUF_INIT(KERNEL_MAX_BYTES);
    _cleanup_close_ int fd = open(image, O_RDONLY | O_CLOEXEC);
    char version[128];
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &in);
    if (r < 0)
        return error_errno(err, r, "read the kernel");
    r = kernel_read(in.data ? in.data : "", in.len, &out, err);
    if (r < 0)
        return r;
    kernel_version(out.data, out.len, version, sizeof(version));
    r = file_write_atomic(AT_FDCWD, "vmlinux", out.data, out.len, 0644);
    if (r == 0)
        r = file_write_atomic(AT_FDCWD, "version", version, strlen(version), 0644);
    return r < 0 ? error_errno(err, r, "write the kernel") : 0;
}

/* Debian's later packages have their modules below usr/. */
static int unpack_package(char **ret_image, char **ret_modules, struct error *err)
{
    char *const argv[] = {(char *)"dpkg-deb", (char *)"-x", (char *)SOURCE, (char *)"tree", NULL};
    struct error first = ERROR_INIT;
    int r = process_run("dpkg-deb", argv, -EBADF, NULL, err);
    if (r == 0)
        r = find_one("tree/boot", "vmlinuz-", ret_image, err);
    if (r == 0 && find_one("tree/lib/modules", "", ret_modules, &first) < 0)
        r = find_one("tree/usr/lib/modules", "", ret_modules, err);
    return r;
}

static int do_job(const struct job *job, struct error *err)
{
    _cleanup_free_ char *image = NULL, *modules = xstrdup(job->modules);
    int r = confine(job, err);
    if (r == 0 && mkdir("modules", 0755) < 0)
        r = error_errno(err, errno, "make a directory");
    if (r == 0 && job->package)
        r = unpack_package(&image, &modules, err);
    if (r == 0)
        r = make_vmlinux(image ? image : SOURCE, err);
    if (r == 0 && modules)
        r = modules_collect(modules, wanted_modules, ARRAY_SIZE(wanted_modules), "modules", err);
    return r;
}

/* --- the parent --- */

static int start_child(const struct job *job, pid_t *ret, struct error *err)
{
    unsigned long flags = geteuid() == 0 ? CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC : 0;
    pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0)
        return error_errno(err, errno, "start what reads the kernel");
    if (pid == 0) {
        struct error e = ERROR_INIT;
        if (do_job(job, &e) < 0)
            (void)!write(job->report, &e, sizeof(e));
        _exit(e.kind == ERROR_NONE ? 0 : 1);
    }
    *ret = pid;
    return 0;
}

static int run_child(struct job *job, struct error *err)
{
    struct error e = ERROR_INIT;
    int report[2], status = -1;
    pid_t pid = -1;
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start what reads the kernel");
    job->report = report[1];
    int r = start_child(job, &pid, err);
    close(report[1]);
    if (r == 0) {
        ssize_t n = fd_read_full(report[0], &e, sizeof(e));
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (n == (ssize_t)sizeof(e)) {
            *err = e;
            err->msg[sizeof(err->msg) - 1] = '\0';
            r = e.code > 0 ? -e.code : -EIO;
        } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            r = error_set(err, ERROR_LIMIT, EIO,
                          "reading the kernel took more time or memory than it may have");
        }
    }
    close(report[0]);
    return r;
}

static int copy_plain(int from_dir, const char *from, const char *to, size_t most,
                      struct error *err)
{
    struct stat st;
    _cleanup_close_ int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return error_errno(err, errno, "open the %s that was made", from);
    if (!S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size > most)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "what was made as %s is no such file", from);
    _cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int r = out < 0 ? -errno : fd_copy(in, out);
    return r < 0 ? error_errno(err, r, "write %s", to) : 0;
}

/* "NNN-name.ko" */
static bool is_module_name(const char *name)
{
    size_t len = strlen(name);
    return path_is_name(name) && len > 7 && strspn(name, "0123456789") == 3 && name[3] == '-' &&
           strcmp(name + len - 3, ".ko") == 0;
}

static int copy_modules(int work, const char *to, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int dir =
        openat(work, "modules", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = dir < 0 ? -errno : path_list_names(dir, &names);
    if (r < 0)
        return error_errno(err, r, "read the modules that were made");
    if (strv_len(names) > MODULES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u modules", MODULES_MAX);
    for (size_t i = 0; names[i] && r == 0; i++) {
        _cleanup_free_ char *target = xasprintf("%s/modules/%s", to, names[i]);
        r = is_module_name(names[i])
                ? copy_plain(dir, names[i], target, MODULE_MAX_BYTES, err)
                : error_set(err, ERROR_CORRUPT, EBADMSG, "a module has a strange name");
    }
    return r;
}

static int collect_results(int work, const char *to, struct error *err)
{
    _cleanup_free_ char *vmlinux = path_join(to, "vmlinux"), *version = path_join(to, "version"),
                        *modules = path_join(to, "modules");
    if (mkdir(modules, 0755) < 0)
        return error_errno(err, errno, "make %s", modules);
    int r = copy_plain(work, "vmlinux", vmlinux, KERNEL_MAX_BYTES, err);
    if (r == 0)
        r = copy_plain(work, "version", version, 256, err);
    return r < 0 ? r : copy_modules(work, to, err);
}

static int give_source(const char *path, int work, struct error *err)
{
    struct stat st;
    _cleanup_close_ int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return error_invalid(err, "%s is not a file", path);
    if (st.st_size > (off_t)KERNEL_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is larger than %zu MiB", path,
                         KERNEL_MAX_BYTES >> 20);
    _cleanup_close_ int out = openat(work, SOURCE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int r = out < 0 ? -errno : fd_copy(in, out);
    return r < 0 ? error_errno(err, r, "copy %s", path) : 0;
}

int kernel_make(const struct kernel_source *source, const char *tmp, const char *to,
                struct error *err)
{
    struct job job = {.work = -EBADF, .modules_fd = -EBADF, .package = source->package != NULL};
    const char *path = source->package ? source->package : source->image;
    _cleanup_free_ char *dir = path_join(tmp, "work");
    struct fd_path modules;
    if (mkdir(dir, 0700) < 0 || (geteuid() == 0 && chown(dir, NOBODY, NOBODY) < 0))
        return error_errno(err, errno, "make %s", dir);
    _cleanup_close_ int work = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), modules_fd = -EBADF;
    if (work < 0)
        return error_errno(err, errno, "open %s", dir);
    int r = give_source(path, work, err);
    if (r == 0 && source->modules) {
        modules_fd = open(source->modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (modules_fd < 0)
            return error_errno(err, errno, "open %s", source->modules);
        modules = fd_path(modules_fd);
        job.modules = modules.text;
    }
    job.work = work;
    job.modules_fd = modules_fd;
    if (r == 0 && (r = run_child(&job, err)) < 0)
        r = error_prefix(err, "%s", path);
    return r < 0 ? r : collect_results(work, to, err);
}
