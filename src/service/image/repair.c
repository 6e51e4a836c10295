/*
 * What killed commands left: work directories that nobody holds, and then files of layers and blobs
 * that no row names. The second is looked for only when the first was found (or when a command
 * asks), so the usual cost is reading one empty directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/behind.h"
#include "base/path.h"
#include "base/text.h"
#include "service/image/disk.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

#define YOUNG_S 10 /* made a moment ago: its owner may not have locked it yet */

typedef int (*entry_function)(struct store *s, int dir, const char *name, void *context,
                              struct error *err);

static int for_entries(struct store *s, const char *below, entry_function f, void *context,
                       struct error *err)
{
    int fd = image_open_dir(s, below, err);
    if (fd < 0)
        return fd;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close_fd(fd);
        return error_errno(err, ENOMEM, "read %s/%s", s->root, below);
    }
    struct dirent *e;
    int r = 0;
    while (r == 0 && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = f(s, fd, e->d_name, context, err);
    closedir(dir);
    return r;
}

/* Layers that are removed, each still open: freeing a big file takes long. */
struct going {
    int fds[128];
    size_t n;
};

/* Removes the file inside the caller's transaction when nothing refers to it. */
static int check_layer(struct store *s, int dir, const char *name, void *context, struct error *err)
{
    struct going *going = context;
    char digest[DIGEST_LEN + 1];
    bool known = false;
    bool tree = digest_from_name(name, IMAGE_TREE, digest);
    if (!tree && !digest_from_name(name, ".erofs", digest) &&
        !digest_from_name(name, ".split", digest))
        return 0;
    int r = store_layer_known(s, digest, &known, NULL, err);
    if (r < 0 || known)
        return r;
    (void)image_unmount_layer(s, digest_hex(digest));
    if (tree)
        return 0;
    int fd = going->n < ARRAY_SIZE(going->fds) ? openat(dir, name, O_PATH | O_CLOEXEC | O_NOFOLLOW)
                                               : -EBADF;
    if (fd >= 0)
        going->fds[going->n++] = fd;
    unlinkat(dir, name, 0);
    return 0;
}

/* The same; context: the algorithm. */
static int check_blob(struct store *s, int dir, const char *name, void *context, struct error *err)
{
    const char *algorithm = context;
    bool used = false;
    if (!is_hex(name, strlen(name)) || (strlen(name) != 64 && strlen(name) != 128))
        return 0;
    _cleanup_free_ char *digest = xasprintf("%s:%s", algorithm, name);
    int r = store_blob_used(s, digest, &used, err);
    if (r == 0 && !used)
        unlinkat(dir, name, 0);
    return r;
}

bool image_has_sha512(const struct store *s)
{
    _cleanup_free_ char *path = path_join(s->root, "blobs/sha512");
    return access(path, F_OK) == 0;
}

int image_remove_orphans(struct store *s, struct error *err)
{
    struct going going = {.n = 0};
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = for_entries(s, "layers", check_layer, &going, err);
    if (r == 0)
        r = for_entries(s, "blobs/sha256", check_blob, (void *)"sha256", err);
    if (r == 0 && image_has_sha512(s))
        r = for_entries(s, "blobs/sha512", check_blob, (void *)"sha512", err);
    if (r == 0)
        r = disk_sweep(s, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    behind_close(going.fds, going.n);
    return r < 0 ? r : ended;
}

/* PID-RANDOM that is locked by nobody; others below tmp are not ours. */
static int check_work(struct store *s, int dir, const char *name, void *context, struct error *err)
{
    bool *found = context;
    struct stat st;
    size_t digits = strspn(name, "0123456789");
    (void)s;
    (void)err;
    if (digits == 0 || name[digits] != '-' || strlen(name) != digits + 17 ||
        !is_hex(name + digits + 1, 16))
        return 0;
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
        return 0;
    _cleanup_free_ char *process = xasprintf("/proc/%.*s", (int)digits, name);
    if (access(process, F_OK) == 0 && st.st_ctime + YOUNG_S > time(NULL))
        return 0;
    *found = true;
    (void)!path_remove_tree(dir, name);
    return 0;
}

int image_repair(struct store *s, struct error *err)
{
    bool found = false;
    int r = for_entries(s, "tmp", check_work, &found, err);
    return r == 0 && found ? image_remove_orphans(s, err) : r;
}
