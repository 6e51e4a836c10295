/* The process object: of config.json, and alone for one more process. */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

static int read_gids(const json_t *o, struct oci_user *user, struct error *err)
{
    json_t *array, *item;
    size_t i;
    int r = json_get_array(o, "process.user", "additionalGids", &array, err);
    if (r < 0 || !array)
        return r;
    if (json_array_size(array) > OCI_MAX_ENTRIES)
        return error_set(err, ERROR_LIMIT, E2BIG, "process.user: too many additionalGids");
    user->additional_gids = xcalloc(json_array_size(array) + 1, sizeof(uint32_t));
    json_array_foreach(array, i, item)
    {
        json_int_t gid = json_is_integer(item) ? json_integer_value(item) : -1;
        if (gid < 0 || gid >= UINT32_MAX)
            return error_invalid(err, "process.user: additionalGids[%zu] is no group id", i);
        user->additional_gids[user->n_additional_gids++] = (uint32_t)gid;
    }
    return 0;
}

static int read_user(const json_t *process, struct oci_user *user, struct error *err)
{
    static const struct field fields[] = {
        FIELD("uid", U32, struct oci_user, uid),
        FIELD("gid", U32, struct oci_user, gid),
        FIELD("username", STRING, struct oci_user, username),
        FIELD("umask", U32, struct oci_user, umask),
    };
    json_t *o;
    int r = json_get_object(process, "process", "user", &o, err);
    if (r < 0 || !o)
        return r;
    user->umask = UINT32_MAX;
    if ((r = OCI_FIELDS(o, "process.user", fields, user, err)) < 0)
        return r;
    user->has_umask = user->umask != UINT32_MAX;
    if (user->has_umask && user->umask > 0777)
        return error_invalid(err, "process.user: \"umask\" is above 0777");
    /* The last id is the kernel's "leave it as it is": a setuid to it would keep root. */
    if (user->uid == UINT32_MAX || user->gid == UINT32_MAX)
        return error_invalid(err, "process.user: 4294967295 is no user or group id");
    int bad = oci_field_strv(o, "process.user", "groups", &user->groups, err);
    return bad < 0 ? bad : read_gids(o, user, err);
}

/* An unknown one is no error (config.md, "capabilities"): whoever uses the process warns. */
static int read_capability_set(const json_t *o, const char *key, uint64_t *ret, char ***unknown,
                               struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = oci_field_strv(o, "process.capabilities", key, &names, err);
    for (size_t i = 0; r == 0 && names && names[i]; i++) {
        unsigned int cap;
        if (oci_capability_from_name(names[i], &cap) == 0)
            *ret |= UINT64_C(1) << cap;
        else if (!strv_has(*unknown, names[i]))
            strv_add(unknown, names[i]);
    }
    return r;
}

static int read_capabilities(const json_t *process, struct oci_process *p, struct error *err)
{
    struct oci_capabilities *c = &p->capabilities;
    const struct {
        const char *key;
        uint64_t *set;
    } sets[] = {{"bounding", &c->bounding},
                {"effective", &c->effective},
                {"inheritable", &c->inheritable},
                {"permitted", &c->permitted},
                {"ambient", &c->ambient}};
    json_t *o;
    int r = json_get_object(process, "process", "capabilities", &o, err);
    if (r < 0 || !o)
        return r;
    p->has_capabilities = true;
    for (size_t i = 0; i < ARRAY_SIZE(sets) && r == 0; i++)
        r = read_capability_set(o, sets[i].key, sets[i].set, &p->unknown_capabilities, err);
    return r;
}

static int read_rlimit(const json_t *o, const char *where, void *item, struct error *err)
{
    struct oci_rlimit *limit = item;
    const char *type = NULL;
    int64_t soft = OCI_UNSET, hard = OCI_UNSET; /* -1: none */
    int r;
    if ((r = json_get_string(o, where, "type", &type, err)) < 0 ||
        (r = oci_require(type, where, "type", err)) < 0 ||
        (r = oci_number(o, where, "soft", -1, INT64_MAX, &soft, err)) < 0 ||
        (r = oci_number(o, where, "hard", -1, INT64_MAX, &hard, err)) < 0)
        return r;
    if (oci_rlimit_from_name(type, &limit->resource) < 0)
        return error_invalid(err, "%s: unknown rlimit \"%s\"", where, type);
    if (soft == OCI_UNSET || hard == OCI_UNSET)
        return error_invalid(err, "%s: \"soft\" and \"hard\" must be given", where);
    limit->soft = (uint64_t)soft;
    limit->hard = (uint64_t)hard;
    if (limit->soft > limit->hard)
        return error_invalid(err, "%s: \"soft\" is above \"hard\"", where);
    return 0;
}

static int check_process(const struct oci_process *p, struct error *err)
{
    if (!p->args || !p->args[0])
        return error_invalid(err, "process: \"args\" is empty");
    if (!p->cwd || p->cwd[0] != '/')
        return error_invalid(err, "process: \"cwd\" is not an absolute path");
    for (size_t i = 0; i < p->n_rlimits; i++)
        for (size_t j = 0; j < i; j++)
            if (p->rlimits[i].resource == p->rlimits[j].resource)
                return error_invalid(err, "process.rlimits[%zu]: the same type twice", i);
    return 0;
}

int oci_process_from_json(const json_t *o, struct oci_process *p, struct error *err)
{
    static const struct field fields[] = {
        FIELD("terminal", BOOL, struct oci_process, terminal),
        FIELD("args", STRV, struct oci_process, args),
        FIELD("env", STRV, struct oci_process, env),
        FIELD("cwd", STRING, struct oci_process, cwd),
        FIELD("noNewPrivileges", BOOL, struct oci_process, no_new_privileges),
        FIELD("apparmorProfile", STRING, struct oci_process, apparmor_profile),
        FIELD("selinuxLabel", STRING, struct oci_process, selinux_label),
    };
    static const struct field size_fields[] = {
        FIELD("height", U32, struct oci_process, console_height),
        FIELD("width", U32, struct oci_process, console_width),
    };
    static const char *const size_keys[] = {"height", "width", NULL};
    int64_t oom = OCI_UNSET;
    json_t *size;
    int r;
    if ((r = OCI_FIELDS(o, "process", fields, p, err)) < 0 ||
        (r = read_user(o, &p->user, err)) < 0 || (r = read_capabilities(o, p, err)) < 0 ||
        (r = oci_items(o, "process", "rlimits", sizeof(*p->rlimits), read_rlimit,
                       (void **)&p->rlimits, &p->n_rlimits, err)) < 0 ||
        (r = json_get_object(o, "process", "consoleSize", &size, err)) < 0 ||
        (r = oci_number(o, "process", "oomScoreAdj", -1000, 1000, &oom, err)) < 0)
        return r;
    if (size && ((r = oci_require_members(size, "process.consoleSize", size_keys, err)) < 0 ||
                 (r = OCI_FIELDS(size, "process.consoleSize", size_fields, p, err)) < 0))
        return r;
    if ((r = oci_process_host_from_json(o, p, err)) < 0)
        return r;
    p->has_oom_score_adj = oom != OCI_UNSET;
    p->oom_score_adj = p->has_oom_score_adj ? (int32_t)oom : 0;
    return check_process(p, err);
}

void oci_process_done(struct oci_process *p)
{
    free(p->user.username);
    free(p->user.additional_gids);
    strv_free(p->user.groups);
    strv_free(p->args);
    strv_free(p->env);
    free(p->cwd);
    free(p->rlimits);
    strv_free(p->unknown_capabilities);
    free(p->apparmor_profile);
    free(p->selinux_label);
    free(p->cpus_initial);
    free(p->cpus_final);
}

void oci_process_free(struct oci_process *p)
{
    if (!p)
        return;
    oci_process_done(p);
    free(p);
}
