/*
 * Room that a full disk has left. An overlay makes a directory each time it is mounted; where there
 * is no room for one the kernel mounts it read-only, and then nobody could remove anything any
 * more. So a file of the writable disk, which no workload sees, holds some room from the first
 * mount on. At a mount that finds the disk full it gives a part of it up, and it grows again when
 * it can.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest/guest.h"

#define ROOM_FILE   "/disk/room"
#define ROOM_BYTES  ((off_t)256 << 10)
#define GIVEN_BYTES ((off_t)16 << 10) /* at once: more than a mount takes */

void guest_room_keep(void)
{
    struct statvfs disk;
    struct stat st;
    _cleanup_close_ int fd = open(ROOM_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &disk) < 0)
        return;
    bool full = disk.f_bavail * disk.f_frsize < (unsigned long)GIVEN_BYTES;
    if (!full && st.st_size < ROOM_BYTES)
        (void)!posix_fallocate(fd, 0, ROOM_BYTES);
    if (full && st.st_size >= GIVEN_BYTES && ftruncate(fd, st.st_size - GIVEN_BYTES) == 0)
        (void)!syncfs(fd); /* only then it is free */
}
