#include "engine/sharing.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/place.h"

#define OF_INSTANCE "container:"

/* mode: where the option is kept; NULL: always an instance's own. */
static const struct kind_of_namespace {
    const char *type, *flag, *file;
    size_t mode;
    bool of_instance; /* "container:NAME" is possible */
} kinds[] = {
    {"pid", "--pid", "pid", offsetof(struct create_options, pid_mode), true},
    {"ipc", "--ipc", "ipc", offsetof(struct create_options, ipc_mode), false},
    {"uts", "--uts", "uts", offsetof(struct create_options, uts_mode), true},
    {"cgroup", "--cgroupns", "cgroup", offsetof(struct create_options, cgroupns_mode), false},
};

static const char *mode_of(const struct create_options *o, const struct kind_of_namespace *k)
{
    const char *mode = *(char *const *)((const char *)o + k->mode);
    return mode && *mode ? mode : "private";
}

static bool is_mode(const char *mode, const char *word)
{
    return strcmp(mode, word) == 0;
}

static const char *instance_of(const char *mode)
{
    return strncmp(mode, OF_INSTANCE, strlen(OF_INSTANCE)) == 0 ? mode + strlen(OF_INSTANCE) : NULL;
}

static int check_mode(struct engine *e, const struct kind_of_namespace *k, const char *mode,
                      struct error *err)
{
    struct instance_record record = {0};
    const char *name = k->of_instance ? instance_of(mode) : NULL;
    if (!name)
        return is_mode(mode, "private") || is_mode(mode, "host") ||
                       (is_mode(mode, "shareable") && is_mode(k->type, "ipc"))
                   ? 0
                   : error_invalid(err, "%s \"%.64s\": private, host%s", k->flag, mode,
                                   k->of_instance ? " or container:NAME" : "");
    int r = store_instance_find(e->store, name, &record, err);
    if (r < 0)
        return error_prefix(err, "%s", k->flag);
    r = record.kind == RUNTIME_CONTAINER
            ? 0
            : error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                        "%s: %s is a machine, whose kernel is its own", k->flag, record.name);
    instance_record_done(&record);
    return r;
}

/* An absolute path below the root of the control groups, without "..". */
static int check_cgroup_parent(const char *parent, struct error *err)
{
    _cleanup_free_ char *normal = parent ? path_normalize(parent) : NULL;
    if (!parent || (parent[0] == '/' && parent[1] && strcmp(normal, parent) == 0))
        return 0;
    return error_invalid(err, "--cgroup-parent \"%.64s\": an absolute path, as /mine", parent);
}

int check_sharing(struct engine *e, const struct create_options *o, struct error *err)
{
    int r = check_cgroup_parent(o->cgroup_parent, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++)
        r = check_mode(e, &kinds[i], mode_of(o, &kinds[i]), err);
    if (r == 0 && o->uts_mode && !is_mode(o->uts_mode, "private") && (o->hostname || o->domainname))
        r = error_invalid(err, "--hostname and --domainname need a UTS namespace of its own: leave "
                               "--uts out");
    return r;
}

/* The namespace of an instance's first process; the path is followed when ours starts. */
static int path_of(struct engine *e, const struct kind_of_namespace *k, const char *name,
                   char **ret, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = subject_open(e, name, SUBJECT_UNLOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_OBSERVE, err);
    if (r < 0)
        return error_prefix(err, "%s", k->flag);
    *ret = xasprintf("/proc/%d/ns/%s", (int)s.target.pid, k->file);
    return 0;
}

int sharing_namespaces(struct engine *e, const struct create_options *o, json_t **ret,
                       struct error *err)
{
    _cleanup_json_ json_t *list = json_pack("[{s:s}]", "type", "mount");
    if (!place_is_host(o))
        json_array_append_new(list, json_pack("{s:s}", "type", "network"));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        _cleanup_free_ char *path = NULL;
        const char *mode = mode_of(o, &kinds[i]), *name = instance_of(mode);
        if (is_mode(mode, "host"))
            continue;
        int r = name ? path_of(e, &kinds[i], name, &path, err) : 0;
        if (r < 0)
            return r;
        json_array_append_new(list,
                              path ? json_pack("{s:s, s:s}", "type", kinds[i].type, "path", path)
                                   : json_pack("{s:s}", "type", kinds[i].type));
    }
    *ret = TAKE_PTR(list);
    return 0;
}

/* --- volumes of another instance --- */

/* Whether one of o's own mounts is on the target of "SOURCE:TARGET[:FLAGS]" or "TARGET". */
static bool has_target(const struct spec_mounts *mounts, const char *target)
{
    for (size_t i = 0; i < mounts->n; i++)
        if (strcmp(mounts->list[i].target, target) == 0)
            return true;
    return false;
}

static void take_mount(struct create_options *o, const struct spec_mount *m, bool read_only)
{
    if (strcmp(m->type, "tmpfs") == 0)
        return; /* its memory is nobody else's */
    strv_addf(&o->volumes, "%s:%s:%s", m->name ? m->name : m->source, m->target,
              m->read_only || read_only ? "ro,nocopy" : "nocopy");
}

/* "NAME", "NAME:ro" or "NAME:rw". */
static int take_from(struct engine *e, struct create_options *o, const char *text,
                     struct error *err)
{
    static const struct image nothing = {0};
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_(spec_mounts_done) struct spec_mounts own = {0}, theirs = {0};
    const char *colon = strchrnul(text, ':');
    _cleanup_free_ char *name = xstrndup(text, (size_t)(colon - text));
    bool read_only = strcmp(colon, ":ro") == 0;
    if (*colon && !read_only && strcmp(colon, ":rw") != 0)
        return error_invalid(err, "--volumes-from \"%.64s\": use NAME[:ro]", text);
    int r = subject_open(e, name, SUBJECT_UNLOCKED, &s, err);
    if (r == 0) /* what its image declares has a name among its options by now */
        r = spec_mounts_parse(&s.options, &nothing, &theirs, err);
    if (r == 0)
        r = spec_mounts_parse(o, &nothing, &own, err);
    if (r < 0)
        return error_prefix(err, "--volumes-from");
    for (size_t i = 0; i < theirs.n; i++)
        if (!has_target(&own, theirs.list[i].target))
            take_mount(o, &theirs.list[i], read_only);
    return 0;
}

int sharing_take_volumes(struct engine *e, struct create_options *o, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && o->volumes_from && o->volumes_from[i]; i++)
        r = take_from(e, o, o->volumes_from[i], err);
    return r;
}
