/*
 * proa-template --dir RUN/templates/KEY --kernel FILE --initramfs FILE --memory BYTES --cpus N
 *               --layers N [--disk BYTES] [--new-disk] [--networks N] [--cards N]
 *               [--kernel-args TEXT] [--layer FILE]... [--program NAME]
 *
 * Makes a template and keeps it (template.h). Started by a proa-vm that found none and booted; it
 * begins when descriptor 3 is closed at the other end, which is when that machine's workload runs,
 * and works at the lowest priority until it is made. It ends by itself when nobody has wanted the
 * template for IDLE_S, and whenever it is killed.
 */
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/path.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "runtime/runtime.h"
#include "runtime/vm/share.h"
#include "runtime/vm/template-make.h"

#define WAIT_FD  3
#define IDLE_S   3600
#define LOOK_S   60 /* whether the directory is still there, and what it depends on */
#define KEPT_MAX 8  /* templates of one RUN */

struct maker {
    char *dir, *run;
    struct bundle bundle;
    struct vm_shares no_shares;
    struct vm_qemu qemu;
    int layer_fds[VM_DEVICES_MAX]; /* of the image that it is for, if it is for one */
    const char *program;           /* that clones of this image are likely to run, and its PATH */
    int lock_fd, listen_fd;
};

static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    return parse_u64(text, max, ret);
}

static int add_layer(struct bundle *b, const char *path)
{
    if (b->n_layers == VM_DEVICES_MAX)
        return -E2BIG;
    b->layers = xreallocarray(b->layers, b->n_layers + 1, sizeof(*b->layers));
    memset(&b->layers[b->n_layers], 0, sizeof(*b->layers));
    b->layers[b->n_layers++].erofs = xstrdup(path);
    return 0;
}

static int parse_option(struct maker *m, int c)
{
    uint64_t n = 0;
    int r;
    switch (c) {
    case 'd':
        m->dir = xstrdup(optarg);
        return 0;
    case 'k':
        m->bundle.kernel = xstrdup(optarg);
        return 0;
    case 'i':
        m->bundle.initramfs = xstrdup(optarg);
        return 0;
    case 'a':
        m->bundle.kernel_args = xstrdup(optarg);
        return 0;
    case 'N':
        m->qemu.disk_is_new = true;
        return 0;
    case 'P':
        m->program = optarg;
        return 0;
    case 'L':
        return add_layer(&m->bundle, optarg);
    case 'n':
        r = parse_number(optarg, BUNDLE_NETWORKS_MAX, &n);
        m->bundle.n_networks = (size_t)n;
        return r;
    case 'C':
        r = parse_number(optarg, BUNDLE_NETWORKS_MAX, &n);
        m->qemu.n_cards = (size_t)n;
        return r;
    case 'm':
        return parse_number(optarg, INT64_MAX, &m->bundle.memory_bytes);
    case 'D':
        m->bundle.disk = xstrdup("disk"); /* there is one; a template's has no file */
        return parse_number(optarg, INT64_MAX, &m->bundle.disk_bytes);
    case 'c':
        m->bundle.cpus = parse_number(optarg, 255, &n) < 0 ? 0 : (uint32_t)n;
        return 0;
    case 'l':
        m->qemu.layer_slots = parse_number(optarg, VM_DEVICES_MAX, &n) < 0 ? 0 : (size_t)n;
        return 0;
    default:
        return -EINVAL;
    }
}

static int parse_options(int argc, char **argv, struct maker *m)
{
    static const struct option table[] = {
        {"dir", required_argument, NULL, 'd'},         {"kernel", required_argument, NULL, 'k'},
        {"initramfs", required_argument, NULL, 'i'},   {"memory", required_argument, NULL, 'm'},
        {"cpus", required_argument, NULL, 'c'},        {"layers", required_argument, NULL, 'l'},
        {"disk", required_argument, NULL, 'D'},        {"networks", required_argument, NULL, 'n'},
        {"cards", required_argument, NULL, 'C'},       {"new-disk", no_argument, NULL, 'N'},
        {"kernel-args", required_argument, NULL, 'a'}, {"layer", required_argument, NULL, 'L'},
        {"program", required_argument, NULL, 'P'},     {0}};
    int r = 0;
    for (int c; r == 0 && (c = getopt_long(argc, argv, "", table, NULL)) != -1;)
        r = parse_option(m, c);
    bool whole = m->dir && strchr(m->dir, '/') && m->bundle.kernel && m->bundle.initramfs &&
                 m->bundle.cpus && m->bundle.memory_bytes && m->qemu.layer_slots &&
                 m->bundle.n_layers <= m->qemu.layer_slots &&
                 m->bundle.n_networks <= m->qemu.n_cards;
    return r < 0 || !whole || optind < argc ? -EINVAL : 0;
}

/* RUN, from RUN/templates/KEY. */
static char *run_of(const char *dir)
{
    const char *end = dir + strlen(dir);
    for (int i = 0; i < 2; i++)
        do
            end--;
        while (end > dir && *end != '/');
    return xstrndup(dir, (size_t)(end - dir));
}

/* One maker at a time; the lock is of a file that is still there. */
static int take_lock(struct maker *m, struct error *err)
{
    _cleanup_free_ char *path = path_join(m->dir, "lock");
    char text[16];
    struct stat st;
    int r = path_make_dirs(m->dir, 0700);
    if (r < 0)
        return error_errno(err, r, "make %s", m->dir);
    m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m->lock_fd < 0 || flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0 || fstat(m->lock_fd, &st) < 0)
        return error_errno(err, errno, "lock %s", path);
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (st.st_nlink == 0 || ftruncate(m->lock_fd, 0) < 0 ||
        pwrite(m->lock_fd, text, (size_t)n, 0) != (ssize_t)n)
        return error_set(err, ERROR_CONFLICT, EBUSY, "%s was removed", path);
    return 0;
}

/* The directory's name must say what will be made: the files may have changed since. */
static int check_key(const struct maker *m, struct error *err)
{
    struct vm_template t = {0};
    int r = vm_template_find(m->run, &m->qemu, m->bundle.n_layers > 0, &t, err);
    if (r == 0 && strcmp(t.dir, m->dir) != 0)
        r = error_set(err, ERROR_CONFLICT, ESTALE, "what template %s depends on has changed",
                      m->dir);
    vm_template_done(&t);
    return r;
}

static int open_memory(const char *name, uint64_t bytes, int *ret, struct error *err)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return error_errno(err, errno, "make the template's memory");
    *ret = TAKE_FD(fd);
    return 0;
}

/* Taps that lead nowhere, with the properties of every machine's. */
static int open_taps(struct maker *m, struct error *err)
{
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, errno, "make a network namespace");
    int r = 0;
    for (size_t i = 0; i < m->qemu.n_cards && r == 0; i++) {
        char *mac = m->bundle.networks[i].mac, name[16];
        if (i < m->bundle.n_networks)
            snprintf(mac, sizeof(m->bundle.networks[i].mac), "02:51:0a:00:00:%02x",
                     (unsigned int)i);
        snprintf(name, sizeof(name), "template%u", (unsigned int)i);
        r = tap_create(name, &m->qemu.tap_fds[i], err);
    }
    return r;
}

/* An image's is copied from its shape's. */
static int open_disk(struct maker *m, struct error *err)
{
    _cleanup_free_ char *kernel = xstrdup(m->bundle.kernel);
    int r = open_memory("proa-template-disk", m->bundle.disk_bytes, &m->qemu.disk_fd, err);
    return r < 0 || m->bundle.n_layers > 0
               ? r
               : vm_disk_fill(dirname(kernel), m->bundle.disk_bytes, m->qemu.disk_fd, err);
}

static int open_layers(struct maker *m, struct error *err)
{
    m->qemu.layer_fds = m->layer_fds;
    for (size_t i = 0; i < m->bundle.n_layers; i++) {
        m->layer_fds[i] = open(m->bundle.layers[i].erofs, O_RDONLY | O_CLOEXEC);
        if (m->layer_fds[i] < 0)
            return error_errno(err, errno, "open layer %s", m->bundle.layers[i].erofs);
    }
    return 0;
}

static int prepare(struct maker *m, struct error *err)
{
    _cleanup_free_ char *accelerator = path_join(m->run, "accelerator");
    m->qemu.role = VM_TEMPLATE;
    m->qemu.bundle = &m->bundle;
    m->qemu.shares = &m->no_shares;
    m->qemu.uid = VM_TEMPLATE_UID;
    vm_accelerator(accelerator, &m->qemu.kvm, &m->qemu.tsc_khz);
    int r = open_taps(m, err);
    if (r == 0)
        r = check_key(m, err);
    if (r == 0)
        r = open_memory("proa-template-memory", m->bundle.memory_bytes >> 20 << 20, &m->qemu.ram_fd,
                        err);
    if (r == 0)
        r = open_memory("proa-template-state", 0, &m->qemu.state_fd, err);
    if (r == 0 && m->qemu.disk_is_new)
        r = open_disk(m, err);
    return r < 0 ? r : open_layers(m, err);
}

static int write_about(const struct maker *m, struct error *err)
{
    _cleanup_free_ char *path = path_join(m->dir, "about");
    const int fds[] = {m->qemu.ram_fd, m->qemu.state_fd, m->qemu.disk_fd};
    long long blocks = 0;
    struct stat st;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        blocks += fds[i] >= 0 && fstat(fds[i], &st) == 0 ? st.st_blocks : 0;
    _cleanup_free_ char *line =
        xasprintf("%llu MiB, %u CPU, %zu layers%s, %s, %zu networks; keeps %lld KiB\n",
                  (unsigned long long)m->bundle.memory_bytes >> 20, m->bundle.cpus,
                  m->qemu.layer_slots, m->bundle.n_layers > 0 ? " of one image" : "",
                  m->qemu.disk_is_new ? "new disk"
                  : m->bundle.disk    ? "kept disk"
                                      : "no disk",
                  m->bundle.n_networks, blocks / 2);
    int r = file_write_atomic(AT_FDCWD, path, line, strlen(line), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

/* Last: who can connect gets a template that works. */
static int publish(struct maker *m, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", m->dir);
    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "%s is too long a path", m->dir);
    int r = vm_templates_make_room(m->run, m->dir, KEPT_MAX, err);
    if (r == 0)
        r = write_about(m, err);
    if (r < 0)
        return r;
    unlink(address.sun_path); /* of a process that was killed */
    umask(0177);
    m->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (m->listen_fd < 0 || bind(m->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(m->listen_fd, 128) < 0)
        return error_errno(err, errno, "make %s", address.sun_path);
    return 0;
}

/* The directory: not removed, nor another maker's in its place. */
static bool is_ours(const struct maker *m)
{
    struct stat st;
    return fstat(m->lock_fd, &st) == 0 && st.st_nlink > 0;
}

/* Until nobody has come for a while, or nobody can any more: another QEMU, a kernel or an image
 * that has gone have other names. Each comer gets the same two descriptors and no conversation:
 * nothing here waits for anybody. */
static void keep(const struct maker *m)
{
    const int fds[TEMPLATE_FILES] = {m->qemu.ram_fd, m->qemu.state_fd, m->qemu.disk_fd};
    const size_t n_fds = m->qemu.disk_fd < 0 ? TEMPLATE_DISK : TEMPLATE_FILES;
    _cleanup_free_ char *about = path_join(m->dir, "about");
    struct pollfd p = {m->listen_fd, POLLIN, 0};
    struct error ignored = ERROR_INIT;
    (void)!setpriority(PRIO_PROCESS, 0, 0); /* machines wait for it now */
    for (int idle_s = 0; idle_s < IDLE_S && is_ours(m) && check_key(m, &ignored) == 0;) {
        int n = poll(&p, 1, LOOK_S * 1000);
        if (n < 0 && errno != EINTR)
            return;
        idle_s = n > 0 ? 0 : idle_s + LOOK_S;
        _cleanup_close_ int fd = n > 0 ? accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -EBADF;
        if (fd >= 0 && fd_pass_many(fd, "t", 1, fds, n_fds) == 0)
            (void)!utimensat(AT_FDCWD, about, NULL, AT_SYMLINK_NOFOLLOW);
    }
}

static int make_from_base(struct maker *m, struct error *err)
{
    struct vm_template base = {0};
    int r = vm_template_find(m->run, &m->qemu, false, &base, err);
    if (r == 0)
        r = template_make_image(&m->qemu, &base, m->program, err);
    vm_template_done(&base);
    return r;
}

/* In a control group like that of any machine, which is not needed for what stays. */
static int make(struct maker *m, struct error *err)
{
    _cleanup_(cgroup_done) struct cgroup group = CGROUP_INIT;
    _cleanup_free_ char *path = xasprintf(RUNTIME_GROUP_FORMAT, m->bundle.id);
    int r = vm_group_make(&m->bundle, NULL, 0, m->qemu.kvm, &group, err);
    m->qemu.group = &group;
    if (r == 0)
        r = m->bundle.n_layers > 0 ? make_from_base(m, err) : template_make(&m->qemu, err);
    if (r == 0)
        r = template_try(&m->qemu, err);
    m->qemu.group = NULL;
    (void)!cgroup_remove(path, NULL);
    return r;
}

static int make_and_keep(struct maker *m, struct error *err)
{
    int r = prepare(m, err);
    if (r == 0)
        r = make(m, err);
    if (r == 0)
        r = check_key(m, err);
    for (size_t i = 0; i < m->bundle.n_layers; i++)
        m->layer_fds[i] = close_fd(m->layer_fds[i]); /* an image that is removed is gone */
    if (r == 0)
        r = publish(m, err);
    if (r == 0)
        keep(m);
    return r;
}

/* What failed once would fail at every start: it is noted, unless it was only overtaken. */
static void give_up(const struct maker *m, const struct error *err)
{
    _cleanup_free_ char *path = path_join(m->dir, "failed");
    if (!is_ours(m))
        return;
    if (err->kind == ERROR_CONFLICT)
        (void)!path_remove_tree(AT_FDCWD, m->dir);
    else
        (void)!file_write_atomic(AT_FDCWD, path, err->msg, strlen(err->msg), 0600);
}

int main(int argc, char **argv)
{
    static struct maker m = {.qemu = VM_QEMU_INIT};
    struct error err = ERROR_INIT;
    char byte;
    bundle_init(&m.bundle);
    vm_shares_init(&m.no_shares);
    if (parse_options(argc, argv, &m) < 0) {
        fprintf(
            stderr,
            "usage: proa-template --dir DIR --kernel FILE --initramfs FILE "
            "--memory BYTES --cpus N --layers N [--disk BYTES] [--new-disk] "
            "[--networks N] [--cards N] [--kernel-args TEXT] [--layer FILE]... [--program NAME]\n");
        return 125;
    }
    m.run = run_of(m.dir);
    m.bundle.id = xasprintf(VM_TEMPLATE_ID_FORMAT, strrchr(m.dir, '/') + 1);
    (void)!chdir("/");
    (void)!setpriority(PRIO_PROCESS, 0, 19);
    if (take_lock(&m, &err) < 0)
        return 0; /* another one makes it */
    while (read(WAIT_FD, &byte, 1) < 0 && errno == EINTR)
        ;
    close(WAIT_FD);
    if (make_and_keep(&m, &err) < 0) {
        give_up(&m, &err);
        return error_exit_code(&err);
    }
    if (is_ours(&m))
        (void)!path_remove_tree(AT_FDCWD, m.dir);
    return 0;
}
