/* What a container that is restored from an image needs around it before its processes are there.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "kernel/mount.h"
#include "runtime/container/internal.h"

int container_make_group(struct oci_config *config, const char *path, struct cgroup *ret,
                         struct error *err)
{
    const struct container_oci oci = {.config = config};
    const struct runtime_start start = {.oci = &oci};
    struct container c = {
        .start = &start,
        .config = config,
        .cgroup = CGROUP_INIT,
        .cgroup_path = xstrdup(path),
    };
    int r = container_cgroup_create(&c, err);
    free(c.cgroup_path);
    if (r == 0)
        *ret = c.cgroup;
    return r;
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
