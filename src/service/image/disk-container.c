/*
 * KubeVirt's containerDisk: an application image that is only there to carry a disk, which is a
 * file in its directory /disk. The layers are looked at from the top, as mounted for a container;
 * the file is opened beneath its layer, so no link leads out of it. What it is, is found out like
 * that of any file from outside.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/image/disk.h"

static bool is_disk_name(const char *name)
{
    static const char *const endings[] = {".qcow2", ".img", ".raw"};
    size_t len = strlen(name);
    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        size_t n = strlen(endings[i]);
        if (len > n && strcmp(name + len - n, endings[i]) == 0)
            return true;
    }
    return false;
}

/* *ret_fd stays -EBADF when this layer has no disk. */
static int look_in(int dir, int *ret_fd, struct error *err)
{
    DIR *stream = fdopendir(dir);
    struct dirent *e;
    int r = 0;
    if (!stream) {
        close_fd(dir);
        return error_errno(err, errno, "read /disk");
    }
    while (r == 0 && (e = readdir(stream))) {
        struct stat st;
        if (!is_disk_name(e->d_name))
            continue;
        _cleanup_close_ int fd =
            path_open_beneath(dirfd(stream), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (*ret_fd >= 0)
            r = error_set(err, ERROR_CORRUPT, EBADMSG, "more than one disk is in /disk");
        else
            *ret_fd = TAKE_FD(fd);
    }
    closedir(stream);
    return r;
}

int disk_open_container(struct store *s, const struct image *image, int *ret_fd, struct error *err)
{
    _cleanup_strv_ char **mounts = NULL;
    _cleanup_close_ int found = -EBADF;
    int r = image_need_kind(image, IMAGE_APPLICATION, err);
    if (r < 0 || (r = image_mount_layers(s, image, &mounts, err)) < 0)
        return r;
    for (size_t i = strv_len(mounts); r == 0 && found < 0 && i > 0; i--) {
        _cleanup_close_ int top = open(mounts[i - 1], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (top < 0)
            return error_errno(err, errno, "open %s", mounts[i - 1]);
        int dir = path_open_beneath(top, "disk", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        r = dir < 0 ? 0 : look_in(dir, &found, err);
    }
    if (r == 0 && found < 0)
        r = error_set(err, ERROR_NOT_FOUND, ENOENT,
                      "image %.200s carries no disk: there is no /disk/*.qcow2, *.img or *.raw",
                      image->names[0] ? image->names[0] : image->id);
    if (r == 0)
        *ret_fd = TAKE_FD(found);
    return r;
}
