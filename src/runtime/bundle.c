#include "runtime/bundle.h"

#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"

const char *runtime_kind_name(enum runtime_kind kind)
{
    return kind == RUNTIME_VM ? "vm" : "container";
}

int runtime_kind_from_name(const char *name, enum runtime_kind *ret)
{
    for (int kind = RUNTIME_CONTAINER; kind <= RUNTIME_VM; kind++)
        if (strcmp(name, runtime_kind_name((enum runtime_kind)kind)) == 0) {
            *ret = (enum runtime_kind)kind;
            return 0;
        }
    return -EINVAL;
}

void bundle_init(struct bundle *b)
{
    memset(b, 0, sizeof(*b));
}

void bundle_done(struct bundle *b)
{
    for (size_t i = 0; i < b->n_layers; i++) {
        free(b->layers[i].erofs);
        free(b->layers[i].mount);
    }
    free(b->layers);
    free(b->id);
    free(b->upper);
    free(b->work);
    free(b->disk);
    free(b->memory);
    strv_free(b->disk_lower);
    free(b->kernel);
    free(b->initramfs);
    free(b->kernel_args);
    free(b->cgroup_parent);
    free(b->seccomp_filter);
    bundle_machine_done(&b->machine);
    bundle_init(b);
}

static void set_string(json_t *o, const char *key, const char *value)
{
    if (value)
        json_object_set_new(o, key, json_string(value));
}

static json_t *layers_to_json(const struct bundle *b)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < b->n_layers; i++) {
        json_t *layer = json_object();
        set_string(layer, "erofs", b->layers[i].erofs);
        set_string(layer, "mount", b->layers[i].mount);
        json_array_append_new(layers, layer);
    }
    return layers;
}

static json_t *network_to_json(const struct bundle_network *n)
{
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:s, s:i, s:s}", "address", n->address,
                     "prefix", (int)n->prefix, "gateway", n->gateway, "dns", n->dns, "mac", n->mac,
                     "mtu", (int)n->mtu, "address6", n->address6, "prefix6", (int)n->prefix6,
                     "gateway6", n->gateway6);
}

int bundle_save(const struct bundle *b, const char *dir, struct error *err)
{
    _cleanup_json_ json_t *o = json_object();
    set_string(o, "kind", runtime_kind_name(b->kind));
    set_string(o, "id", b->id);
    json_object_set_new(o, "layers", layers_to_json(b));
    set_string(o, "upper", b->upper);
    set_string(o, "work", b->work);
    set_string(o, "disk", b->disk);
    set_string(o, "memory", b->memory);
    if (b->disk_lower)
        json_object_set_new(o, "disk_lower", json_from_strv(b->disk_lower));
    json_object_set_new(o, "disk_bytes", json_integer((json_int_t)b->disk_bytes));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)b->memory_bytes));
    json_object_set_new(o, "cpus", json_integer(b->cpus));
    set_string(o, "kernel", b->kernel);
    set_string(o, "initramfs", b->initramfs);
    set_string(o, "kernel_args", b->kernel_args);
    set_string(o, "cgroup_parent", b->cgroup_parent);
    set_string(o, "seccomp_filter", b->seccomp_filter);
    json_object_set_new(o, "init", json_boolean(b->init));
    json_object_set_new(o, "ephemeral", json_boolean(b->ephemeral));
    json_object_set_new(o, "spare", json_boolean(b->spare));
    json_object_set_new(o, "cold", json_boolean(b->cold));
    json_t *networks = json_array();
    for (size_t i = 0; i < b->n_networks; i++)
        json_array_append_new(networks, network_to_json(&b->networks[i]));
    json_object_set_new(o, "networks", networks);
    if (machine_boots_disk(&b->machine))
        json_object_set_new(o, "machine", bundle_machine_to_json(&b->machine));
    _cleanup_free_ char *text = json_to_text(o);
    _cleanup_free_ char *path = path_join(dir, "proa.json");
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int layers_from_json(const json_t *o, struct bundle *b, struct error *err)
{
    json_t *layers, *layer;
    size_t i;
    int r = json_get_array(o, "proa.json", "layers", &layers, err);
    if (r < 0 || !layers)
        return r;
    b->layers = xcalloc(json_array_size(layers), sizeof(*b->layers));
    json_array_foreach(layers, i, layer)
    {
        const char *erofs = NULL, *mount = NULL;
        r = json_get_string(layer, "layers", "erofs", &erofs, err);
        if (r == 0)
            r = json_get_string(layer, "layers", "mount", &mount, err);
        if (r < 0)
            return r;
        b->layers[i].erofs = xstrdup(erofs);
        b->layers[i].mount = xstrdup(mount);
        b->n_layers = i + 1;
    }
    return 0;
}

static int copy_text(const json_t *o, const char *key, char *out, size_t size, struct error *err)
{
    const char *s = "";
    int r = json_get_string(o, "network", key, &s, err);
    if (r == 0 && snprintf(out, size, "%s", s) >= (int)size)
        return error_invalid(err, "network: \"%s\" is too long", key);
    return r;
}

static int network_from_json(const json_t *net, struct bundle_network *n, struct error *err)
{
    uint32_t prefix = 0, prefix6 = 0, mtu = 1500;
    int r;
    if ((r = copy_text(net, "address", n->address, sizeof(n->address), err)) < 0 ||
        (r = copy_text(net, "gateway", n->gateway, sizeof(n->gateway), err)) < 0 ||
        (r = copy_text(net, "dns", n->dns, sizeof(n->dns), err)) < 0 ||
        (r = copy_text(net, "mac", n->mac, sizeof(n->mac), err)) < 0 ||
        (r = copy_text(net, "address6", n->address6, sizeof(n->address6), err)) < 0 ||
        (r = copy_text(net, "gateway6", n->gateway6, sizeof(n->gateway6), err)) < 0 ||
        (r = json_get_u32(net, "network", "prefix", &prefix, err)) < 0 ||
        (r = json_get_u32(net, "network", "prefix6", &prefix6, err)) < 0 ||
        (r = json_get_u32(net, "network", "mtu", &mtu, err)) < 0)
        return r;
    if (prefix > 32 || prefix6 > 128 || mtu > 65535)
        return error_invalid(err, "network: prefix or mtu out of range");
    n->prefix = (uint8_t)prefix;
    n->prefix6 = (uint8_t)prefix6;
    n->mtu = (uint16_t)mtu;
    return 0;
}

static int networks_from_json(const json_t *o, struct bundle *b, struct error *err)
{
    json_t *list, *one;
    size_t i;
    int r = json_get_array(o, "proa.json", "networks", &list, err);
    if (r < 0 || !list)
        return r;
    if (json_array_size(list) > BUNDLE_NETWORKS_MAX)
        return error_invalid(err, "proa.json: more than %d networks", BUNDLE_NETWORKS_MAX);
    json_array_foreach(list, i, one)
    {
        r = network_from_json(one, &b->networks[i], err);
        if (r < 0)
            return r;
        b->n_networks = i + 1;
    }
    return 0;
}

static int numbers_from_json(const json_t *o, struct bundle *b, struct error *err)
{
    int64_t memory = 0, disk = 0;
    int r;
    if ((r = json_get_i64(o, "proa.json", "memory_bytes", &memory, err)) < 0 ||
        (r = json_get_i64(o, "proa.json", "disk_bytes", &disk, err)) < 0 ||
        (r = json_get_u32(o, "proa.json", "cpus", &b->cpus, err)) < 0 ||
        (r = json_get_bool(o, "proa.json", "init", &b->init, err)) < 0 ||
        (r = json_get_bool(o, "proa.json", "ephemeral", &b->ephemeral, err)) < 0 ||
        (r = json_get_bool(o, "proa.json", "spare", &b->spare, err)) < 0 ||
        (r = json_get_bool(o, "proa.json", "cold", &b->cold, err)) < 0)
        return r;
    if (memory < 0 || disk < 0)
        return error_invalid(err, "proa.json: a size is negative");
    b->memory_bytes = (uint64_t)memory;
    b->disk_bytes = (uint64_t)disk;
    return 0;
}

static int strings_from_json(const json_t *o, struct bundle *b, struct error *err)
{
    const struct {
        const char *key;
        char **field;
    } strings[] = {{"id", &b->id},
                   {"upper", &b->upper},
                   {"work", &b->work},
                   {"disk", &b->disk},
                   {"memory", &b->memory},
                   {"kernel", &b->kernel},
                   {"initramfs", &b->initramfs},
                   {"kernel_args", &b->kernel_args},
                   {"cgroup_parent", &b->cgroup_parent},
                   {"seccomp_filter", &b->seccomp_filter}};
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        const char *value = NULL;
        int r = json_get_string(o, "proa.json", strings[i].key, &value, err);
        if (r < 0)
            return r;
        *strings[i].field = xstrdup(value);
    }
    return 0;
}

static int machine_from_json(const json_t *o, struct bundle *b, struct error *err)
{
    json_t *machine = NULL;
    int r = json_get_object(o, "proa.json", "machine", &machine, err);
    return r < 0 || !machine ? r : bundle_machine_from_json(machine, &b->machine, err);
}

int bundle_load(const char *dir, struct bundle *ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(dir, "proa.json");
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(bundle_done) struct bundle b;
    const char *kind = "container";
    bundle_init(&b);
    int r = json_parse_file(AT_FDCWD, path, &o, err);
    if (r < 0)
        return r;
    if ((r = json_get_string(o, "proa.json", "kind", &kind, err)) < 0)
        return r;
    if (runtime_kind_from_name(kind, &b.kind) < 0)
        return error_invalid(err, "proa.json: unknown kind \"%s\"", kind);
    if ((r = json_get_strv(o, "proa.json", "disk_lower", &b.disk_lower, err)) < 0 ||
        (r = strings_from_json(o, &b, err)) < 0 || (r = numbers_from_json(o, &b, err)) < 0 ||
        (r = layers_from_json(o, &b, err)) < 0 || (r = networks_from_json(o, &b, err)) < 0 ||
        (r = machine_from_json(o, &b, err)) < 0)
        return r;
    *ret = b;
    bundle_init(&b);
    return 0;
}

char *bundle_group(const struct bundle *b)
{
    return b->cgroup_parent ? xasprintf("%s/%s", b->cgroup_parent, b->id)
                            : xasprintf(RUNTIME_GROUP_FORMAT, b->id);
}

char *bundle_group_of(const char *dir, const char *id)
{
    _cleanup_(bundle_done) struct bundle b;
    struct error ignored = ERROR_INIT;
    bundle_init(&b);
    return bundle_load(dir, &b, &ignored) == 0 && b.id ? bundle_group(&b)
                                                       : xasprintf(RUNTIME_GROUP_FORMAT, id);
}
