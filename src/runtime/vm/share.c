/*
 * What the configuration binds from the host becomes virtiofs devices with a virtiofsd each, which
 * enters what is opened here once and sees nothing else. A directory has a device of its own. All
 * single files have one together: a directory in memory, which nobody can write to, with each file
 * bound on a name in it, so that what is shared is the file itself, as a container has it.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/mount.h"
#include "kernel/ns.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/share.h"

#define VIRTIOFSD   "/usr/lib/qemu/virtiofsd"
#define SHARE_STAGE "/tmp" /* covered in virtiofsd's own mount namespace only */

/* virtiofsd wants a listening socket: it is bound, connected to, and unlinked again. */
static int make_socket(const char *run_dir, const char *tag, int *ret_listen, int *ret_connected,
                       struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Through a descriptor, because the directory's path may not fit into an address. */
    _cleanup_close_ int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open %s", run_dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%.32s.sock", fd_path(dir).text, tag);
    _cleanup_close_ int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                        connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(address.sun_path);
    if (listening < 0 || connected < 0 ||
        bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, "make a socket for virtiofsd");
    int r = listen(listening, 1) < 0 ||
                    connect(connected, (struct sockaddr *)&address, sizeof(address)) < 0
                ? -errno
                : 0;
    unlink(address.sun_path);
    if (r < 0)
        return error_errno(err, r, "make a socket for virtiofsd");
    *ret_listen = TAKE_FD(listening);
    *ret_connected = TAKE_FD(connected);
    return 0;
}

static int place_descriptors(int listening, int report)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), keep[] = {listening, report};
    /* Its complaints are not the workload's, and a guest can cause any number of them. */
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return -errno;
    int r = fd_set_cloexec(listening, false);
    fd_close_others(keep, ARRAY_SIZE(keep));
    return r;
}

/* While the child is still among our mounts: they can be cloned from nowhere else. */
static int clone_entry(const struct vm_share_entry *e, int *ret)
{
    _cleanup_close_ int tree = mount_clone(e->source_fd, "", true);
    int r = tree < 0 ? tree : 0;
    if (r == 0 && e->readonly)
        r = mount_set(tree, MOUNT_ATTR_RDONLY, 0, true);
    if (r == 0)
        *ret = TAKE_FD(tree);
    return r;
}

static int attach_at_stage(int tree)
{
    _cleanup_close_ int stage = open(SHARE_STAGE, O_PATH | O_CLOEXEC);
    return stage < 0 ? -errno : mount_attach(tree, stage);
}

static int attach_file(int tree, const char *name)
{
    _cleanup_close_ int stage = open(SHARE_STAGE, O_PATH | O_CLOEXEC);
    _cleanup_close_ int place =
        openat(stage, name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return place < 0 ? -errno : mount_attach(tree, place);
}

static int stage_files(const struct vm_share *s, const int *trees, struct error *err)
{
    static char *words[] = {(char *)"mode=755", (char *)"size=64k", NULL};
    const struct mount_options options = {.data = words};
    _cleanup_close_ int folder = -EBADF;
    int r = mount_new("tmpfs", "files", &options, &folder, err);
    if (r < 0)
        return r;
    r = attach_at_stage(folder);
    for (size_t i = 0; i < s->n_entries && r == 0; i++)
        r = attach_file(trees[i], s->entries[i].name);
    if (r == 0)
        r = mount_set(folder, MOUNT_ATTR_RDONLY, 0, false);
    return r < 0 ? error_errno(err, r, "show the host's files to virtiofsd") : 0;
}

/*
 * virtiofsd takes a path, and a path could be exchanged between our open and its own. So it gets a
 * mount namespace in which what was opened is bound on SHARE_STAGE, read-only where it is to be.
 * Its own sandbox then makes that its root. It ends when QEMU closes the socket. Of its
 * capabilities it does not get the one that makes device nodes.
 */
static int enter_share(const struct vm_share *s, struct error *err)
{
    int trees[VM_SHARE_FILES_MAX];
    for (size_t i = 0; i < s->n_entries; i++) {
        int r = clone_entry(&s->entries[i], &trees[i]);
        if (r < 0)
            return error_errno(err, r, "share %s", s->entries[i].path);
    }
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make the mounts of virtiofsd");
    if (s->files)
        return stage_files(s, trees, err);
    int r = attach_at_stage(trees[0]);
    return r < 0 ? error_errno(err, r, "show the volume %s to virtiofsd", s->entries[0].path) : 0;
}

static _noreturn_ void share_child(const struct vm_share *s, const struct cgroup *group,
                                   int listening, int report)
{
    struct error err = ERROR_INIT;
    char socket_option[32];
    char *argv[] = {(char *)"virtiofsd",
                    socket_option,
                    (char *)"-o",
                    (char *)"source=" SHARE_STAGE ",sandbox=namespace,cache=auto,no_posix_lock,"
                            "no_flock,xattr,log_level=err,modcaps=-mknod",
                    (char *)"--rlimit-nofile=0",
                    NULL};
    char *env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
    snprintf(socket_option, sizeof(socket_option), "--fd=%d", listening);
    setsid();
    if (vm_group_join(group, &err) == 0 && enter_share(s, &err) == 0) {
        int r = place_descriptors(listening, report);
        if (r == 0)
            execve(VIRTIOFSD, argv, env);
        error_errno(&err, r < 0 ? r : errno, "execute virtiofsd");
    }
    (void)!write(report, &err, sizeof(err));
    _exit(127);
}

static int start_share(struct vm_share *s, const char *run_dir, const struct cgroup *group,
                       struct error *err)
{
    _cleanup_close_ int listening = -EBADF;
    int report[2];
    struct error e;
    if (access(VIRTIOFSD, X_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "volumes of machines need virtiofsd; install the Debian package "
                         "qemu-system-common");
    int r = make_socket(run_dir, s->tag, &listening, &s->qemu_fd, err);
    if (r < 0)
        return r;
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(err, errno, "start virtiofsd");
    s->pid = ns_clone(0, group->dirs[CGROUP_UNIFIED], NULL);
    if (s->pid == 0)
        share_child(s, group, listening, report[1]);
    close(report[1]);
    ssize_t n = s->pid < 0 ? s->pid : fd_read_full(report[0], &e, sizeof(e));
    close(report[0]);
    if (n == (ssize_t)sizeof(e)) {
        *err = e;
        return -e.code;
    }
    return n != 0 ? error_errno(err, n < 0 ? (int)n : EIO, "start virtiofsd") : 0;
}

int vm_shares_start(struct vm_shares *s, const char *run_dir, const struct cgroup *group,
                    struct error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        int r = start_share(&s->items[i], run_dir, group, err);
        for (size_t j = 0; j < s->items[i].n_entries; j++)
            s->items[i].entries[j].source_fd = close_fd(s->items[i].entries[j].source_fd);
        if (r < 0)
            return r;
    }
    return 0;
}
