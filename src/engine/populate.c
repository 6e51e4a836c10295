#include "engine/populate.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"

static bool is_empty(int dir_fd)
{
    DIR *dir = fdopendir(fcntl(dir_fd, F_DUPFD_CLOEXEC, 3));
    struct dirent *entry;
    bool empty = true;
    if (!dir)
        return false;
    rewinddir(dir);
    while (empty && (entry = readdir(dir)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(dir);
    return empty;
}

struct populate {
    int root, volume;
    const char *content; /* "TARGET/." */
};

static int send_content(void *context, int fd, struct error *err)
{
    const struct populate *p = context;
    return tree_send(p->root, p->content, false, fd, err);
}

static int receive_content(void *context, int fd, struct error *err)
{
    const struct populate *p = context;
    return tree_receive(p->volume, "/", fd, err);
}

int populate_volume(struct engine *e, const struct image *image, const char *target,
                    const char *volume_path, struct error *err)
{
    _cleanup_close_ int volume = open(volume_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int root = -EBADF, place = -EBADF, lock = -EBADF;
    struct stat st;
    if (volume < 0)
        return error_errno(err, errno, "open volume %s", volume_path);
    /* Its parent is what is locked: what is in the volume, its instances can lock. */
    lock = openat(volume, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return error_errno(err, errno, "lock volume %s", volume_path);
    if (!is_empty(volume))
        return 0;
    int r = image_open_root(e, image, image->n_layers, NULL, &root, err);
    if (r < 0)
        return r;
    place = path_open_in_root(root, target, O_RDONLY | O_DIRECTORY, 0);
    if (place < 0 || fstat(place, &st) < 0)
        return 0; /* the image has no such directory */
    if (fchown(volume, st.st_uid, st.st_gid) < 0 || fchmod(volume, st.st_mode & 07777) < 0)
        return error_errno(err, errno, "prepare volume %s", volume_path);
    if (is_empty(place))
        return 0;
    _cleanup_free_ char *content = xasprintf("%s/.", target);
    struct populate p = {root, volume, content};
    return pipeline_run(send_content, receive_content, &p, err);
}
