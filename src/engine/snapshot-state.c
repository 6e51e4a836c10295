/*
 * What a machine that boots a disk keeps beside its disks: UEFI's variables and the TPM's state.
 * Both are small, and what they hold belongs to what is on the disk (boot entries, sealed keys), so
 * a snapshot has a copy, in SNAPSHOT/state/, and they come back when the disk does: before the
 * empty file that a restore or a clone writes to is made (machine_chain). That is done again when
 * it was killed, so the two cannot come apart.
 *
 * A running machine may be writing them: a file is read until it is the same twice. swtpm's folder
 * is its own, and swtpm as little trusted as QEMU is, so nothing in it is followed.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/snapshot-internal.h"

#define VARIABLES "firmware.vars"
#define TPM       "tpm"
#define STATE     "state"

#define FILE_MAX  ((size_t)4 << 20)
#define FILES_MAX 16
#define READS     100

static int read_once(int fd, struct buf *b)
{
    buf_reset(b);
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : fd_read_to_end(fd, b);
}

static int read_still(int fd, struct buf *ret)
{
    _cleanup_buf_ struct buf again = BUF_INIT(FILE_MAX);
    int r = read_once(fd, ret);
    for (int i = 0; r == 0 && i < READS; i++) {
        r = read_once(fd, &again);
        if (r == 0 && again.len == ret->len &&
            (again.len == 0 || memcmp(again.data, ret->data, again.len) == 0))
            return 0;
        struct buf other = *ret;
        *ret = again;
        again = other;
    }
    return r < 0 ? r : -EBUSY;
}

/* Absent is no error: the machine has not run yet. */
static int copy_file(int from, int to, const char *name, struct error *err)
{
    struct stat st;
    _cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
    _cleanup_close_ int fd = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EBADMSG;
    if (r == 0)
        r = read_still(fd, &b);
    if (r == 0)
        r = file_write_atomic(to, name, b.data ? b.data : "", b.len, 0600);
    return r < 0 ? error_errno(err, r, "copy the machine's %s", name) : 0;
}

static int open_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int copy_tpm(int from, int to, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int theirs = open_folder(from, TPM), ours = -EBADF;
    if (theirs == -ENOENT)
        return 0;
    int r = theirs < 0 ? theirs : path_list_names(theirs, &names);
    if (r == 0 && mkdirat(to, TPM, 0700) < 0 && errno != EEXIST)
        r = -errno;
    ours = r < 0 ? -EBADF : open_folder(to, TPM);
    if (r < 0 || ours < 0)
        return error_errno(err, r < 0 ? r : ours, "copy the state of the machine's TPM");
    if (strv_len(names) > FILES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "the state of the machine's TPM is more than "
                         "%d files",
                         FILES_MAX);
    for (size_t i = 0; r == 0 && names[i]; i++)
        if (names[i][0] != '.') /* a lock, or a file of swtpm's that is not whole yet */
            r = copy_file(theirs, ours, names[i], err);
    return r;
}

int state_copy(const char *from, const char *to, struct error *err)
{
    _cleanup_close_ int a = open_folder(AT_FDCWD, from), b = open_folder(AT_FDCWD, to);
    if (a < 0 || b < 0)
        return error_errno(err, a < 0 ? a : b, "open %s", a < 0 ? from : to);
    int r = copy_file(a, b, VARIABLES, err);
    return r < 0 ? r : copy_tpm(a, b, err);
}

int state_keep(const char *bundle, const char *snapshot, struct error *err)
{
    _cleanup_free_ char *to = path_join(snapshot, STATE);
    if (mkdir(to, 0700) < 0)
        return error_errno(err, errno, "make %s", to);
    return state_copy(bundle, to, err);
}

int state_return(const char *snapshot, const char *bundle, struct error *err)
{
    _cleanup_free_ char *from = path_join(snapshot, STATE);
    _cleanup_free_ char *tpm = path_join(bundle, TPM), *vars = path_join(bundle, VARIABLES);
    if (access(from, F_OK) < 0)
        return 0;
    int r = path_remove_tree(AT_FDCWD, tpm);
    if (r == 0 && unlink(vars) < 0 && errno != ENOENT)
        r = -errno;
    return r < 0 ? error_errno(err, r, "put the firmware's state back")
                 : state_copy(from, bundle, err);
}
