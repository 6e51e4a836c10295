/*
 * Finding a program as execvp(3) does, but by looking first: an execve() of what is not there makes
 * an address space and takes it apart again, and in a machine that has just begun every step that
 * is done for the first time is slow.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "guest/guest.h"

#define DEFAULT_PATH "/bin:/usr/bin"
#define READ_MAX     ((size_t)8 << 20)

static bool may_be_elsewhere(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ENODEV ||
           error == ETIMEDOUT || error == ESTALE;
}

/* Does not return when it is there and runs. */
static int try_in(const char *dir, char *const *argv)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", *dir ? dir : ".", argv[0]);
    struct stat st;
    if (stat(path, &st) < 0)
        return errno;
    execvp(path, argv);
    return errno;
}

int guest_execute(char *const *argv)
{
    const char *list = getenv("PATH");
    bool denied = false;
    if (!*argv[0] || strchr(argv[0], '/')) {
        execvp(argv[0], argv);
        return errno;
    }
    _cleanup_strv_ char **dirs = strv_split(list ? list : DEFAULT_PATH, ':');
    for (size_t i = 0; dirs[i]; i++) {
        int e = try_in(dirs[i], argv);
        if (!may_be_elsewhere(e))
            return e;
        denied |= e == EACCES;
    }
    return denied ? EACCES : ENOENT;
}

/* Everything that an execve() of it will look at is then in memory. */
static bool read_program(const char *path)
{
    char data[16384];
    size_t all = 0;
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    _cleanup_close_ int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -EBADF;
    (void)!fgetxattr(fd, "security.capability", data, sizeof(data));
    for (ssize_t n; all < READ_MAX && (n = read(fd, data, sizeof(data))) > 0;)
        all += (size_t)n;
    return true;
}

void guest_rehearse(const char *program)
{
    const char *end = strchrnul(program, '\n');
    _cleanup_free_ char *name = xstrndup(program, (size_t)(end - program));
    _cleanup_strv_ char **dirs = strv_split(*end && end[1] ? end + 1 : DEFAULT_PATH, ':');
    if (strchr(name, '/')) {
        read_program(name);
        return;
    }
    for (size_t i = 0; *name && dirs[i]; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", *dirs[i] ? dirs[i] : ".", name);
        if (read_program(path))
            return;
    }
}
