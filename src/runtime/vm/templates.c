/* All templates of a RUN, for the engine and for a maker that needs room. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/cgroup.h"
#include "runtime/runtime.h"
#include "runtime/vm/template.h"

#define END_WAIT_MS 5000

/* The process that holds dir's lock, as a descriptor; -ESRCH when nobody does. */
static int hold_process(const char *dir)
{
    _cleanup_free_ char *path = path_join(dir, "lock"), *text = NULL;
    uint64_t pid;
    _cleanup_close_ int lock = open(path, O_RDONLY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_SH | LOCK_NB) == 0)
        return -ESRCH;
    if (file_read(AT_FDCWD, path, 32, &text) < 0)
        return -ESRCH;
    text[strcspn(text, "\n")] = '\0';
    if (parse_u64(text, INT32_MAX, &pid) < 0 || pid < 2)
        return -EBUSY; /* it has only just begun */
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0)
        return -ESRCH;
    /* The number may have been used again, until the lock is seen held with the process in hand. */
    if (flock(lock, LOCK_SH | LOCK_NB) == 0) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

/* -EAGAIN: something of it has only just begun, or is not quite gone. */
static int remove_now(const char *dir, struct error *err)
{
    _cleanup_close_ int process = hold_process(dir);
    struct pollfd ended = {process, POLLIN, 0};
    if (process == -EBUSY)
        return -EAGAIN;
    if (process >= 0 && (syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) < 0 ||
                         poll(&ended, 1, END_WAIT_MS) <= 0))
        return error_set(err, ERROR_SYSTEM, EBUSY, "the process of template %s does not end", dir);
    _cleanup_free_ char *name = xasprintf(VM_TEMPLATE_ID_FORMAT, strrchr(dir, '/') + 1);
    _cleanup_free_ char *group = xasprintf(RUNTIME_GROUP_FORMAT, name);
    (void)!cgroup_remove(group, NULL); /* of a maker that was killed */
    int r = path_remove_tree(AT_FDCWD, dir);
    if (r == -ENOTEMPTY) /* a QEMU that dies with its maker made one more file */
        return -EAGAIN;
    return r < 0 ? error_errno(err, r, "remove template %s", dir) : 0;
}

int vm_template_remove(const char *dir, const char *note, struct error *err)
{
    static const struct timespec pause = {0, 10000000};
    int64_t deadline = time_monotonic_ms() + END_WAIT_MS;
    int r;
    while ((r = remove_now(dir, err)) == -EAGAIN && time_monotonic_ms() < deadline)
        nanosleep(&pause, NULL);
    if (r == -EAGAIN)
        return error_set(err, ERROR_CONFLICT, EBUSY, "template %s is being made: try again", dir);
    if (r == 0 && note) {
        _cleanup_free_ char *failed = path_join(dir, "failed");
        r = path_make_dirs(dir, 0700);
        if (r == 0)
            r = file_write_atomic(AT_FDCWD, failed, note, strlen(note), 0600);
        if (r < 0)
            return error_errno(err, r, "write %s", failed);
    }
    return r;
}

/* The names in RUN/templates; none when it is not there. */
static int list_names(const char *run, char **ret_dir, char ***ret, struct error *err)
{
    _cleanup_free_ char *dir = path_join(run, "templates");
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : path_list_names(fd, ret);
    if (r == -ENOENT) {
        *ret = xcalloc(1, sizeof(char *));
        r = 0;
    }
    if (r < 0)
        return error_errno(err, r, "list %s", dir);
    *ret_dir = TAKE_PTR(dir);
    return 0;
}

/* `about` is written when a template is published, and touched when it is used. */
static int find_oldest(const char *top, char *const *names, const char *own, char **ret_dir,
                       size_t *ret_n)
{
    struct stat st;
    struct timespec oldest = {0};
    *ret_n = 0;
    for (size_t i = 0; names[i]; i++) {
        _cleanup_free_ char *dir = path_join(top, names[i]), *about = path_join(dir, "about");
        if (strcmp(dir, own) == 0 || stat(about, &st) < 0)
            continue;
        if ((*ret_n)++ > 0 &&
            (st.st_mtim.tv_sec > oldest.tv_sec ||
             (st.st_mtim.tv_sec == oldest.tv_sec && st.st_mtim.tv_nsec >= oldest.tv_nsec)))
            continue;
        oldest = st.st_mtim;
        free(*ret_dir);
        *ret_dir = TAKE_PTR(dir);
    }
    return *ret_n > 0 ? 0 : -ENOENT;
}

int vm_templates_make_room(const char *run, const char *dir, size_t max, struct error *err)
{
    for (;;) {
        _cleanup_free_ char *top = NULL, *oldest = NULL;
        _cleanup_strv_ char **names = NULL;
        size_t n = 0;
        int r = list_names(run, &top, &names, err);
        if (r < 0 || find_oldest(top, names, dir, &oldest, &n) < 0 || n < max)
            return r;
        r = vm_template_remove(oldest, NULL, err);
        if (r < 0)
            return r;
    }
}

int vm_templates_list(const char *run, char ***ret, struct error *err)
{
    _cleanup_free_ char *top = NULL;
    _cleanup_strv_ char **names = NULL;
    char **lines = xcalloc(1, sizeof(char *));
    int r = list_names(run, &top, &names, err);
    for (size_t i = 0; r == 0 && names[i]; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s/about", top, names[i]), *text = NULL;
        if (file_read(AT_FDCWD, path, 512, &text) < 0)
            continue;
        text[strcspn(text, "\n")] = '\0';
        strv_addf(&lines, "%.12s: %s", names[i], text);
    }
    if (r < 0)
        strv_free(lines);
    else
        *ret = lines;
    return r;
}

int vm_templates_prune(const char *run, char ***done, struct error *err)
{
    _cleanup_free_ char *top = NULL;
    _cleanup_strv_ char **names = NULL;
    int r = list_names(run, &top, &names, err);
    for (size_t i = 0; r == 0 && names[i]; i++) {
        _cleanup_free_ char *dir = path_join(top, names[i]);
        r = vm_template_remove(dir, NULL, err);
        if (r == 0)
            strv_addf(done, "deleted template: %s", names[i]);
    }
    return r;
}
