/* The initramfs: guest as /init, the modules that it loads in order, and a console for the kernel.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "runtime/vm/prepare/prepare.h"

static int add_file(struct buf *cpio, const char *path, const char *name, unsigned int mode,
                    struct error *err)
{
    _cleanup_buf_ struct buf file = BUF_INIT(CPIO_MAX_BYTES);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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

int initramfs_write(const char *guest, const char *dir, const char *stamp, struct error *err)
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
