/*
 * Opens a disk of the store as a machine would, and runs a program with it:
 *
 *   disk_probe IMAGE PROGRAM [ARGUMENT...]     @DISK@ becomes the disk, in QEMU's json: form
 *
 * The program has nothing but the descriptors.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "service/image/disk.h"

static const char *path_of(void *context, size_t part, bool map)
{
    static struct fd_path path;
    const struct disk_parts *p = context;
    path = fd_path(map ? p->parts[part].map_fd : p->parts[part].pack_fd);
    return path.text;
}

static int run(char **argv, struct error *err)
{
    struct store *s = NULL;
    _cleanup_image_ struct image *image = NULL;
    struct disk_parts parts;
    int r = store_open(NULL, &s, err);
    if (r < 0 || (r = image_find(s, argv[0], &image, err)) < 0 ||
        (r = disk_open(s, image->id, &parts, err)) < 0)
        return r;
    for (size_t i = 0; i < parts.n; i++)
        if (fd_set_cloexec(parts.parts[i].pack_fd, false) < 0 ||
            (parts.parts[i].map_fd >= 0 && fd_set_cloexec(parts.parts[i].map_fd, false) < 0))
            return error_errno(err, errno, "hand the disk over");
    char *json = disk_blockdev(&parts, NULL, path_of, &parts);
    char *disk = xasprintf("json:%s", json);
    for (size_t i = 2; argv[i]; i++)
        if (strcmp(argv[i], "@DISK@") == 0)
            argv[i] = disk;
    store_close(s);
    fprintf(stderr, "parts: %zu\n", parts.n);
    execvp(argv[1], argv + 1);
    return error_errno(err, errno, "run %s", argv[1]);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (argc < 3)
        return 2;
    (void)!run(argv + 1, &err);
    fprintf(stderr, "disk_probe: %s\n", err.msg);
    return 1;
}
