/*
 * Half-made things. Each command that makes or removes images has a directory ROOT/tmp/PID-RANDOM
 * while it does, held by a lock on the directory itself. Whoever finds one that nobody holds knows
 * that its owner was killed: repair.c then removes it and looks for files without rows.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/text.h"
#include "service/image/internal.h"

int image_open_dir(const struct store *s, const char *below, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, below);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, "open %s", path) : fd;
}

int image_work_begin(struct store *s, struct image_work *ret, struct error *err)
{
    char random[17];
    _cleanup_close_ int tmp = image_open_dir(s, "tmp", err);
    if (tmp < 0)
        return tmp;
    random_hex(random, 8);
    _cleanup_free_ char *name = xasprintf("%d-%s", (int)getpid(), random);
    if (mkdirat(tmp, name, 0700) < 0)
        return error_errno(err, errno, "create %s/tmp/%s", s->root, name);
    _cleanup_close_ int fd = openat(tmp, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = error_errno(err, errno, "lock %s/tmp/%s", s->root, name);
        unlinkat(tmp, name, AT_REMOVEDIR);
        return r;
    }
    *ret = (struct image_work){.store = s, .name = TAKE_PTR(name), .fd = TAKE_FD(fd)};
    return 0;
}

void image_work_end(struct image_work *w)
{
    if (w->name) {
        _cleanup_close_ int tmp = image_open_dir(w->store, "tmp", NULL);
        if (tmp >= 0)
            (void)!path_remove_tree(tmp, w->name);
    }
    w->fd = close_fd(w->fd);
    free(w->name);
    w->name = NULL;
}

int image_work_unnamed(struct image_work *w, struct error *err)
{
    int fd = openat(w->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    fd = openat(w->fd, "unnamed", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, "create a temporary file in %s/tmp", w->store->root);
    unlinkat(w->fd, "unnamed", 0);
    return fd;
}
