#include "runtime/bundle-machine.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"

static const char *const buses[] = {"virtio", "scsi", "sata"};

const char *machine_bus_name(enum machine_bus bus)
{
    return buses[bus];
}

int machine_bus_from_name(const char *name, enum machine_bus *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(buses); i++)
        if (strcmp(name, buses[i]) == 0) {
            *ret = (enum machine_bus)i;
            return 0;
        }
    return -EINVAL;
}

/* Members of both structures, each told once for both directions. */
enum member_type {
    MEMBER_STRING,
    MEMBER_BOOL,
    MEMBER_U32,
    MEMBER_U64,
};
struct member {
    const char *name;
    enum member_type type;
    size_t offset;
};
#define MEMBER(type, of, name)                                                                     \
    {                                                                                              \
#name, type, offsetof(struct of, name)                                                     \
    }

static const struct member disk_members[] = {
    MEMBER(MEMBER_STRING, machine_disk, file), MEMBER(MEMBER_STRING, machine_disk, format),
    MEMBER(MEMBER_U64, machine_disk, bytes),   MEMBER(MEMBER_BOOL, machine_disk, read_only),
    MEMBER(MEMBER_BOOL, machine_disk, cdrom),  MEMBER(MEMBER_U32, machine_disk, boot),
};
static const struct member machine_members[] = {
    MEMBER(MEMBER_BOOL, bundle_machine, uefi),
    MEMBER(MEMBER_BOOL, bundle_machine, secure_boot),
    MEMBER(MEMBER_BOOL, bundle_machine, tpm),
    MEMBER(MEMBER_BOOL, bundle_machine, vnc),
    MEMBER(MEMBER_BOOL, bundle_machine, local_time),
    MEMBER(MEMBER_BOOL, bundle_machine, windows),
    MEMBER(MEMBER_U32, bundle_machine, boot_net),
    MEMBER(MEMBER_STRING, bundle_machine, cpu_model),
    MEMBER(MEMBER_STRING, bundle_machine, processors),
    MEMBER(MEMBER_STRING, bundle_machine, limits),
    MEMBER(MEMBER_U32, bundle_machine, cpus_max),
    MEMBER(MEMBER_U64, bundle_machine, memory_max),
    MEMBER(MEMBER_STRING, bundle_machine, nic),
};

static void members_free(void *of, const struct member *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].type == MEMBER_STRING)
            free(*(char **)((char *)of + list[i].offset));
}

static json_t *member_to_json(const char *p, enum member_type type)
{
    const char *text;
    switch (type) {
    case MEMBER_STRING:
        text = *(char *const *)(const void *)p;
        return text ? json_string(text) : json_null();
    case MEMBER_BOOL:
        return json_boolean(*(const bool *)p);
    case MEMBER_U32:
        return json_integer(*(const uint32_t *)(const void *)p);
    case MEMBER_U64:
        return json_integer((json_int_t) * (const uint64_t *)(const void *)p);
    }
    return NULL;
}

static json_t *members_to_json(const void *of, const struct member *list, size_t n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, list[i].name,
                            member_to_json((const char *)of + list[i].offset, list[i].type));
    return o;
}

static int member_from_json(const json_t *o, const struct member *m, char *p, struct error *err)
{
    const char *text = NULL;
    int64_t number = 0;
    int r;
    switch (m->type) {
    case MEMBER_STRING:
        r = json_get_string(o, "machine", m->name, &text, err);
        *(char **)(void *)p = xstrdup(text);
        return r;
    case MEMBER_BOOL:
        return json_get_bool(o, "machine", m->name, (bool *)p, err);
    case MEMBER_U32:
        return json_get_u32(o, "machine", m->name, (uint32_t *)(void *)p, err);
    case MEMBER_U64:
        break;
    }
    r = json_get_i64(o, "machine", m->name, &number, err);
    if (r == 0 && number < 0)
        return error_invalid(err, "machine: \"%s\" is negative", m->name);
    *(uint64_t *)(void *)p = (uint64_t)number;
    return r;
}

static int members_from_json(const json_t *o, void *of, const struct member *list, size_t n,
                             struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = member_from_json(o, &list[i], (char *)of + list[i].offset, err);
    return r;
}

void bundle_machine_done(struct bundle_machine *m)
{
    for (size_t i = 0; i < m->n_disks; i++) {
        struct machine_disk *d = &m->disks[i];
        for (size_t k = 0; k < d->n_parts; k++) {
            free(d->parts[k].pack);
            free(d->parts[k].map);
        }
        free(d->parts);
        strv_free(d->lower);
        members_free(d, disk_members, ARRAY_SIZE(disk_members));
    }
    free(m->disks);
    members_free(m, machine_members, ARRAY_SIZE(machine_members));
    memset(m, 0, sizeof(*m));
}

struct machine_disk *bundle_machine_add_disk(struct bundle_machine *m)
{
    m->disks = xreallocarray(m->disks, m->n_disks + 1, sizeof(*m->disks));
    m->disks[m->n_disks] = (struct machine_disk){0};
    return &m->disks[m->n_disks++];
}

struct machine_part *machine_disk_add_part(struct machine_disk *d)
{
    d->parts = xreallocarray(d->parts, d->n_parts + 1, sizeof(*d->parts));
    d->parts[d->n_parts] = (struct machine_part){0};
    return &d->parts[d->n_parts++];
}

static json_t *disk_to_json(const struct machine_disk *d)
{
    json_t *o = members_to_json(d, disk_members, ARRAY_SIZE(disk_members));
    json_t *parts = json_array();
    for (size_t i = 0; i < d->n_parts; i++)
        json_array_append_new(
            parts, json_pack("{s:s, s:s?}", "pack", d->parts[i].pack, "map", d->parts[i].map));
    json_object_set_new(o, "parts", parts);
    if (d->lower)
        json_object_set_new(o, "lower", json_from_strv(d->lower));
    json_object_set_new(o, "bus", json_string(machine_bus_name(d->bus)));
    return o;
}

json_t *bundle_machine_to_json(const struct bundle_machine *m)
{
    json_t *o = members_to_json(m, machine_members, ARRAY_SIZE(machine_members));
    json_t *disks = json_array();
    for (size_t i = 0; i < m->n_disks; i++)
        json_array_append_new(disks, disk_to_json(&m->disks[i]));
    json_object_set_new(o, "disks", disks);
    return o;
}

static int parts_from_json(const json_t *o, struct machine_disk *d, struct error *err)
{
    json_t *parts = NULL, *part;
    size_t i;
    int r = json_get_array(o, "disks", "parts", &parts, err);
    if (r == 0 && json_array_size(parts) > MACHINE_PARTS_MAX)
        r = error_invalid(err, "proa.json: a disk of too many parts");
    if (r < 0)
        return r;
    json_array_foreach(parts, i, part)
    {
        const char *pack = NULL, *map = NULL;
        if ((r = json_get_string(part, "parts", "pack", &pack, err)) < 0 ||
            (r = json_get_string(part, "parts", "map", &map, err)) < 0)
            return r;
        if (!pack)
            return error_invalid(err, "proa.json: a part of a disk without a pack");
        struct machine_part *p = machine_disk_add_part(d);
        p->pack = xstrdup(pack);
        p->map = xstrdup(map);
    }
    return 0;
}

static int disk_from_json(const json_t *o, struct machine_disk *d, struct error *err)
{
    const char *bus = buses[0];
    int r = members_from_json(o, d, disk_members, ARRAY_SIZE(disk_members), err);
    if (r == 0)
        r = json_get_string(o, "disks", "bus", &bus, err);
    if (r == 0 && machine_bus_from_name(bus, &d->bus) < 0)
        r = error_invalid(err, "proa.json: unknown bus \"%s\"", bus);
    if (r == 0)
        r = parts_from_json(o, d, err);
    if (r == 0)
        r = json_get_strv(o, "disks", "lower", &d->lower, err);
    if (r == 0 && d->lower && strv_len(d->lower) > MACHINE_LOWER_MAX)
        r = error_invalid(err, "proa.json: a disk on too many overlays");
    if (r == 0 && !d->file && d->n_parts == 0)
        r = error_invalid(err, "proa.json: a disk of nothing");
    return r;
}

int bundle_machine_from_json(const json_t *o, struct bundle_machine *ret, struct error *err)
{
    _cleanup_(bundle_machine_done) struct bundle_machine m = {0};
    json_t *disks = NULL, *disk;
    size_t i;
    int r = members_from_json(o, &m, machine_members, ARRAY_SIZE(machine_members), err);
    if (r == 0)
        r = json_get_array(o, "machine", "disks", &disks, err);
    if (r == 0 && json_array_size(disks) > MACHINE_DISKS_MAX)
        r = error_invalid(err, "proa.json: too many disks");
    if (r < 0)
        return r;
    json_array_foreach(disks, i, disk)
    {
        r = disk_from_json(disk, bundle_machine_add_disk(&m), err);
        if (r < 0)
            return r;
    }
    *ret = m;
    memset(&m, 0, sizeof(m));
    return 0;
}
