/*
 * What a container that is restored from an image needs around it before its processes are there.
 *
 * A scope of systemd's is made around a process and ends with its last one: that is a child of the
 * caller that does nothing else, so that neither the caller nor CRIU is in it with its limits.
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/path.h"
#include "kernel/mount.h"
#include "runtime/container/internal.h"

static int make_group(const struct container_oci *oci, const char *id, struct cgroup *ret,
                      struct error *err)
{
    const struct runtime_start start = {.id = id, .oci = oci};
    struct container c = {
        .start = &start,
        .config = oci->config,
        .cgroup = CGROUP_INIT,
        .cgroup_path = xstrdup(oci->cgroup_path),
    };
    int r = container_cgroup_create(&c, err);
    free(c.cgroup_path);
    if (r == 0)
        *ret = c.cgroup;
    return r;
}

/* Has systemd make the scope around itself, says so, and stays until the caller lets go. */
static _noreturn_ void keep_scope(const struct container_oci *oci, const char *id, int channel)
{
    struct channel_message m = {.type = CHANNEL_READY};
    struct cgroup group = CGROUP_INIT;
    struct error err = ERROR_INIT;
    if (make_group(oci, id, &group, &err) < 0)
        channel_send_error(channel, &err);
    else if (channel_send(channel, &m, -EBADF) == 0)
        (void)!channel_receive(channel, &m, NULL);
    _exit(0);
}

static int hear_scope(int channel, struct error *err)
{
    struct channel_message m;
    int r = channel_receive(channel, &m, NULL);
    if (r < 0)
        return error_errno(err, r, "hear of the scope");
    if (m.type == CHANNEL_READY)
        return 0;
    if (m.type != CHANNEL_ERROR)
        return error_set(err, ERROR_SYSTEM, ECHILD, "the maker of the scope was killed");
    if (err)
        *err = m.err;
    return m.err.code ? -m.err.code : -EIO;
}

void container_keeper_done(struct container_keeper *k)
{
    k->channel = close_fd(k->channel);
    while (k->pid > 0 && waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    k->pid = 0;
}

static int start_keeper(const struct container_oci *oci, const char *id, struct cgroup *ret,
                        struct container_keeper *keeper, struct error *err)
{
    int ends[2];
    int r = channel_pair(ends);
    if (r < 0)
        return error_errno(err, r, "make a channel");
    keeper->channel = ends[0];
    keeper->pid = fork();
    if (keeper->pid == 0) {
        close_fd(ends[0]);
        keep_scope(oci, id, ends[1]);
    }
    close_fd(ends[1]);
    if (keeper->pid < 0)
        return error_errno(err, errno, "start the maker of the scope");
    r = hear_scope(keeper->channel, err);
    return r < 0 ? r : cgroup_open(oci->cgroup_path, ret, err);
}

int container_make_group(const struct container_oci *oci, const char *id, struct cgroup *ret,
                         struct container_keeper *keeper, struct error *err)
{
    return oci->scope ? start_keeper(oci, id, ret, keeper, err) : make_group(oci, id, ret, err);
}

/* It lies in what another mount brings. */
static bool is_inside(const struct oci_config *config, const struct oci_mount *m)
{
    _cleanup_free_ char *path = path_normalize(m->destination);
    for (size_t i = 0; i < config->n_mounts; i++) {
        _cleanup_free_ char *other = path_normalize(config->mounts[i].destination);
        size_t len = strlen(other);
        if (strncmp(path, other, len) == 0 && path[len] == '/')
            return true;
    }
    return false;
}

static bool is_file(const struct oci_mount *m, const char *bundle)
{
    _cleanup_(mount_options_done) struct mount_options o;
    struct stat st;
    mount_options_parse(m->options, &o);
    if (!m->source || (!o.bind && (!m->type || strcmp(m->type, "bind") != 0)))
        return false;
    _cleanup_free_ char *source =
        m->source[0] == '/' ? xstrdup(m->source) : path_join(bundle, m->source);
    return stat(source, &st) == 0 && !S_ISDIR(st.st_mode);
}

int container_make_places(const struct oci_config *config, const char *bundle, int root,
                          struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < config->n_mounts && r == 0; i++) {
        const struct oci_mount *m = &config->mounts[i];
        _cleanup_close_ int fd = -EBADF;
        if (!is_inside(config, m))
            r = container_target(root, m->destination, !is_file(m, bundle), &fd, err);
    }
    return r;
}
