/*
 * proa-kernel --out DIR [--name NAME] [--replace] [--package FILE.deb | --image FILE [--modules
 * DIR]]
 *
 * Makes DIR/NAME/ (runtime/vm/kernel.h says what is in it) from a kernel: Debian's cloud kernel,
 * downloaded but not installed, a package of the same form, or a file that is one. Everything is
 * made in a temporary directory and renamed, so that a reader sees a whole kernel or none. NAME is
 * the package's version, or what the kernel calls itself. A package that is there already is not
 * made again.
 *
 * The initramfs holds guest (found beside this program): where guest is not the one that an
 * initramfs in DIR was made with, that is made again. Prints the kernel's directory.
 */
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "runtime/vm/prepare/prepare.h"

struct request {
    char *out, *name, *package, *image, *modules; /* owned; paths are absolute */
    bool replace;
};

struct guest {
    char *path, *stamp; /* the stamp changes with the file */
};

static void request_done(struct request *q)
{
    char *fields[] = {q->out, q->name, q->package, q->image, q->modules};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        free(fields[i]);
}

static void guest_done(struct guest *g)
{
    free(g->path);
    free(g->stamp);
}

static int guest_find(struct guest *g, struct error *err)
{
    _cleanup_buf_ struct buf file = BUF_INIT(CPIO_MAX_BYTES);
    int r = program_find("guest", &g->path, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = open(g->path, O_RDONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_read_to_end(fd, &file);
    if (r < 0)
        return error_errno(err, r, "read %s", g->path);
    g->stamp = xasprintf("%016llx\n", (unsigned long long)fingerprint(file.data, file.len));
    return 0;
}

static int check_name(const char *name, struct error *err)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+~_-";
    if (!path_is_name(name) || name[0] == '.' || strlen(name) > 100 ||
        name[strspn(name, allowed)] != '\0')
        return error_invalid(err,
                             "\"%.100s\" cannot be a kernel's name: letters, digits and .+~_- are "
                             "allowed, at most 100",
                             name);
    return 0;
}

/* What the kernel calls itself becomes its name. */
static int take_name(const char *made, char **ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(made, "version"), *version = NULL;
    if (file_read(AT_FDCWD, path, 256, &version) < 0 || !*version)
        return error_invalid(err, "the kernel does not say its version: give it a --name");
    int r = check_name(version, err);
    if (r == 0)
        *ret = TAKE_PTR(version);
    return r;
}

static int put_in_place(struct request *q, const char *made, struct error *err)
{
    int r = q->name ? 0 : take_name(made, &q->name, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *target = path_join(q->out, q->name);
    if (q->replace && (r = path_remove_tree(AT_FDCWD, target)) < 0)
        return error_errno(err, r, "remove %s", target);
    if (rename(made, target) < 0)
        return errno == EEXIST || errno == ENOTEMPTY
                   ? error_set(err, ERROR_CONFLICT, EEXIST,
                               "there is a kernel %s already: remove it (proa kernel rm %s), or "
                               "give another --name",
                               q->name, q->name)
                   : error_errno(err, errno, "rename to %s", target);
    return 0;
}

static int make(struct request *q, const char *download, const struct guest *guest,
                struct error *err)
{
    _cleanup_free_ char *tmp = xasprintf("%s/.making.%d", q->out, (int)getpid());
    _cleanup_free_ char *made = path_join(tmp, "made"), *own = path_join(made, "own");
    _cleanup_free_ char *file = xstrdup(q->package);
    if (mkdir(tmp, 0755) < 0 || mkdir(made, 0755) < 0)
        return error_errno(err, errno, "make %s", tmp);
    int r = download ? package_download(download, tmp, &file, err) : 0;
    struct kernel_source source = {file, q->image, q->modules};
    if (r == 0)
        r = kernel_make(&source, tmp, made, err);
    if (r == 0)
        r = initramfs_write(guest->path, made, guest->stamp, err);
    if (r == 0 && q->image && (r = file_write_atomic(AT_FDCWD, own, "", 0, 0644)) < 0)
        r = error_errno(err, r, "write %s", own);
    if (r == 0)
        r = put_in_place(q, made, err);
    int removed = path_remove_tree(AT_FDCWD, tmp);
    if (r == 0 && removed < 0)
        r = error_errno(err, removed, "remove %s", tmp);
    return r;
}

static int refresh(const char *dir, const struct guest *guest, struct error *err)
{
    _cleanup_free_ char *stamp = path_join(dir, "guest"), *vmlinux = path_join(dir, "vmlinux"),
                        *old = NULL;
    if (access(vmlinux, F_OK) < 0 ||
        (file_read(AT_FDCWD, stamp, 64, &old) == 0 && strcmp(old, guest->stamp) == 0))
        return 0;
    return initramfs_write(guest->path, dir, guest->stamp, err);
}

static int refresh_all(const char *out, const struct guest *guest, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int dirfd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dirfd < 0 ? -errno : path_list_names(dirfd, &names);
    if (r < 0)
        return error_errno(err, r, "read %s", out);
    for (size_t i = 0; names[i] && r == 0; i++) {
        _cleanup_free_ char *dir = path_join(out, names[i]);
        r = names[i][0] == '.' ? 0 : refresh(dir, guest, err);
    }
    return r;
}

static int prepare(struct request *q, struct error *err)
{
    _cleanup_(guest_done) struct guest guest = {0};
    _cleanup_free_ char *download = NULL, *version = NULL;
    int r = guest_find(&guest, err);
    if (r == 0 && !q->package && !q->image)
        r = package_find(&download, &version, err);
    else if (r == 0 && q->package && !q->name)
        r = package_version(q->package, &version, err);
    if (r == 0 && !q->name)
        q->name = TAKE_PTR(version);
    if (r == 0 && q->name)
        r = check_name(q->name, err);
    if (r == 0 && (r = path_make_dirs(q->out, 0755)) < 0)
        r = error_errno(err, r, "make %s", q->out);
    if (r < 0)
        return r;
    _cleanup_free_ char *there = q->name ? path_join(q->out, q->name) : NULL;
    if (q->image || access(there, F_OK) < 0)
        r = make(q, download, &guest, err);
    if (r == 0 && !q->replace)
        r = refresh_all(q->out, &guest, err);
    if (r == 0)
        printf("%s/%s\n", q->out, q->name);
    return r;
}

/* Absolute, because apt wants to be started elsewhere. */
static int take_path(const char *path, bool exists, char **ret, struct error *err)
{
    char *found = realpath(path, NULL);
    if (!found && exists)
        return error_errno(err, errno, "%s", path);
    _cleanup_free_ char *cwd = found || *path == '/' ? NULL : getcwd(NULL, 0);
    free(*ret);
    *ret = found ? found : cwd ? path_join(cwd, path) : xstrdup(path);
    return 0;
}

static int parse_options(int argc, char **argv, struct request *q, struct error *err)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"package", required_argument, NULL, 'p'},
                                            {"image", required_argument, NULL, 'i'},
                                            {"modules", required_argument, NULL, 'm'},
                                            {"replace", no_argument, NULL, 'r'},
                                            {0}};
    int r = 0;
    for (int c; r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char **path = c == 'p' ? &q->package : c == 'i' ? &q->image : &q->modules;
        if (c == '?')
            return -EINVAL;
        if (c == 'r')
            q->replace = true;
        else if (c == 'n')
            xreplace(&q->name, optarg);
        else
            r = take_path(optarg, c != 'o', c == 'o' ? &q->out : path, err);
    }
    if (r == 0 &&
        (!q->out || optind < argc || (q->package && q->image) || (q->modules && !q->image)))
        r = error_invalid(err, "usage: proa-kernel --out DIR [--name NAME] [--replace] "
                               "[--package FILE.deb | --image FILE [--modules DIR]]");
    return r;
}

int main(int argc, char **argv)
{
    _cleanup_(request_done) struct request q = {0};
    struct error err = ERROR_INIT;
    int r = parse_options(argc, argv, &q, &err);
    if (r == 0)
        r = prepare(&q, &err);
    if (r == 0)
        return 0;
    if (err.kind == ERROR_NONE) /* getopt has said it */
        return 125;
    fprintf(stderr, "proa-kernel: %s\n", err.msg);
    return err.kind == ERROR_INVALID ? 125 : error_exit_code(&err);
}
