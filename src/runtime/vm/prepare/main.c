/*
 * proa-kernel --out DIR [--package FILE.deb]
 *
 * Makes DIR/VERSION/ from Debian's cloud kernel, without installing it: vmlinux, modules/, and an
 * initramfs of guest (found beside this program) and the modules. Everything is made in a
 * temporary directory and renamed, so that a reader sees a whole version or none. When VERSION is
 * there and guest has not changed, nothing is done; when only guest changed, only the initramfs is
 * made again. Prints the version's directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/vm/prepare/prepare.h"

#define META_PACKAGE "linux-image-cloud-amd64"

static const struct module_wish wanted_modules[] = {
    {"virtio_mmio", true}, {"virtio_console", true}, {"virtio_blk", true}, {"erofs", true},
    {"overlay", true},     {"virtio_net", true},     {"virtiofs", true},
};

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* The package that the meta package depends on: linux-image-<abi>-cloud-amd64. */
static int find_package(char **ret, struct error *err)
{
    char *const argv[] = {(char *)"apt-cache", (char *)"depends", (char *)META_PACKAGE, NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    int r = process_run("apt-cache", argv, -EBADF, &out, err);
    const char *at = r == 0 && out.data ? strstr(out.data, "Depends: linux-image-") : NULL;
    if (!at)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "Debian's package " META_PACKAGE
                         " is not known here; run: apt-get update");
    at += strlen("Depends: ");
    *ret = xstrndup(at, strcspn(at, " \n"));
    return 0;
}

/* The file that apt would download: its name holds the version. */
static int find_file(const char *package, char **ret, struct error *err)
{
    char *const argv[] = {(char *)"apt-get", (char *)"download", (char *)"--print-uris",
                          (char *)package, NULL};
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    int r = process_run("apt-get", argv, -EBADF, &out, err);
    if (r < 0)
        return r;
    _cleanup_strv_ char **words = strv_split(out.data ? out.data : "", ' ');
    if (strv_len(words) < 2 || !path_is_name(words[1]))
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "apt knows no file of %s", package);
    *ret = xstrdup(words[1]);
    return 0;
}

/* "6.1.192-2" from "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb". */
static int version_of_file(const char *file, char **ret, struct error *err)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    const char *from = strchr(name, '_');
    size_t len = from ? strcspn(from + 1, "_") : 0;
    _cleanup_free_ char *version = xstrndup(len ? from + 1 : "", len);
    if (!path_is_name(version) || version[0] == '.')
        return error_invalid(err, "%s is not named as a Debian package is", name);
    *ret = TAKE_PTR(version);
    return 0;
}

static int download(const char *package, const char *dir, struct error *err)
{
    char *const argv[] = {(char *)"apt-get", (char *)"-q", (char *)"download", (char *)package,
                          NULL};
    if (chdir(dir) < 0)
        return error_errno(err, errno, "enter %s", dir);
    int r = process_run("apt-get", argv, -EBADF, NULL, err);
    return r < 0 ? error_prefix(err, "download %s", package) : 0;
}

static int find_one(const char *dir, const char *prefix, char **ret, struct error *err)
{
    _cleanup_(cleanup_dir) DIR *d = opendir(dir);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            *ret = path_join(dir, entry->d_name);
            return 0;
        }
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "the package has no %s* in %s", prefix, dir);
}

static int unpack_package(const char *deb, const char *tmp, const char *to, struct error *err)
{
    _cleanup_free_ char *tree = path_join(tmp, "tree"), *boot = path_join(tree, "boot"),
                        *lib = path_join(tree, "lib/modules"), *vmlinux = path_join(to, "vmlinux"),
                        *modules = path_join(to, "modules");
    _cleanup_free_ char *image = NULL, *module_tree = NULL;
    char *const argv[] = {(char *)"dpkg-deb", (char *)"-x", (char *)deb, tree, NULL};
    int r = process_run("dpkg-deb", argv, -EBADF, NULL, err);
    if (r == 0)
        r = find_one(boot, "vmlinuz-", &image, err);
    if (r == 0)
        r = find_one(lib, "", &module_tree, err);
    if (r == 0 && (mkdir(to, 0755) < 0 || mkdir(modules, 0755) < 0))
        r = error_errno(err, errno, "make %s", to);
    if (r == 0)
        r = kernel_extract(image, vmlinux, err);
    if (r == 0)
        r = modules_collect(module_tree, wanted_modules, ARRAY_SIZE(wanted_modules), modules, err);
    return r;
}

static int add_file(struct buf *cpio, const char *path, const char *name, unsigned int mode,
                    struct error *err)
{
    _cleanup_buf_ struct buf file = BUF_INIT(CPIO_MAX_BYTES);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &file);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    return cpio_add(cpio, name, S_IFREG | mode, 0, file.data, file.len, err);
}

static int add_modules(struct buf *cpio, const char *dir, struct error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort), r = 0;
    if (n < 0)
        return error_errno(err, errno, "read %s", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0 && entries[i]->d_name[0] != '.') {
            _cleanup_free_ char *path = path_join(dir, entries[i]->d_name);
            _cleanup_free_ char *name = path_join("modules", entries[i]->d_name);
            r = add_file(cpio, path, name, 0644, err);
        }
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int write_initramfs(const char *guest, const char *dir, const char *stamp, struct error *err)
{
    static const char *const dirs[] = {"dev", "proc", "sys", "run", "modules"};
    _cleanup_buf_ struct buf cpio = BUF_INIT(CPIO_MAX_BYTES);
    _cleanup_free_ char *modules = path_join(dir, "modules"), *path = path_join(dir, "initramfs"),
                        *stamp_path = path_join(dir, "guest");
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++)
        r = cpio_add(&cpio, dirs[i], S_IFDIR | 0755, 0, NULL, 0, err);
    if (r == 0)
        r = cpio_add(&cpio, "dev/console", S_IFCHR | 0600, (5u << 8) | 1, NULL, 0, err);
    if (r == 0)
        r = add_file(&cpio, guest, "init", 0755, err);
    if (r == 0)
        r = add_modules(&cpio, modules, err);
    if (r == 0)
        r = cpio_end(&cpio, err);
    if (r < 0)
        return r;
    r = file_write_atomic(AT_FDCWD, path, cpio.data, cpio.len, 0644);
    if (r == 0)
        r = file_write_atomic(AT_FDCWD, stamp_path, stamp, strlen(stamp), 0644);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int guest_stamp(const char *guest, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf file = BUF_INIT(CPIO_MAX_BYTES);
    _cleanup_close_ int fd = open(guest, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &file);
    if (r < 0)
        return error_errno(err, r, "read %s", guest);
    *ret = xasprintf("%016llx\n", (unsigned long long)fingerprint(file.data, file.len));
    return 0;
}

/* deb may be NULL: then package is downloaded. */
static int make_version(const char *out, const char *version, const char *package, const char *deb,
                        const char *guest, const char *stamp, struct error *err)
{
    _cleanup_free_ char *tmp = xasprintf("%s/.making.%d", out, (int)getpid());
    _cleanup_free_ char *made = path_join(tmp, "made"), *target = path_join(out, version);
    _cleanup_free_ char *file = xstrdup(deb);
    if (mkdir(tmp, 0755) < 0)
        return error_errno(err, errno, "make %s", tmp);
    int r = file ? 0 : download(package, tmp, err);
    if (r == 0 && !file)
        r = find_one(tmp, "linux-image-", &file, err);
    if (r == 0)
        r = unpack_package(file, tmp, made, err);
    if (r == 0)
        r = write_initramfs(guest, made, stamp, err);
    if (r == 0 && rename(made, target) < 0)
        r = error_errno(err, errno, "rename to %s", target);
    int removed = path_remove_tree(AT_FDCWD, tmp);
    if (r == 0 && removed < 0)
        r = error_errno(err, removed, "remove %s", tmp);
    return r;
}

static int prepare(const char *out, const char *deb, struct error *err)
{
    _cleanup_free_ char *guest = NULL, *stamp = NULL, *package = NULL, *file = NULL,
                        *version = NULL, *old = NULL;
    int r = program_find("guest", &guest, err);
    if (r == 0)
        r = guest_stamp(guest, &stamp, err);
    if (r == 0 && !deb)
        r = find_package(&package, err);
    if (r == 0 && !deb)
        r = find_file(package, &file, err);
    if (r == 0)
        r = version_of_file(deb ? deb : file, &version, err);
    if (r == 0 && path_make_dirs(out, 0755) < 0)
        r = error_errno(err, errno, "make %s", out);
    if (r < 0)
        return r;
    _cleanup_free_ char *dir = path_join(out, version), *stamp_path = path_join(dir, "guest");
    if (access(dir, F_OK) < 0)
        r = make_version(out, version, package, deb, guest, stamp, err);
    else if (file_read(AT_FDCWD, stamp_path, 64, &old) < 0 || strcmp(old, stamp) != 0)
        r = write_initramfs(guest, dir, stamp, err);
    if (r == 0)
        printf("%s\n", dir);
    return r;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'}, {"package", required_argument, NULL, 'p'}, {0}};
    _cleanup_free_ char *out = NULL, *deb = NULL;
    struct error err = ERROR_INIT;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == '?')
            return 125;
        char *path = realpath(optarg, NULL);
        if (c == 'p' && !path) {
            fprintf(stderr, "proa-kernel: %s: %s\n", optarg, strerror(errno));
            return 125;
        }
        _cleanup_free_ char *cwd = path || *optarg == '/' ? NULL : getcwd(NULL, 0);
        if (!path)
            path = cwd ? path_join(cwd, optarg) : xstrdup(optarg);
        free(c == 'o' ? out : deb);
        *(c == 'o' ? &out : &deb) = path;
    }
    if (!out || optind < argc) {
        fprintf(stderr, "usage: proa-kernel --out DIR [--package FILE.deb]\n");
        return 125;
    }
    if (prepare(out, deb, &err) < 0) {
        fprintf(stderr, "proa-kernel: %s\n", err.msg);
        return error_exit_code(&err);
    }
    return 0;
}
