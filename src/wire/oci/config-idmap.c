/*
 * The mount option "idmap=uids=0-100000-10#10-200000-1;gids=0-100000-10", or "ridmap=", as crun has
 * it: the same three numbers as a mount's uidMappings and gidMappings, which they become. With "@"
 * before a range its second number is an id of the container's, which linux.uidMappings turns into
 * the host's.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/oci/config-internal.h"

struct id_maps {
    struct oci_id_map **items;
    size_t *n;
    const struct oci_id_map *container;
    size_t n_container;
};

/* The host's id of the container's that the range has; -ENOENT when no one mapping has all of it.
 */
static int make_absolute(const struct id_maps *maps, struct oci_id_map *range)
{
    for (size_t i = 0; i < maps->n_container; i++) {
        const struct oci_id_map *c = &maps->container[i];
        uint32_t into = range->host_id - c->container_id;
        if (range->host_id < c->container_id || into >= c->size || range->size > c->size - into)
            continue;
        range->host_id = c->host_id + into;
        return 0;
    }
    return -ENOENT;
}

static bool is_range(const char *text, struct oci_id_map *ret)
{
    uint32_t *const numbers[] = {&ret->container_id, &ret->host_id, &ret->size};
    _cleanup_strv_ char **parts = strv_split(text, '-');
    bool good = strv_len(parts) == ARRAY_SIZE(numbers);
    for (size_t i = 0; good && i < ARRAY_SIZE(numbers); i++)
        good = parse_u32(parts[i], numbers[i]) == 0;
    return good && ret->size > 0 && ret->size <= UINT32_MAX - ret->container_id &&
           ret->size <= UINT32_MAX - ret->host_id;
}

static int add_ranges(const struct id_maps *maps, const char *text, const char *where,
                      struct error *err)
{
    _cleanup_strv_ char **ranges = strv_split(text, '#');
    *maps->items = xreallocarray(*maps->items, *maps->n + strv_len(ranges), sizeof(**maps->items));
    for (size_t i = 0; ranges[i]; i++) {
        struct oci_id_map *map = &(*maps->items)[*maps->n];
        bool relative = ranges[i][0] == '@';
        if (!is_range(ranges[i] + relative, map))
            return error_invalid(err, "%s: idmap: \"%.64s\" is no range ID-ID-SIZE", where,
                                 ranges[i]);
        if (relative && make_absolute(maps, map) < 0)
            return error_invalid(err,
                                 "%s: idmap: \"%.64s\" is in no single mapping of the container's",
                                 where, ranges[i]);
        (*maps->n)++;
    }
    return 0;
}

static int read_option(const char *value, const struct oci_linux *l, struct oci_mount *m,
                       const char *where, struct error *err)
{
    const struct id_maps uids = {&m->uid_maps, &m->n_uid_maps, l->uid_maps, l->n_uid_maps};
    const struct id_maps gids = {&m->gid_maps, &m->n_gid_maps, l->gid_maps, l->n_gid_maps};
    _cleanup_strv_ char **parts = strv_split(value, ';');
    int r = 0;
    if (m->n_uid_maps || m->n_gid_maps)
        return error_invalid(err, "%s: the mappings of idmap are given twice", where);
    for (size_t i = 0; parts[i] && r == 0; i++) {
        bool is_uids = strncmp(parts[i], "uids=", 5) == 0;
        if (!is_uids && strncmp(parts[i], "gids=", 5) != 0)
            return error_invalid(err, "%s: idmap: \"%.64s\" is neither uids= nor gids=", where,
                                 parts[i]);
        r = add_ranges(is_uids ? &uids : &gids, parts[i] + 5, where, err);
    }
    if (r == 0 && (!m->n_uid_maps || !m->n_gid_maps))
        r = error_invalid(err, "%s: idmap: uids and gids go together", where);
    return r;
}

int oci_mount_read_id_maps(const struct oci_linux *l, struct oci_mount *m, const char *where,
                           struct error *err)
{
    int r = 0;
    for (size_t i = 0; m->options && m->options[i] && r == 0; i++) {
        const char *word = m->options[i] + (m->options[i][0] == 'r');
        if (strncmp(word, "idmap=", 6) == 0)
            r = read_option(word + 6, l, m, where, err);
    }
    return r;
}
