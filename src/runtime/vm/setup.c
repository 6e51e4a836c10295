/* What proa-vm sets up for either kind of machine. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "runtime/runtime.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/sandbox.h"

/* Machines' uids: 2^26 of them from here, above every range that other programs hand out. */
#define UID_BASE 0x70000000u
#define UID_MASK 0x03ffffffu

int vm_listen(const char *run_dir, const char *name, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Through a descriptor, because the directory's path may not fit into an address. */
    _cleanup_close_ int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open %s", run_dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%.64s", fd_path(dir).text, name);
    unlink(address.sun_path);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    int r =
        fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0
            ? -errno
            : 0;
    umask(old);
    if (r < 0)
        return error_errno(err, r, "make %s/%s", run_dir, name);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int vm_open_logs(const struct vm_options *o, struct vm_logs *ret, struct error *err)
{
    const struct {
        const char *folder, *name;
        int *ret;
    } files[] = {{o->run_dir, "timing", &ret->timing_fd},
                 {o->run_dir, RUNTIME_HALTED, &ret->halted_fd},
                 {o->run_dir, RUNTIME_SILENT, &ret->silent_fd},
                 {o->bundle, "console.log", &ret->console_fd}};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = path_join(files[i].folder, files[i].name);
        *files[i].ret = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (*files[i].ret < 0)
            return error_errno(err, errno, "make %s", path);
    }
    return 0;
}

char *vm_find_run(const char *run_dir)
{
    _cleanup_free_ char *instance = realpath(run_dir, NULL);
    char *slash = instance ? strrchr(instance, '/') : NULL;
    if (!slash)
        return NULL;
    *slash = '\0';
    slash = strrchr(instance, '/');
    if (!slash || strcmp(slash, "/instances") != 0)
        return NULL;
    *slash = '\0';
    return TAKE_PTR(instance);
}

char *vm_accelerator_cache(const char *run_dir)
{
    _cleanup_free_ char *run = vm_find_run(run_dir);
    return run ? path_join(run, "accelerator") : NULL;
}

/* Of the subordinate ids of an ordinary user, whose containers have the same: one that few of them
 * use. Without any there is only root of the namespace, who is that user. */
static uid_t subordinate(unsigned long number)
{
    uid_t outside;
    uint32_t users;
    if (process_outside_user(&outside, &users) < 0 || users < 2)
        return 0;
    uint32_t half = users / 2;
    return (uid_t)(users - 1 - number % half);
}

uid_t vm_machine_uid(const char *id)
{
    char head[9];
    snprintf(head, sizeof(head), "%s", id);
    unsigned long number = strtoul(head, NULL, 16);
    return process_is_host_root() ? UID_BASE + ((uid_t)number & UID_MASK) : subordinate(number);
}

int vm_take_terminal(struct error *err)
{
    struct termios t;
    (void)!ioctl(0, TIOCSCTTY, 0);
    if (tcgetattr(0, &t) < 0)
        return error_errno(err, errno, "read the terminal's settings");
    cfmakeraw(&t);
    return tcsetattr(0, TCSANOW, &t) < 0 ? error_errno(err, errno, "set the terminal") : 0;
}

int vm_finish_sandbox(uid_t uid, struct error *err)
{
    int r = vm_drop_root(uid, err);
    /* After the change of ids, which resets both. */
    if (r == 0 && (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0))
        r = error_errno(err, errno, "finish proa-vm's sandbox");
    return r < 0 ? r : vm_confine_self(err);
}

int vm_take_taps(const struct vm_options *o, const struct bundle *b, int *ret_fds,
                 struct error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++) {
        bool has = i < b->n_networks && *b->networks[i].mac;
        ret_fds[i] = has && n < o->n_taps ? o->tap_fds[n] : -EBADF;
        n += has;
    }
    return o->n_taps == n
               ? 0
               : error_invalid(err, "the machine has %zu networks but %zu taps were given", n,
                               o->n_taps);
}

int vm_take_cards(const struct vm_options *o, const struct bundle *b, struct vm_qemu *q,
                  struct error *err)
{
    if (o->n_taps < b->n_networks)
        return error_invalid(err, "the machine has %zu networks but %zu taps were given",
                             b->n_networks, o->n_taps);
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        q->tap_fds[i] = i < o->n_taps ? o->tap_fds[i] : -EBADF;
    q->n_cards = o->n_taps;
    return 0;
}

static int read_shape(int fd, struct vm_shape *ret, struct error *err)
{
    char head[VM_SHAPE_BYTES];
    ssize_t n = fd_read_full(fd, head, sizeof(head));
    if (n < 0)
        return error_errno(err, (int)n, "read the machine's memory");
    if (vm_shape_is(head, (size_t)n))
        return vm_shape_read(head, (size_t)n, ret, err);
    return lseek(fd, 0, SEEK_SET) < 0 ? error_errno(err, errno, "read the machine's memory") : 0;
}

int vm_open_memory(const char *path, int *ret_fd, struct vm_shape *ret_shape, struct error *err)
{
    *ret_fd = -EBADF;
    if (!path)
        return 0;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "open %s", path);
    if (unlink(path) < 0)
        return error_errno(err, errno, "remove %s", path);
    int r = read_shape(fd, ret_shape, err);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}
