/* The members of "linux": namespaces, id maps, devices, limits, propagation, sysctls, paths. */
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

static int read_namespace(const json_t *o, const char *where, void *item, struct error *err)
{
    struct oci_namespace *ns = item;
    const char *type = NULL, *path = NULL;
    int r;
    if ((r = json_get_string(o, where, "type", &type, err)) < 0 ||
        (r = oci_require(type, where, "type", err)) < 0 ||
        (r = json_get_string(o, where, "path", &path, err)) < 0)
        return r;
    if (oci_namespace_from_name(type, &ns->type) < 0)
        return error_invalid(err, "%s: unknown namespace type \"%s\"", where, type);
    if (path && path[0] && path[0] != '/')
        return error_invalid(err, "%s: \"path\" is not absolute", where);
    ns->path = path && path[0] ? xstrdup(path) : NULL;
    return 0;
}

int oci_id_map_from_json(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("containerID", U32, struct oci_id_map, container_id),
        FIELD("hostID", U32, struct oci_id_map, host_id),
        FIELD("size", U32, struct oci_id_map, size),
    };
    /* A hostID that was forgotten would be the host's root. */
    static const char *const keys[] = {"containerID", "hostID", "size", NULL};
    struct oci_id_map *map = item;
    int r;
    if ((r = oci_require_members(o, where, keys, err)) < 0 ||
        (r = OCI_FIELDS(o, where, fields, map, err)) < 0)
        return r;
    if (map->size == 0 || map->size > UINT32_MAX - map->container_id ||
        map->size > UINT32_MAX - map->host_id)
        return error_invalid(err, "%s: the range is empty or does not fit in 32 bits", where);
    return 0;
}

static int read_device(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("path", STRING, struct oci_device, path),
        NUMBER("major", struct oci_device, major, 0, UINT32_MAX),
        NUMBER("minor", struct oci_device, minor, 0, UINT32_MAX),
        FIELD("fileMode", U32, struct oci_device, mode),
        FIELD("uid", U32, struct oci_device, uid),
        FIELD("gid", U32, struct oci_device, gid),
    };
    struct oci_device *d = item;
    const char *type = NULL;
    int r;
    d->mode = 0666;
    d->major = d->minor = -1;
    if ((r = OCI_FIELDS(o, where, fields, d, err)) < 0 ||
        (r = oci_require(d->path, where, "path", err)) < 0 ||
        (r = json_get_string(o, where, "type", &type, err)) < 0 ||
        (r = oci_require(type, where, "type", err)) < 0)
        return r;
    if (type[1] || !strchr("bcup", type[0]))
        return error_invalid(err, "%s: unknown device type \"%s\"", where, type);
    d->type = type[0] == 'u' ? 'c' : type[0];
    /* Writers put the S_IFMT bits in, too: only the permissions count. */
    d->mode &= 07777;
    if (d->path[0] != '/')
        return error_invalid(err, "%s: \"path\" is not absolute", where);
    if (d->type != 'p' && (d->major < 0 || d->minor < 0))
        return error_invalid(err, "%s: \"major\" and \"minor\" must be given", where);
    return 0;
}

static int read_propagation(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct {
        const char *name;
        unsigned long flags;
    } words[] = {
        {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
        {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
        {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
        {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
    };
    const char *value = NULL;
    int r = json_get_string(o, "linux", "rootfsPropagation", &value, err);
    if (r < 0 || !value || !*value)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(words[i].name, value) == 0) {
            l->rootfs_propagation = words[i].flags;
            return 0;
        }
    return error_invalid(err, "linux: unknown rootfsPropagation \"%s\"", value);
}

/* Offsets can be set before anything runs in the namespace only. */
static int check_offsets(const struct oci_linux *l, struct error *err)
{
    bool is_new = false;
    for (size_t i = 0; i < l->n_namespaces; i++)
        is_new |= l->namespaces[i].type == CLONE_NEWTIME && !l->namespaces[i].path;
    if ((l->time_monotonic.given || l->time_boottime.given) && !is_new)
        return error_invalid(err, "linux.timeOffsets: needs a new time namespace");
    return 0;
}

static int check_namespaces(const struct oci_linux *l, struct error *err)
{
    for (size_t i = 0; i < l->n_namespaces; i++)
        for (size_t j = 0; j < i; j++)
            if (l->namespaces[i].type == l->namespaces[j].type)
                return error_invalid(err, "linux.namespaces[%zu]: the same type twice", i);
    return 0;
}

static int read_seccomp(const json_t *o, struct oci_linux *l, struct error *err)
{
    json_t *seccomp;
    int r = json_get_object(o, "linux", "seccomp", &seccomp, err);
    return r < 0 || !seccomp ? r
                             : oci_seccomp_from_json(seccomp, "linux.seccomp", &l->seccomp, err);
}

static int read_resources(const json_t *o, struct oci_linux *l, struct error *err)
{
    json_t *resources;
    int r = json_get_object(o, "linux", "resources", &resources, err);
    return r < 0 || !resources ? r : oci_resources_from_json(resources, &l->resources, err);
}

int oci_linux_from_json(const json_t *o, struct oci_linux *l, struct error *err)
{
    static const struct field fields[] = {
        FIELD("cgroupsPath", STRING, struct oci_linux, cgroups_path),
        FIELD("maskedPaths", STRV, struct oci_linux, masked_paths),
        FIELD("readonlyPaths", STRV, struct oci_linux, readonly_paths),
        FIELD("mountLabel", STRING, struct oci_linux, mount_label),
    };
    const char *in = "linux";
    int r;
    if ((r = OCI_FIELDS(o, in, fields, l, err)) < 0 ||
        (r = oci_items(o, in, "namespaces", sizeof(*l->namespaces), read_namespace,
                       (void **)&l->namespaces, &l->n_namespaces, err)) < 0 ||
        (r = oci_items(o, in, "uidMappings", sizeof(*l->uid_maps), oci_id_map_from_json,
                       (void **)&l->uid_maps, &l->n_uid_maps, err)) < 0 ||
        (r = oci_items(o, in, "gidMappings", sizeof(*l->gid_maps), oci_id_map_from_json,
                       (void **)&l->gid_maps, &l->n_gid_maps, err)) < 0 ||
        (r = oci_items(o, in, "devices", sizeof(*l->devices), read_device, (void **)&l->devices,
                       &l->n_devices, err)) < 0 ||
        (r = oci_pairs(o, in, "sysctl", &l->sysctls, &l->n_sysctls, err)) < 0 ||
        (r = read_propagation(o, l, err)) < 0 || (r = read_seccomp(o, l, err)) < 0 ||
        (r = read_resources(o, l, err)) < 0 || (r = oci_linux_host_from_json(o, l, err)) < 0)
        return r;
    return (r = check_namespaces(l, err)) < 0 ? r : check_offsets(l, err);
}

void oci_linux_init(struct oci_linux *l)
{
    memset(l, 0, sizeof(*l));
    oci_resources_init(&l->resources);
}

void oci_linux_done(struct oci_linux *l)
{
    for (size_t i = 0; i < l->n_namespaces; i++)
        free(l->namespaces[i].path);
    for (size_t i = 0; i < l->n_devices; i++)
        free(l->devices[i].path);
    for (size_t i = 0; i < l->n_sysctls; i++) {
        free(l->sysctls[i].name);
        free(l->sysctls[i].value);
    }
    free(l->namespaces);
    free(l->uid_maps);
    free(l->gid_maps);
    free(l->devices);
    free(l->sysctls);
    free(l->cgroups_path);
    free(l->mount_label);
    oci_linux_host_done(l);
    oci_resources_done(&l->resources);
    oci_seccomp_free(l->seccomp);
    strv_free(l->masked_paths);
    strv_free(l->readonly_paths);
}
