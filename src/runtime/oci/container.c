#include "runtime/oci/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "runtime/container/container.h"
#include "runtime/container/ops.h"
#include "wire/oci/state.h"

#define MAX_ID 1024

const char *oci_status_name(enum oci_status s)
{
    static const char *const names[] = {
        [OCI_CREATING] = "creating", [OCI_CREATED] = "created", [OCI_RUNNING] = "running",
        [OCI_PAUSED] = "paused",     [OCI_STOPPED] = "stopped",
    };
    return names[s];
}

void oci_container_init(struct oci_container *c)
{
    *c = (struct oci_container){.lock = -EBADF};
}

void oci_container_done(struct oci_container *c)
{
    free(c->id);
    free(c->dir);
    free(c->bundle);
    free(c->rootfs);
    free(c->created);
    free(c->cgroup_path);
    free(c->slice);
    free(c->scope);
    free(c->filter_cache);
    free(c->warning);
    strv_free(c->descriptors);
    oci_config_free(c->config);
    close_fd(c->lock);
    oci_container_init(c);
}

int oci_container_check_id(const char *id, struct error *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
    size_t len = strlen(id);
    if (len == 0 || len > MAX_ID || strspn(id, allowed) != len || strcmp(id, ".") == 0 ||
        strcmp(id, "..") == 0)
        return error_invalid(
            err, "invalid container ID \"%.64s\": letters, digits and \"_+-.\" only", id);
    return 0;
}

static int copy_text(const json_t *o, const char *key, char **out, struct error *err)
{
    const char *text = NULL;
    int r = json_get_string(o, "state.json", key, &text, err);
    if (r == 0 && text)
        xreplace(out, text);
    return r;
}

int oci_container_parse(const char *text, size_t len, struct oci_container *c, struct error *err)
{
    const struct {
        const char *key;
        char **out;
    } texts[] = {
        {"bundle", &c->bundle},
        {"rootfs", &c->rootfs},
        {"created", &c->created},
        {"cgroup", &c->cgroup_path},
        {"slice", &c->slice},
        {"scope", &c->scope},
        {"filterCache", &c->filter_cache},
    };
    _cleanup_json_ json_t *o = NULL;
    int64_t pid = 0, ticks = 0, owner = 0;
    int r = json_parse(text, len, "state.json", &o, err);
    if (r == 0 && !json_is_object(o))
        r = error_invalid(err, "state.json: must be an object");
    for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
        r = copy_text(o, texts[i].key, texts[i].out, err);
    if (r < 0 || (r = json_get_i64(o, "state.json", "pid", &pid, err)) < 0 ||
        (r = json_get_i64(o, "state.json", "startTicks", &ticks, err)) < 0 ||
        (r = json_get_i64(o, "state.json", "owner", &owner, err)) < 0 ||
        (r = json_get_strv(o, "state.json", "descriptors", &c->descriptors, err)) < 0)
        return r;
    if (pid < 0 || pid > INT32_MAX || ticks < 0 || owner < 0 || owner > UINT32_MAX || !c->bundle ||
        (c->descriptors && strv_len(c->descriptors) != 3))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "state.json is damaged");
    c->rdt_made = json_is_true(json_object_get(o, "rdt"));
    c->pid = (pid_t)pid;
    c->start_ticks = (uint64_t)ticks;
    c->owner = (uid_t)owner;
    return 0;
}

/* Without the file, the create was killed before it was written. */
static int read_state(struct oci_container *c, struct error *err)
{
    _cleanup_free_ char *path = path_join(c->dir, "state.json"), *text = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    r = oci_container_parse(text, strlen(text), c, err);
    return r < 0 ? error_prefix(err, "%s", c->dir) : 0;
}

static int read_config(struct oci_container *c, struct error *err)
{
    _cleanup_free_ char *path = path_join(c->dir, "config.json");
    int r = oci_config_load(path, &c->config, err);
    if (r == -ENOENT && c->pid == 0) {
        if (err)
            error_clear(err);
        return 0;
    }
    return r;
}

int oci_container_save(const struct oci_container *c, struct error *err)
{
    _cleanup_free_ char *path = path_join(c->dir, "state.json");
    _cleanup_json_ json_t *o = json_pack(
        "{s:s,s:s,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:b,s:I,s:I,s:I,s:o*}", "id", c->id, "bundle",
        c->bundle, "rootfs", c->rootfs, "created", c->created, "cgroup", c->cgroup_path, "slice",
        c->slice, "scope", c->scope, "filterCache", c->filter_cache, "rdt", c->rdt_made, "pid",
        (json_int_t)c->pid, "startTicks", (json_int_t)c->start_ticks, "owner", (json_int_t)c->owner,
        "descriptors", c->descriptors ? json_from_strv(c->descriptors) : NULL);
    if (!o)
        return error_set(err, ERROR_INVALID, EINVAL, "the state of %s is no text", c->id);
    _cleanup_free_ char *text = json_to_text(o);
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int oci_container_lock(struct oci_container *c, struct error *err)
{
    struct stat held, named;
    if (c->lock < 0)
        c->lock = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "container %s does not exist", c->id);
    if (c->lock < 0 || flock(c->lock, LOCK_EX) < 0)
        return error_errno(err, errno, "lock %s", c->dir);
    if (fstat(c->lock, &held) < 0 || stat(c->dir, &named) < 0 || held.st_ino != named.st_ino)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "container %s does not exist", c->id);
    return 0;
}

int oci_container_load(const char *root, const char *id, bool lock, struct oci_container *ret,
                       struct error *err)
{
    _cleanup_oci_container_ struct oci_container c;
    int r = oci_container_check_id(id, err);
    oci_container_init(&c);
    if (r < 0)
        return r;
    c.id = xstrdup(id);
    c.dir = path_join(root, id);
    if (lock && (r = oci_container_lock(&c, err)) < 0)
        return r;
    if (!lock && access(c.dir, F_OK) < 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "container %s does not exist", id);
    if ((r = read_state(&c, err)) < 0 || (r = read_config(&c, err)) < 0)
        return r;
    *ret = c;
    oci_container_init(&c);
    return 0;
}

struct runtime_target oci_container_target(const struct oci_container *c)
{
    return (struct runtime_target){
        .id = c->id,
        .bundle = c->dir,
        .run_dir = c->dir,
        .pid = c->pid,
        .cgroup_path = c->cgroup_path ? c->cgroup_path : "",
        .scope = c->scope,
        .start_ticks = c->start_ticks,
    };
}

int oci_container_look(const struct oci_container *c, enum oci_status *ret, struct error *err)
{
    struct runtime_target t = oci_container_target(c);
    *ret = OCI_CREATING;
    if (c->pid == 0)
        return 0;
    _cleanup_close_ int pidfd = container_target_pidfd(&t, err);
    if (pidfd < 0 && pidfd != -ESRCH)
        return pidfd;
    if (pidfd < 0)
        *ret = OCI_STOPPED;
    else if (container_is_held(c->dir))
        *ret = OCI_CREATED;
    else
        *ret = c->cgroup_path && container_target_frozen(&t) ? OCI_PAUSED : OCI_RUNNING;
    return 0;
}

enum oci_status oci_container_status(const struct oci_container *c)
{
    enum oci_status status;
    return oci_container_look(c, &status, NULL) < 0 ? OCI_RUNNING : status;
}

json_t *oci_container_state(const struct oci_container *c, enum oci_status status, bool extended)
{
    char owner[16];
    snprintf(owner, sizeof(owner), "%u", (unsigned int)c->owner);
    const struct oci_state s = {
        .id = c->id,
        .status = oci_status_name(status),
        .pid = status == OCI_STOPPED ? 0 : c->pid,
        .bundle = c->bundle,
        .annotations = c->config ? c->config->annotations : NULL,
        .n_annotations = c->config ? c->config->n_annotations : 0,
        .rootfs = extended ? c->rootfs : NULL,
        .created = extended ? c->created : NULL,
        .owner = !extended       ? NULL
                 : c->owner == 0 ? "root"
                                 : owner,
    };
    return oci_state_to_object(&s);
}

char *oci_container_state_json(const struct oci_container *c, enum oci_status status, bool extended)
{
    _cleanup_json_ json_t *o = oci_container_state(c, status, extended);
    char *text = json_dumps(o, extended ? JSON_INDENT(2) : JSON_COMPACT);
    return text ? text : xstrdup("{}");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int oci_container_names(const char *root, char ***ret, struct error *err)
{
    char **names = strv_copy(NULL);
    DIR *dir = opendir(root);
    if (!dir && errno != ENOENT) {
        strv_free(names);
        return error_errno(err, errno, "read %s", root);
    }
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (oci_container_check_id(e->d_name, NULL) == 0)
            strv_add(&names, e->d_name);
    if (dir)
        closedir(dir);
    qsort(names, strv_len(names), sizeof(*names), by_name);
    *ret = names;
    return 0;
}
