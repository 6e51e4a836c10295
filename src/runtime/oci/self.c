#include "runtime/oci/self.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/program.h"
#include "kernel/exe.h"

#define SELF  "/proc/self/exe"
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/* Tells the second execution which file it is, so that it finds its helpers beside it, and that it
 * is the second. */
#define PROGRAM_VARIABLE "PROA_OCI_PROGRAM"

extern char **environ;

static char **arguments;
static bool second;

/* The environment is the caller's: what it says is believed only of the very file that runs, which
 * a mount of it still is, or of a copy that only this program makes. */
static bool is_own_file(const char *path)
{
    struct stat named, own;
    _cleanup_close_ int self = open(SELF, O_RDONLY | O_CLOEXEC);
    if (self < 0 || fstat(self, &own) < 0 || stat(path, &named) < 0)
        return false;
    return (own.st_ino == named.st_ino && own.st_dev == named.st_dev) ||
           fcntl(self, F_GET_SEALS) == SEALS;
}

void oci_self_init(char **argv)
{
    const char *path = getenv(PROGRAM_VARIABLE);
    arguments = argv;
    if (!path)
        return;
    second = true;
    if (is_own_file(path)) {
        _cleanup_free_ char *directory = xstrdup(path);
        char *slash = strrchr(directory, '/');
        *(slash ? slash : directory) = '\0';
        program_set_directory(directory);
    }
    unsetenv(PROGRAM_VARIABLE);
}

static bool is_protected(int self)
{
    struct statvfs st;
    int seals = fcntl(self, F_GET_SEALS);
    return (seals >= 0 && (seals & SEALS) == SEALS) ||
           (fstatvfs(self, &st) == 0 && (st.f_flag & ST_RDONLY));
}

static int sealed_copy(int self)
{
    _cleanup_close_ int fd = memfd_create("proa-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = fd_copy(self, fd);
    if (r < 0)
        return r;
    return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : TAKE_FD(fd);
}

static int set_variable(struct error *err)
{
    char path[4096];
    ssize_t n = readlink(SELF, path, sizeof(path) - 1);
    if (n <= 0 || n >= (ssize_t)sizeof(path) - 1)
        return error_errno(err, n < 0 ? errno : ENAMETOOLONG, "read " SELF);
    path[n] = '\0';
    return setenv(PROGRAM_VARIABLE, path, 1) < 0 ? error_errno(err, errno, "set the environment")
                                                 : 0;
}

int oci_self_protect(struct error *err)
{
    _cleanup_close_ int self = open(SELF, O_RDONLY | O_CLOEXEC);
    if (self < 0)
        return error_errno(err, errno, "open " SELF);
    if (is_protected(self))
        return 0;
    if (second)
        return error_set(err, ERROR_SYSTEM, EIO, "this program could not be made read-only");
    _cleanup_close_ int copy = exe_open_readonly(SELF);
    if (copy < 0)
        copy = sealed_copy(self);
    if (copy < 0)
        return error_errno(err, copy, "make this program read-only");
    int r = set_variable(err);
    if (r < 0)
        return r;
    fexecve(copy, arguments, environ);
    return error_errno(err, errno, "execute " SELF " again");
}
