/*
 * /dev: the nodes that every program expects, those of the configuration, and the terminal.
 *
 * Everything is made relative to a descriptor of /dev: the tmpfs that was mounted there, or the
 * root's own directory when it is no symlink. A /dev that is a bind of the caller's is left alone.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/terminal.h"
#include "kernel/mount.h"
#include "runtime/container/internal.h"

static const struct oci_device default_devices[] = {
    {(char *)"/dev/null", 'c', 1, 3, 0666, 0, 0},    {(char *)"/dev/zero", 'c', 1, 5, 0666, 0, 0},
    {(char *)"/dev/full", 'c', 1, 7, 0666, 0, 0},    {(char *)"/dev/random", 'c', 1, 8, 0666, 0, 0},
    {(char *)"/dev/urandom", 'c', 1, 9, 0666, 0, 0}, {(char *)"/dev/tty", 'c', 5, 0, 0666, 0, 0},
};

/* What may be opened whatever the configuration says: the nodes above, terminals, and making (not
 * opening) any node. */
static const struct device_rule default_rules[] = {
    {true, 'c', -1, -1, false, false, true}, {true, 'b', -1, -1, false, false, true},
    {true, 'c', 1, 3, true, true, true},     {true, 'c', 1, 5, true, true, true},
    {true, 'c', 1, 7, true, true, true},     {true, 'c', 1, 8, true, true, true},
    {true, 'c', 1, 9, true, true, true},     {true, 'c', 5, 0, true, true, true},
    {true, 'c', 5, 1, true, true, true},     {true, 'c', 5, 2, true, true, true},
    {true, 'c', 136, -1, true, true, true},
};

struct device_rule *container_device_rules(const struct oci_config *config, size_t *ret_n)
{
    const struct oci_resources *res = &config->linux_.resources;
    struct device_rule *rules = xcalloc(res->n_devices + ARRAY_SIZE(default_rules), sizeof(*rules));
    for (size_t i = 0; i < res->n_devices; i++) {
        const struct oci_device_rule *d = &res->devices[i];
        rules[i] = (struct device_rule){d->allow, d->type,  d->major, d->minor,
                                        d->read,  d->write, d->mknod};
    }
    *ret_n = res->n_devices;
    if (device_filter_is_open(rules, res->n_devices))
        return rules;
    memcpy(rules + res->n_devices, default_rules, sizeof(default_rules));
    *ret_n += ARRAY_SIZE(default_rules);
    return rules;
}

static mode_t node_type(char type)
{
    return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

/* In a user namespace nodes cannot be made: the host's own is bound, after looking at what it is.
 */
static int bind_node(int dir, const char *name, const struct oci_device *d)
{
    struct stat st;
    _cleanup_close_ int node = mount_clone(AT_FDCWD, d->path, false);
    if (node < 0)
        return node;
    if (fstat(node, &st) < 0 || (st.st_mode & S_IFMT) != node_type(d->type) ||
        st.st_rdev != makedev((unsigned int)d->major, (unsigned int)d->minor))
        return -ENODEV;
    _cleanup_close_ int target =
        openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
    return target < 0 ? -errno : mount_attach(node, target);
}

static int make_node(int dir, const char *name, const struct oci_device *d)
{
    mode_t mode = node_type(d->type) | (mode_t)d->mode;
    dev_t dev = makedev((unsigned int)d->major, (unsigned int)d->minor);
    for (int tries = 0; tries < 2; tries++) {
        if (mknodat(dir, name, mode, dev) == 0) {
            bool owned = d->uid || d->gid;
            return owned && fchownat(dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno
                                                                                         : 0;
        }
        if (errno == EPERM)
            return bind_node(dir, name, d);
        /* What an image has there is not trusted to be that device. */
        if (errno != EEXIST || unlinkat(dir, name, 0) < 0)
            return -errno;
    }
    return -EEXIST;
}

/* A device of the configuration, anywhere in the root. */
static int configured_device(struct container *c, const struct oci_device *d, struct error *err)
{
    _cleanup_free_ char *path = path_normalize(d->path);
    char *name = strrchr(path, '/');
    *name++ = '\0';
    if (!*name)
        return error_invalid(err, "device %s: no name", d->path);
    _cleanup_close_ int dir = -EBADF;
    int r = container_target_strict(c->root, *path ? path : "/", &dir, err);
    if (r < 0)
        return r;
    r = make_node(dir, name, d);
    return r < 0 ? error_errno(err, r, "make the device %s", d->path) : 0;
}

static int make_links(int dev)
{
    static const struct {
        const char *name, *target;
    } links[] = {{"fd", "/proc/self/fd"},
                 {"stdin", "/proc/self/fd/0"},
                 {"stdout", "/proc/self/fd/1"},
                 {"stderr", "/proc/self/fd/2"},
                 {"ptmx", "pts/ptmx"}};
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
            return -errno;
    return 0;
}

static bool dev_is_bound(const struct container *c)
{
    for (size_t i = 0; i < c->config->n_mounts; i++) {
        const struct oci_mount *m = &c->config->mounts[i];
        _cleanup_free_ char *path = path_normalize(m->destination);
        if (strcmp(path, "/dev") == 0)
            return !(m->type && strcmp(m->type, "tmpfs") == 0);
    }
    return false;
}

int container_devices(struct container *c, struct error *err)
{
    int r;
    if (dev_is_bound(c))
        return 0;
    if (c->dev < 0 && (r = container_target_strict(c->root, "/dev", &c->dev, err)) < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(default_devices); i++) {
        const struct oci_device *d = &default_devices[i];
        if ((r = make_node(c->dev, d->path + strlen("/dev/"), d)) < 0)
            return error_errno(err, r, "make the device %s", d->path);
    }
    if ((r = make_links(c->dev)) < 0)
        return error_errno(err, r, "make the links in /dev");
    for (size_t i = 0; i < c->config->linux_.n_devices; i++)
        if ((r = configured_device(c, &c->config->linux_.devices[i], err)) < 0)
            return r;
    return 0;
}

int container_terminal(int pts, int *ret_master, int *ret_slave, struct error *err)
{
    int unlock = 0;
    struct stat st;
    _cleanup_close_ int master = openat(pts, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    if (master < 0 || fstat(master, &st) < 0)
        return error_errno(err, errno, "open a terminal");
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
        return error_set(err, ERROR_DENIED, EPERM, "/dev/pts/ptmx is no terminal multiplexer");
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return error_errno(err, errno, "unlock the terminal");
    /* By descriptor: never through a /dev/pts/N that somebody may have replaced. */
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_errno(err, errno, "open the terminal's other side");
    *ret_master = TAKE_FD(master);
    *ret_slave = slave;
    return 0;
}

void container_terminal_size(const struct oci_process *p, struct terminal_size size, int master)
{
    if (p->console_height && p->console_width)
        size = (struct terminal_size){(unsigned short)p->console_height,
                                      (unsigned short)p->console_width};
    if (size.rows && size.columns)
        (void)!terminal_set_size(master, size);
}

static int bind_console(struct container *c)
{
    _cleanup_close_ int node = mount_clone(c->console, "", false);
    if (node < 0)
        return node;
    _cleanup_close_ int target =
        openat(c->dev, "console", O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
    return target < 0 ? -errno : mount_attach(node, target);
}

int container_console(struct container *c, struct error *err)
{
    _cleanup_close_ int master = -EBADF;
    struct channel_message m = {.type = CHANNEL_CONSOLE};
    if (!c->start->terminal)
        return 0;
    if (c->pts < 0)
        return error_invalid(err, "a terminal needs a devpts mount on /dev/pts");
    int r = container_terminal(c->pts, &master, &c->console, err);
    if (r < 0)
        return r;
    container_terminal_size(&c->config->process, c->start->size, master);
    if (c->dev >= 0 && (r = bind_console(c)) < 0)
        return error_errno(err, r, "make /dev/console");
    r = channel_send(c->channel, &m, master);
    return r < 0 ? error_errno(err, r, "hand over the terminal") : 0;
}
