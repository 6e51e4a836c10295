#include "kernel/exe.h"

#include <fcntl.h>

#include "base/fd.h"
#include "kernel/mount.h"

int exe_open_readonly(const char *path)
{
    _cleanup_close_ int fd = mount_clone(AT_FDCWD, path, false);
    if (fd < 0)
        return fd;
    int r = mount_set(fd, MOUNT_ATTR_RDONLY, 0, false);
    return r < 0 ? r : TAKE_FD(fd);
}
