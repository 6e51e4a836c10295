/*
 * A container in a user namespace. Its first process is root only there: the files of the host's
 * state directory are closed to it. So the starter, once the ids are mapped, makes the root with
 * its owners shifted and opens the sources of all binds, and sends them as detached mounts; the
 * first process does everything else as usual.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "kernel/caps.h"
#include "kernel/idmap.h"
#include "kernel/mount.h"
#include "kernel/ns.h"
#include "runtime/container/internal.h"

static int write_maps(const struct container *c, pid_t pid, struct error *err)
{
    const struct oci_linux *l = &c->config->linux_;
    _Static_assert(sizeof(struct ns_id_map) == sizeof(struct oci_id_map), "the same three numbers");
    return ns_write_id_maps(pid, (const struct ns_id_map *)l->uid_maps, l->n_uid_maps,
                            (const struct ns_id_map *)l->gid_maps, l->n_gid_maps, err);
}

/* The host's id for the namespace's root. */
static int root_id(const struct oci_id_map *maps, size_t n, uint32_t *ret)
{
    for (size_t i = 0; i < n; i++)
        if (maps[i].container_id == 0) {
            *ret = maps[i].host_id;
            return 0;
        }
    return -EINVAL;
}

/* An overlay makes files of its own (work directory, whiteouts) as whoever mounted it. On a shifted
 * mount that must be an id that has a place there: the namespace's root, with the capabilities of
 * the host's, which a change of the file system ids takes away. */
static int make_root_as(const struct container *c, int user_ns, int *ret_fd, struct error *err)
{
    const struct oci_linux *l = &c->config->linux_;
    uint32_t uid, gid;
    uint64_t effective, permitted, inheritable;
    if (c->bundle.n_layers == 0)
        return container_make_root(c, user_ns, ret_fd, err);
    if (root_id(l->uid_maps, l->n_uid_maps, &uid) < 0 ||
        root_id(l->gid_maps, l->n_gid_maps, &gid) < 0)
        return error_invalid(err, "the id mappings have no root");
    int r = caps_get(&effective, &permitted, &inheritable);
    if (r < 0)
        return error_errno(err, r, "read the capabilities");
    setfsgid(gid);
    setfsuid(uid);
    r = caps_set(permitted, permitted, inheritable);
    r = r < 0 ? error_errno(err, r, "keep the capabilities")
              : container_make_root(c, user_ns, ret_fd, err);
    setfsuid(0);
    setfsgid(0);
    return r;
}

/* A copy of what the host shares would share with the host: what the first process mounts in it
 * would appear outside. Its own mounts are separated by container_root, this one never is. */
static int separate_root(const struct container *c, int root, struct error *err)
{
    bool follow = c->config->linux_.rootfs_propagation & (MS_SLAVE | MS_SHARED);
    const struct mount_options o = {.propagation = (follow ? MS_SLAVE : MS_PRIVATE) | MS_REC};
    int r = mount_apply(root, &o);
    return r < 0 ? error_errno(err, r, "separate the root from the host") : 0;
}

static int send_mount(int channel, enum channel_type type, size_t value, int fd, struct error *err)
{
    struct channel_message m = {.type = type, .value = (int)value};
    int r = channel_send(channel, &m, fd);
    return r < 0 ? error_errno(err, r, "hand over a mount") : 0;
}

/* The kernel's "invalid argument" is about the file system, as good as always. */
static int cannot_shift(const struct container *c, const struct oci_mount *m,
                        const struct mount_options *o, struct error *err)
{
    _cleanup_free_ char *path = container_bind_path(c, m);
    _cleanup_free_ char *type = mount_type_of(path);
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "mount on %s: idmap: this kernel cannot shift the owners of %s (file system "
                     "%s)%s",
                     m->destination, path, type ? type : "unknown",
                     o->id_map_recursive ? " or of a mount below it" : "");
}

/* By the mount's own mappings, or those of the container's user namespace. */
static int shift_owners(const struct container *c, const struct oci_mount *m,
                        const struct mount_options *o, int fd, int user_ns, struct error *err)
{
    _cleanup_close_ int own = -EBADF;
    int r = 0;
    if (m->n_uid_maps)
        r = ns_user_with_maps((const struct ns_id_map *)m->uid_maps, m->n_uid_maps,
                              (const struct ns_id_map *)m->gid_maps, m->n_gid_maps, &own, err);
    if (r < 0)
        return r;
    if (own < 0 && user_ns < 0)
        return error_invalid(err,
                             "mount on %s: idmap needs mappings, or a user namespace to take "
                             "them from",
                             m->destination);
    r = mount_id_map(fd, own >= 0 ? own : user_ns, o->id_map_recursive);
    return r == -EINVAL ? cannot_shift(c, m, o, err)
           : r < 0      ? error_errno(err, r, "mount on %s: idmap", m->destination)
                        : 0;
}

/* user_ns -EBADF: the container has none, and only what is shifted is prepared. */
static int send_sources(const struct container *c, int channel, int user_ns, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < c->config->n_mounts && r == 0; i++) {
        const struct oci_mount *m = &c->config->mounts[i];
        _cleanup_(mount_options_done) struct mount_options o;
        _cleanup_close_ int fd = -EBADF;
        mount_options_parse(m->options, &o);
        bool shifted = o.id_map || m->n_uid_maps;
        bool is_bind = o.bind || (m->type && strcmp(m->type, "bind") == 0);
        if (shifted && !is_bind)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "mount on %s: idmap is for bind mounts", m->destination);
        if (!is_bind || (user_ns < 0 && !shifted))
            continue;
        if ((r = container_bind_source(c, m, o.recursive, &fd, err)) < 0 ||
            (shifted && (r = shift_owners(c, m, &o, fd, user_ns, err)) < 0))
            return r;
        r = send_mount(channel, CHANNEL_SOURCE, i, fd, err);
    }
    return r;
}

/* The first mount with shifted owners, or NULL. */
static const struct oci_mount *shifted_mount(const struct oci_config *config)
{
    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct oci_mount *m = &config->mounts[i];
        if (m->n_uid_maps || strv_has(m->options, "idmap") || strv_has(m->options, "ridmap"))
            return m;
    }
    return NULL;
}

bool container_needs_preparation(const struct container *c)
{
    return oci_config_namespace(c->config, CLONE_NEWUSER) || shifted_mount(c->config);
}

/* Without capabilities over the host's namespaces nothing can be prepared from outside: the first
 * process, which has them over its own, does it all. */
bool container_is_privileged(void)
{
    uint64_t effective = 0, permitted, inheritable;
    return caps_get(&effective, &permitted, &inheritable) == 0 &&
           (effective & (UINT64_C(1) << CAP_SYS_ADMIN));
}

static int prepare_as_user(const struct container *c, pid_t pid, int channel, struct error *err)
{
    struct channel_message go = {.type = CHANNEL_GO};
    const struct oci_mount *shifted = shifted_mount(c->config);
    if (shifted)
        return error_set(err, ERROR_DENIED, EPERM,
                         "mount on %s: idmap needs the host's CAP_SYS_ADMIN", shifted->destination);
    const struct oci_linux *l = &c->config->linux_;
    int r = l->n_uid_maps ? idmap_write(pid, (const struct ns_id_map *)l->uid_maps, l->n_uid_maps,
                                        (const struct ns_id_map *)l->gid_maps, l->n_gid_maps, err)
                          : 0;
    if (r == 0)
        (void)!channel_send(channel, &go, -EBADF); /* it died: its stream will say why */
    return r;
}

static int prepare_shifted(const struct container *c, int channel, struct error *err)
{
    struct channel_message go = {.type = CHANNEL_GO};
    int r = send_sources(c, channel, -EBADF, err);
    if (r == 0)
        (void)!channel_send(channel, &go, -EBADF);
    return r;
}

int container_prepare(struct container *c, pid_t pid, int channel, struct error *err)
{
    struct channel_message go = {.type = CHANNEL_GO};
    if (!oci_config_namespace(c->config, CLONE_NEWUSER))
        return prepare_shifted(c, channel, err);
    if (!container_is_privileged())
        return prepare_as_user(c, pid, channel, err);
    _cleanup_free_ char *path = xasprintf("/proc/%d/ns/user", (int)pid);
    _cleanup_close_ int root = -EBADF;
    int r = c->config->linux_.n_uid_maps ? write_maps(c, pid, err) : 0;
    if (r == 0 && cgroup_needs_add(&c->cgroup))
        r = cgroup_add(&c->cgroup, pid, false, err);
    if (r < 0)
        return r;
    _cleanup_close_ int user_ns = ns_open(path, CLONE_NEWUSER);
    if (user_ns < 0)
        return error_errno(err, user_ns, "open the user namespace");
    if ((r = make_root_as(c, user_ns, &root, err)) < 0 || (r = separate_root(c, root, err)) < 0 ||
        (r = send_mount(channel, CHANNEL_ROOT, 0, root, err)) < 0 ||
        (r = send_sources(c, channel, user_ns, err)) < 0)
        return r;
    (void)!channel_send(channel, &go, -EBADF); /* it died: its stream will say why */
    return 0;
}

int container_take_prepared(struct container *c, struct error *err)
{
    size_t n = c->config->n_mounts;
    c->sources = xcalloc(n + 1, sizeof(int));
    for (size_t i = 0; i < n; i++)
        c->sources[i] = -EBADF;
    for (;;) {
        struct channel_message m;
        int fd = -EBADF;
        int r = channel_receive(c->channel, &m, &fd);
        if (r == 0 && m.type == CHANNEL_GO)
            return 0;
        if (r == 0 && m.type == CHANNEL_ROOT)
            c->root = fd;
        else if (r == 0 && m.type == CHANNEL_SOURCE && m.value >= 0 && (size_t)m.value < n)
            c->sources[m.value] = fd;
        else
            return error_errno(err, r < 0 ? r : -EPIPE, "wait for the starter");
    }
}
