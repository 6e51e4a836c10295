#include "runtime/vm/kernel.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"

#define NAME_FILE_MAX 300

static const char *const parts[] = {"vmlinux", "initramfs"};

static char *kernels_dir(const char *root)
{
    return path_join(root, "cache/kernel");
}

/* 0 when it is whole. */
static int measure(int dirfd, const char *name, uint64_t *ret_bytes)
{
    struct stat st;
    uint64_t bytes = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_free_ char *path = path_join(name, parts[i]);
        if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            return -ENOENT;
        bytes += (uint64_t)st.st_size;
    }
    *ret_bytes = bytes;
    return 0;
}

/* The first line of a small file; NULL when there is none. */
static char *read_line(int dirfd, const char *path)
{
    char *text = NULL;
    if (file_read(dirfd, path, NAME_FILE_MAX, &text) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* Newer, and Debian's before any other. */
static bool is_better(const struct vm_kernel *a, const struct vm_kernel *b)
{
    return !b || (a->own != b->own ? b->own : strverscmp(a->name, b->name) > 0);
}

static void choose_default(int dirfd, struct vm_kernel *list)
{
    _cleanup_free_ char *chosen = read_line(dirfd, ".default");
    struct vm_kernel *best = NULL;
    for (struct vm_kernel *k = list; k->name; k++) {
        if (chosen && strcmp(k->name, chosen) == 0) {
            k->is_default = true;
            return;
        }
        if (is_better(k, best))
            best = k;
    }
    if (best)
        best->is_default = true;
}

void vm_kernel_list_free(struct vm_kernel *list)
{
    for (struct vm_kernel *k = list; k && k->name; k++) {
        free(k->name);
        free(k->version);
    }
    free(list);
}

static void add_kernel(int dirfd, const char *name, struct vm_kernel *k)
{
    _cleanup_free_ char *version = path_join(name, "version"), *own = path_join(name, "own");
    if (name[0] == '.' || measure(dirfd, name, &k->size_bytes) < 0)
        return;
    k->name = xstrdup(name);
    k->version = read_line(dirfd, version);
    if (!k->version)
        k->version = xstrdup("");
    k->own = faccessat(dirfd, own, F_OK, 0) == 0;
}

int vm_kernel_list(const char *root, struct vm_kernel **ret, struct error *err)
{
    _cleanup_free_ char *dir = kernels_dir(root);
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dirfd < 0 ? -errno : path_list_names(dirfd, &names);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "read %s", dir);
    struct vm_kernel *list = xcalloc(strv_len(names) + 1, sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; names && names[i]; i++) {
        add_kernel(dirfd, names[i], &list[n]);
        n += list[n].name ? 1 : 0;
    }
    choose_default(dirfd, list);
    *ret = list;
    return 0;
}

/* name NULL: the default. */
static int find(const char *root, const char *name, char **ret_kernel, char **ret_initramfs,
                struct error *err)
{
    _cleanup_free_ char *dir = kernels_dir(root);
    struct vm_kernel *list;
    const struct vm_kernel *found = NULL;
    int r = vm_kernel_list(root, &list, err);
    if (r < 0)
        return r;
    for (const struct vm_kernel *k = list; k->name; k++)
        if (name ? strcmp(k->name, name) == 0 : k->is_default)
            found = k;
    if (found) {
        *ret_kernel = xasprintf("%s/%s/vmlinux", dir, found->name);
        *ret_initramfs = xasprintf("%s/%s/initramfs", dir, found->name);
    } else if (name) {
        r = error_set(err, ERROR_NOT_FOUND, ENOENT,
                      "there is no kernel \"%.80s\"; `proa kernel ls` shows those there are", name);
    } else {
        r = error_set(err, ERROR_NOT_FOUND, ENOENT,
                      "no kernel for machines is prepared; run: proa kernel add");
    }
    vm_kernel_list_free(list);
    return r;
}

int vm_kernel_find(const char *root, char **ret_kernel, char **ret_initramfs, struct error *err)
{
    return find(root, NULL, ret_kernel, ret_initramfs, err);
}

int vm_kernel_find_named(const char *root, const char *name, char **ret_kernel,
                         char **ret_initramfs, struct error *err)
{
    return find(root, name, ret_kernel, ret_initramfs, err);
}

static int check_there(const char *root, const char *name, struct error *err)
{
    _cleanup_free_ char *kernel = NULL, *initramfs = NULL;
    return find(root, name, &kernel, &initramfs, err);
}

int vm_kernel_set_default(const char *root, const char *name, struct error *err)
{
    _cleanup_free_ char *dir = kernels_dir(root), *path = path_join(dir, ".default");
    _cleanup_free_ char *line = xasprintf("%s\n", name);
    int r = check_there(root, name, err);
    if (r < 0)
        return r;
    r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0644);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* It disappears in one step, and then its files go. */
int vm_kernel_remove(const char *root, const char *name, struct error *err)
{
    _cleanup_free_ char *dir = kernels_dir(root), *going = xasprintf(".gone.%d", (int)getpid());
    int r = check_there(root, name, err);
    if (r < 0)
        return r;
    _cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0 || renameat(dirfd, name, dirfd, going) < 0)
        return error_errno(err, errno, "remove kernel %s", name);
    _cleanup_free_ char *chosen = read_line(dirfd, ".default");
    if (chosen && strcmp(chosen, name) == 0 && unlinkat(dirfd, ".default", 0) < 0)
        r = -errno;
    int removed = path_remove_tree(dirfd, going);
    r = r < 0 ? r : removed;
    return r < 0 ? error_errno(err, r, "remove kernel %s", name) : 0;
}

static int append(const char *path, int to, struct error *err)
{
    struct stat st;
    _cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0 || fstat(from, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return error_invalid(err, "%s is no initramfs: it is empty, or not a file", path);
    if ((uint64_t)st.st_size > VM_INITRAMFS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is larger than %u MiB", path,
                         (unsigned int)(VM_INITRAMFS_MAX >> 20));
    int r = fd_copy(from, to);
    return r < 0 ? error_errno(err, r, "copy %s", path) : 0;
}

/* The kernel looks for the next archive at a multiple of four. */
static int align(int fd)
{
    static const char zeros[4];
    off_t at = lseek(fd, 0, SEEK_END);
    return at < 0 ? -errno : fd_write_all(fd, zeros, (size_t)((4 - at % 4) % 4));
}

int vm_initramfs_combine(const char *first, const char *then, const char *to, struct error *err)
{
    _cleanup_free_ char *making = xasprintf("%s.making", to);
    _cleanup_close_ int fd =
        open(making, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return error_errno(err, errno, "make %s", making);
    int r = append(first, fd, err);
    if (r == 0 && (r = align(fd)) < 0)
        r = error_errno(err, r, "write %s", making);
    if (r == 0)
        r = append(then, fd, err);
    if (r == 0 && rename(making, to) < 0)
        r = error_errno(err, errno, "make %s", to);
    if (r < 0)
        unlink(making);
    return r;
}
