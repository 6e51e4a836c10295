/*
 * Mounts that show something of the host: the binds of the configuration with what is mounted below
 * their sources, control groups, and the null device over masked paths. CRIU does not save what is
 * in them; at a restore it binds what it is given for the key, which is the place of the mount in
 * the container.
 *
 * At the checkpoint they are found by looking at what is mounted: a mount of the configuration that
 * is a bind, and any mount whose file system's root is nowhere in the container. At the restore
 * there is only the configuration, and every key that it can have led to gets a source; CRIU does
 * not mind those that no mount asks for.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "kernel/mount.h"
#include "runtime/oci/criu/external.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define MAX_INFO    ((size_t)8 << 20)
#define MAX_PATH    4096

/* A line of mountinfo (proc_pid_mountinfo(5)). Strings are owned. */
struct seen {
    uint64_t id;
    char *device, *root, *point;
    bool outside;
};
struct seen_list {
    struct seen *items;
    size_t n;
};

static void seen_done(struct seen_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].device);
        free(l->items[i].root);
        free(l->items[i].point);
    }
    free(l->items);
    *l = (struct seen_list){NULL, 0};
}
#define _cleanup_seen_ _cleanup_(seen_done)

/* Blanks, newlines and backslashes are written as three octal digits. */
static char *unescape(const char *text)
{
    char *out = xstrdup(text), *to = out;
    for (const char *at = text; *at; at++) {
        unsigned int value;
        if (*at == '\\' && strspn(at + 1, "01234567") >= 3 && sscanf(at + 1, "%3o", &value) == 1) {
            *to++ = (char)value;
            at += 3;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return out;
}

static int read_mounts(const char *path, struct seen_list *ret, struct error *err)
{
    enum { ID, PARENT, DEVICE, ROOT, POINT, NEEDED };
    _cleanup_free_ char *text = NULL;
    int r = file_read_kernel(AT_FDCWD, path, MAX_INFO, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    struct seen_list l = {xcalloc(strv_len(lines) + 1, sizeof(struct seen)), 0};
    for (size_t i = 0; lines[i]; i++) {
        _cleanup_strv_ char **words = strv_split(lines[i], ' ');
        if (strv_len(words) < NEEDED)
            continue;
        l.items[l.n++] = (struct seen){
            .id = strtoull(words[ID], NULL, 10),
            .device = xstrdup(words[DEVICE]),
            .root = unescape(words[ROOT]),
            .point = unescape(words[POINT]),
        };
    }
    *ret = l;
    return 0;
}

/* What follows base in path; NULL when path is not base or below it. */
static const char *below(const char *path, const char *base)
{
    size_t len = strcmp(base, "/") == 0 ? 0 : strlen(base);
    if (strncmp(path, base, len) != 0 || (path[len] && path[len] != '/'))
        return NULL;
    return path + len;
}

static bool is_bind(const struct oci_mount *m)
{
    _cleanup_(mount_options_done) struct mount_options o;
    mount_options_parse(m->options, &o);
    return o.bind || (m->type && strcmp(m->type, "bind") == 0);
}

static bool is_cgroup(const struct oci_mount *m)
{
    return m->type && (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0);
}

/* The mount of the configuration that decides what is at a place: the last of those with the
 * longest destination. */
static const struct oci_mount *governing(const struct oci_config *config, const char *point)
{
    const struct oci_mount *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < config->n_mounts; i++) {
        _cleanup_free_ char *path = path_normalize(config->mounts[i].destination);
        if (!below(point, path) || strlen(path) < longest)
            continue;
        longest = strlen(path);
        found = &config->mounts[i];
    }
    return found;
}

/* The mount that lies at a destination of the configuration, whatever symlinks lead there. */
static struct seen *mount_at(struct seen_list *l, int root, const char *destination)
{
    struct statx st;
    _cleanup_close_ int fd = path_open_in_root(root, destination, O_PATH, 0);
    if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 ||
        !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
        return NULL;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].id == st.stx_mnt_id)
            return &l->items[i];
    return NULL;
}

static void mark_bind(struct seen_list *l, const struct oci_config *config, int root,
                      const struct oci_mount *m)
{
    const struct seen *top = mount_at(l, root, m->destination);
    if (!top || strcmp(top->point, "/") == 0)
        return;
    for (size_t i = 0; i < l->n; i++) {
        struct seen *s = &l->items[i];
        const struct oci_mount *by = s == top ? m : governing(config, s->point);
        if (s == top || (below(s->point, top->point) && (by == m || !by)))
            s->outside = true;
    }
}

/* Nothing in the container shows what it is a part of. */
static bool is_part_of_nothing(const struct seen_list *l, const struct seen *s)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct seen *other = &l->items[i];
        if (other != s && !other->outside && strcmp(other->device, s->device) == 0 &&
            strcmp(other->root, s->root) != 0 && below(s->root, other->root))
            return false;
    }
    return strcmp(s->root, "/") != 0 && strcmp(s->point, "/") != 0;
}

int criu_mounts_of(const struct oci_container *c, char ***external, struct error *err)
{
    _cleanup_seen_ struct seen_list l = {NULL, 0};
    _cleanup_free_ char *info = xasprintf("/proc/%d/mountinfo", (int)c->pid);
    _cleanup_free_ char *path = xasprintf("/proc/%d/root", (int)c->pid);
    _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, errno, "open %s", path);
    int r = read_mounts(info, &l, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < c->config->n_mounts; i++)
        if (is_bind(&c->config->mounts[i]))
            mark_bind(&l, c->config, root, &c->config->mounts[i]);
    for (size_t i = 0; i < l.n; i++)
        if (l.items[i].outside || is_part_of_nothing(&l, &l.items[i]))
            strv_addf(external, "mnt[%s]:%s", l.items[i].point, l.items[i].point);
    return 0;
}

static void map(char ***external, const char *key, const char *source)
{
    strv_addf(external, "mnt[%s]:%s", key, source);
}

/* Where a destination will be in the root, through its symlinks; what is not there yet (it lies in
 * a file system that is still to be mounted) is taken as it stands. Owned. */
static char *place_in(int rootfd, const char *destination)
{
    char base[MAX_PATH], real[MAX_PATH];
    _cleanup_free_ char *normal = path_normalize(destination), *head = xstrdup(normal);
    struct fd_path root = fd_path(rootfd);
    ssize_t base_len = readlink(root.text, base, sizeof(base) - 1);
    while (base_len > 0 && strcmp(head, "") != 0) {
        base[base_len] = '\0';
        _cleanup_close_ int fd = path_open_in_root(rootfd, head, O_PATH, 0);
        struct fd_path at = fd_path(fd);
        ssize_t n = fd < 0 ? -1 : readlink(at.text, real, sizeof(real) - 1);
        if (n > 0) {
            real[n] = '\0';
            const char *inside = below(real, base);
            return inside ? xasprintf("%s%s", inside, normal + strlen(head)) : xstrdup(normal);
        }
        *strrchr(head, '/') = '\0';
    }
    return xstrdup(normal);
}

/* The source and, for what a recursive bind brings along, the mounts below it. */
static int map_bind(const struct oci_container *c, const struct oci_mount *m, int rootfd,
                    const struct seen_list *host, char ***external, struct error *err)
{
    char real[MAX_PATH];
    if (!m->source || !*m->source)
        return error_invalid(err, "mount on %s: a bind needs a source", m->destination);
    _cleanup_free_ char *source =
        m->source[0] == '/' ? xstrdup(m->source) : path_join(c->bundle, m->source);
    _cleanup_free_ char *place = place_in(rootfd, m->destination);
    if (!realpath(source, real))
        return error_errno(err, errno, "mount %s on %s", source, m->destination);
    map(external, place, real);
    for (size_t i = 0; i < host->n; i++) {
        const char *rest = below(host->items[i].point, real);
        if (!rest || !*rest)
            continue;
        _cleanup_free_ char *key = xasprintf("%s%s", place, rest);
        map(external, key, host->items[i].point);
    }
    return 0;
}

/* Where the groups are shown: at the destination alone, or in a directory for each hierarchy. */
static void map_groups(const struct oci_mount *m, const struct cgroup *group, char ***external)
{
    _cleanup_free_ char *place = path_normalize(m->destination);
    for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
        if (group->dirs[h] < 0)
            continue;
        const char *name = h == CGROUP_UNIFIED && group->is_v2
                               ? ""
                               : cgroup_hierarchy_name((enum cgroup_hierarchy)h);
        _cleanup_free_ char *source =
            xasprintf(CGROUP_ROOT "/%s%s%s", name, *name ? "/" : "", group->path);
        _cleanup_free_ char *key = path_join(place, name);
        map(external, h == CGROUP_UNIFIED && group->is_v2 ? place : key, source);
        if (h == CGROUP_UNIFIED && !group->is_v2 && !cgroup_needs_add(group))
            map(external, place, source);
    }
}

/* Devices are binds in a user namespace, where no node can be made. */
static void map_devices(const struct oci_config *config, char ***external)
{
    static const char *const defaults[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                           "/dev/random", "/dev/urandom", "/dev/tty"};
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
        map(external, defaults[i], defaults[i]);
    for (size_t i = 0; i < config->linux_.n_devices; i++)
        map(external, config->linux_.devices[i].path, config->linux_.devices[i].path);
    for (size_t i = 0; config->linux_.masked_paths && config->linux_.masked_paths[i]; i++)
        map(external, config->linux_.masked_paths[i], "/dev/null");
}

int criu_mounts_for(const struct oci_container *c, const struct cgroup *group, int rootfd,
                    char ***external, struct error *err)
{
    _cleanup_seen_ struct seen_list host = {NULL, 0};
    int r = read_mounts("/proc/self/mountinfo", &host, err);
    for (size_t i = 0; i < c->config->n_mounts && r == 0; i++) {
        const struct oci_mount *m = &c->config->mounts[i];
        if (is_bind(m))
            r = map_bind(c, m, rootfd, &host, external, err);
        else if (is_cgroup(m))
            map_groups(m, group, external);
    }
    map_devices(c->config, external);
    return r;
}
