/*
 * Loaded into the QEMU of a clone, whose memory is a private mapping of a template's sealed file.
 * What its guest has freed QEMU gives back in two steps: a hole in the file, then its own copies of
 * the pages. The seal refuses the first (it is all clones' memory), and QEMU would stop there. Here
 * the refusal counts as done, and the second step follows: the pages are the template's again.
 *
 * No other file of QEMU's is sealed, so for any other this is fallocate(2) as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    long r = syscall(SYS_fallocate, fd, mode, offset, len);
    if (r < 0 && errno == EPERM && (mode & FALLOC_FL_PUNCH_HOLE))
        return 0;
    return (int)r;
}
