/*
 * root, mounts, annotations; process.c, hooks.c, config-linux.c and config-seccomp.c have the rest.
 *
 * Numbers: the specification has unsigned 64-bit limits and its writers print "no limit" as
 * 18446744073709551615, which JSON libraries with signed integers refuse. Before parsing, that one
 * number (outside strings) is rewritten to -1, which every limit here reads as "no limit".
 */
#include "wire/oci/config.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

static int field_string(const json_t *o, const char *where, const char *key, char **out,
                        struct error *err)
{
    const char *s = NULL;
    int r = json_get_string(o, where, key, &s, err);
    if (r == 0 && s)
        xreplace(out, s);
    return r;
}

int oci_field_strv(const json_t *o, const char *where, const char *key, char ***out,
                   struct error *err)
{
    char **v = NULL;
    json_t *array;
    int r = json_get_array(o, where, key, &array, err);
    if (r < 0 || !array)
        return r;
    if (json_array_size(array) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "%s: \"%s\" has more than %d entries", where, key,
                         OCI_MAX_ENTRIES);
    r = json_get_strv(o, where, key, &v, err);
    if (r == 0) {
        strv_free(*out);
        *out = v;
    }
    return r;
}

int oci_number(const json_t *o, const char *where, const char *key, int64_t low, int64_t high,
               int64_t *ret, struct error *err)
{
    int64_t value = OCI_UNSET;
    int r = json_get_i64(o, where, key, &value, err);
    if (r < 0 || json_is_null(json_object_get(o, key)) || !json_object_get(o, key))
        return r;
    if (value < low)
        return error_invalid(err, "%s: \"%s\" is below %lld", where, key, (long long)low);
    if (value > high)
        return error_invalid(err, "%s: \"%s\" is above %lld", where, key, (long long)high);
    *ret = value;
    return 0;
}

int oci_fields(const json_t *o, const char *where, const struct field *fields, size_t n, void *out,
               struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        const struct field *f = &fields[i];
        void *member = (char *)out + f->offset;
        switch (f->type) {
        case FIELD_STRING:
            r = field_string(o, where, f->key, member, err);
            break;
        case FIELD_BOOL:
            r = json_get_bool(o, where, f->key, member, err);
            break;
        case FIELD_U32:
            r = json_get_u32(o, where, f->key, member, err);
            break;
        case FIELD_I64:
            r = oci_number(o, where, f->key, f->low, f->high, member, err);
            break;
        case FIELD_STRV:
            r = oci_field_strv(o, where, f->key, member, err);
            break;
        }
    }
    return r;
}

int oci_items(const json_t *o, const char *where, const char *key, size_t size,
              oci_item_reader *read, void **items, size_t *n, struct error *err)
{
    json_t *array, *item;
    size_t i;
    char name[96];
    int r = json_get_array(o, where, key, &array, err);
    if (r < 0 || !array || *items)
        return r;
    if (json_array_size(array) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "%s: \"%s\" has more than %d entries", where, key,
                         OCI_MAX_ENTRIES);
    char *base = xcalloc(json_array_size(array) + 1, size);
    *items = base;
    json_array_foreach(array, i, item)
    {
        snprintf(name, sizeof(name), "%s.%s[%zu]", where, key, i);
        if (!json_is_object(item))
            return error_invalid(err, "%s: must be an object", name);
        *n = i + 1;
        r = read(item, name, base + i * size, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int oci_word(const struct oci_word *words, size_t n, const char *name, const char *where,
             int64_t *ret, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i].name, name) == 0) {
            *ret = words[i].value;
            return 0;
        }
    return error_invalid(err, "%s: unknown value \"%s\"", where, name);
}

int oci_word_flags(const json_t *o, const char *where, const char *key,
                   const struct oci_words *words, int64_t *ret, struct error *err)
{
    char name[96];
    json_t *flags, *item;
    size_t i;
    int r = json_get_array(o, where, key, &flags, err);
    if (r < 0 || !flags)
        return r;
    snprintf(name, sizeof(name), "%s.%s", where, key);
    json_array_foreach(flags, i, item)
    {
        int64_t value;
        const char *flag = json_string_value(item);
        if ((r = oci_word(words->items, words->n, flag ? flag : "", name, &value, err)) < 0)
            return r;
        *ret |= value;
    }
    return 0;
}

int oci_require(const char *value, const char *where, const char *key, struct error *err)
{
    return value && *value ? 0 : error_invalid(err, "%s: \"%s\" is missing", where, key);
}

int oci_require_members(const json_t *o, const char *where, const char *const *keys,
                        struct error *err)
{
    for (size_t i = 0; keys[i]; i++) {
        const json_t *value = json_object_get(o, keys[i]);
        if (!value || json_is_null(value))
            return error_invalid(err, "%s: \"%s\" is missing", where, keys[i]);
    }
    return 0;
}

int oci_pairs(const json_t *o, const char *where, const char *key, void *items, size_t *n,
              struct error *err)
{
    json_t *object, *value;
    const char *name;
    int r = json_get_object(o, where, key, &object, err);
    if (r < 0 || !object)
        return r;
    if (json_object_size(object) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "%s: \"%s\" has more than %d entries", where, key,
                         OCI_MAX_ENTRIES);
    struct oci_pair *pairs = xcalloc(json_object_size(object) + 1, sizeof(*pairs));
    *(struct oci_pair **)items = pairs;
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value))
            return error_invalid(err, "%s.%s: \"%s\" must be a string", where, key, name);
        pairs[*n].key = xstrdup(name);
        pairs[*n].value = xstrdup(json_string_value(value));
        (*n)++;
    }
    return 0;
}

static int read_mount(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("destination", STRING, struct oci_mount, destination),
        FIELD("type", STRING, struct oci_mount, type),
        FIELD("source", STRING, struct oci_mount, source),
        FIELD("options", STRV, struct oci_mount, options),
    };
    struct oci_mount *m = item;
    int r;
    if ((r = OCI_FIELDS(o, where, fields, m, err)) < 0 ||
        (r = oci_require(m->destination, where, "destination", err)) < 0 ||
        (r = oci_items(o, where, "uidMappings", sizeof(*m->uid_maps), oci_id_map_from_json,
                       (void **)&m->uid_maps, &m->n_uid_maps, err)) < 0 ||
        (r = oci_items(o, where, "gidMappings", sizeof(*m->gid_maps), oci_id_map_from_json,
                       (void **)&m->gid_maps, &m->n_gid_maps, err)) < 0)
        return r;
    if ((m->n_uid_maps > 0) != (m->n_gid_maps > 0))
        return error_invalid(err, "%s: \"uidMappings\" and \"gidMappings\" go together", where);
    return 0;
}

static int read_root(const json_t *config, struct oci_config *c, struct error *err)
{
    static const struct field fields[] = {
        FIELD("path", STRING, struct oci_config, root_path),
        FIELD("readonly", BOOL, struct oci_config, root_readonly),
    };
    json_t *o;
    int r = json_get_object(config, "config.json", "root", &o, err);
    return r < 0 || !o ? r : OCI_FIELDS(o, "root", fields, c, err);
}

static int read_process(const json_t *config, struct oci_config *c, struct error *err)
{
    json_t *o;
    int r = json_get_object(config, "config.json", "process", &o, err);
    if (r < 0 || !o)
        return r;
    c->has_process = true;
    return oci_process_from_json(o, &c->process, err);
}

/* ociVersion 1.x, or what came before 1.0. A major version to come may mean other things. */
static int check_version(const struct oci_config *c, struct error *err)
{
    int r = oci_require(c->version, "config.json", "ociVersion", err);
    if (r < 0)
        return r;
    if (strncmp(c->version, "1.", 2) != 0 && strncmp(c->version, "0.", 2) != 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "config.json: ociVersion \"%s\" is not supported", c->version);
    return 0;
}

static int check_annotations(const struct oci_config *c, struct error *err)
{
    for (size_t i = 0; i < c->n_annotations; i++)
        if (!*c->annotations[i].key)
            return error_invalid(err, "annotations: a key is empty");
    return 0;
}

static int read_id_maps(struct oci_config *c, struct error *err)
{
    char where[64];
    int r = 0;
    for (size_t i = 0; i < c->n_mounts && r == 0; i++) {
        snprintf(where, sizeof(where), "config.json.mounts[%zu]", i);
        r = oci_mount_read_id_maps(&c->linux_, &c->mounts[i], where, err);
    }
    return r;
}

static int read_config(const json_t *o, struct oci_config *c, struct error *err)
{
    static const struct field fields[] = {
        FIELD("ociVersion", STRING, struct oci_config, version),
        FIELD("hostname", STRING, struct oci_config, hostname),
        FIELD("domainname", STRING, struct oci_config, domainname),
    };
    json_t *lin;
    int r;
    if (!json_is_object(o))
        return error_invalid(err, "config.json: must be an object");
    if ((r = OCI_FIELDS(o, "config.json", fields, c, err)) < 0 || (r = check_version(c, err)) < 0 ||
        (r = read_root(o, c, err)) < 0 || (r = read_process(o, c, err)) < 0 ||
        (r = oci_hooks_from_json(o, c->hooks, err)) < 0 ||
        (r = oci_items(o, "config.json", "mounts", sizeof(*c->mounts), read_mount,
                       (void **)&c->mounts, &c->n_mounts, err)) < 0 ||
        (r = oci_pairs(o, "config.json", "annotations", &c->annotations, &c->n_annotations, err)) <
            0 ||
        (r = check_annotations(c, err)) < 0 ||
        (r = json_get_object(o, "config.json", "linux", &lin, err)) < 0)
        return r;
    if (lin && (r = oci_linux_from_json(lin, &c->linux_, err)) < 0)
        return r;
    for (size_t i = 0; i < c->n_annotations; i++)
        c->linux_.keep_groups |= strcmp(c->annotations[i].key, OCI_KEEP_GROUPS) == 0;
    return read_id_maps(c, err);
}

static const char unlimited[] = "18446744073709551615";

/* A copy in which the unsigned "no limit" outside strings is "-1" and blanks. */
static char *rewrite_unlimited(const char *text, size_t len)
{
    bool in_string = false;
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '"')
            in_string = !in_string;
        else if (in_string && copy[i] == '\\')
            i++;
        else if (!in_string && copy[i] == '1' && len - i >= sizeof(unlimited) - 1 &&
                 memcmp(copy + i, unlimited, sizeof(unlimited) - 1) == 0 &&
                 strchr(":,[ \t\r\n", i ? copy[i - 1] : ':') &&
                 strchr(",]} \t\r\n", copy[i + sizeof(unlimited) - 1])) {
            memset(copy + i, ' ', sizeof(unlimited) - 1);
            memcpy(copy + i, "-1", 2);
        }
    }
    return copy;
}

int oci_parse_text(const char *text, size_t len, const char *what, json_t **ret, struct error *err)
{
    _cleanup_free_ char *copy = NULL;
    if (len > JSON_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: larger than %zu bytes", what,
                         JSON_MAX_BYTES);
    if (!(copy = rewrite_unlimited(text, len)))
        return error_errno(err, -ENOMEM, "read %s", what);
    return json_parse(copy, len, what, ret, err);
}

int oci_resources_parse(const char *text, size_t len, struct oci_resources *res, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = oci_parse_text(text, len, "the resources", &o, err);
    if (r < 0)
        return r;
    return json_is_object(o) ? oci_resources_from_json(o, res, err)
                             : error_invalid(err, "the resources: must be an object");
}

int oci_process_parse(const char *text, size_t len, struct oci_process **ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = oci_parse_text(text, len, "the process", &o, err);
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return error_invalid(err, "the process: must be an object");
    _cleanup_(oci_process_free_cleanup) struct oci_process *p = xnew(struct oci_process);
    if ((r = oci_process_from_json(o, p, err)) == 0)
        *ret = TAKE_PTR(p);
    return r;
}

int oci_process_load(const char *path, struct oci_process **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    return oci_process_parse(text, strlen(text), ret, err);
}

int oci_config_parse(const char *text, size_t len, struct oci_config **ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r = oci_parse_text(text, len, "config.json", &o, err);
    if (r < 0)
        return r;
    _cleanup_oci_config_ struct oci_config *c = xnew(struct oci_config);
    oci_linux_init(&c->linux_);
    r = read_config(o, c, err);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}

int oci_config_load(const char *path, struct oci_config **ret, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    return oci_config_parse(text, strlen(text), ret, err);
}

void oci_config_free(struct oci_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_mounts; i++) {
        free(c->mounts[i].destination);
        free(c->mounts[i].type);
        free(c->mounts[i].source);
        strv_free(c->mounts[i].options);
        free(c->mounts[i].uid_maps);
        free(c->mounts[i].gid_maps);
    }
    for (size_t i = 0; i < c->n_annotations; i++) {
        free(c->annotations[i].key);
        free(c->annotations[i].value);
    }
    free(c->mounts);
    free(c->annotations);
    oci_process_done(&c->process);
    oci_hooks_done(c->hooks);
    oci_linux_done(&c->linux_);
    free(c->version);
    free(c->root_path);
    free(c->hostname);
    free(c->domainname);
    free(c);
}

const struct oci_namespace *oci_config_namespace(const struct oci_config *c, int type)
{
    for (size_t i = 0; i < c->linux_.n_namespaces; i++)
        if (c->linux_.namespaces[i].type == type)
            return &c->linux_.namespaces[i];
    return NULL;
}
