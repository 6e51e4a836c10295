#include "engine/parcel.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/machine-disks.h"

#define VERSION   1
#define WHAT      "parcel"
#define PARTS_MAX 256 /* more than snapshots may have */
#define TPM       "tpm."
#define VARIABLES "firmware.vars"

void parcel_head_done(struct parcel_head *h)
{
    free(h->what);
    free(h->name);
    free(h->consistency);
    instance_record_done(&h->instance);
    strv_free(h->parts);
    free(h->token);
    arrival_ports_free(h->ports);
    memset(h, 0, sizeof(*h));
}

static json_t *ports_to_json(const struct arrival_port *p)
{
    json_t *list = json_array();
    for (; p && p->network; p++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "network", p->network,
                                              "subnet", p->subnet, "address", p->address,
                                              "address6", p->address6, "mac", p->mac));
    return list;
}

char *parcel_head_text(const struct parcel_head *h)
{
    const struct instance_record *i = &h->instance;
    _cleanup_json_ json_t *o = json_pack(
        "{s:i, s:s, s:s?, s:s?, s:I, s:I, s:o, s:{s:s, s:s, s:s, s:s, s:I, s:b, s:s}}", "proa",
        VERSION, "what", h->what, "name", h->name, "consistency", h->consistency, "memory_bytes",
        (json_int_t)h->memory_bytes, "created_ns", (json_int_t)h->created_ns, "parts",
        json_from_strv(h->parts), "instance", "id", i->id, "name", i->name, "image_id", i->image_id,
        "image_name", i->image_name, "created_ns", (json_int_t)i->created_ns, "auto_remove",
        (int)i->auto_remove, "options", i->options);
    if (h->token) {
        json_object_set_new(o, "token", json_string(h->token));
        json_object_set_new(o, "runs", json_boolean(h->runs));
        json_object_set_new(o, "ports", ports_to_json(h->ports));
    }
    return json_to_text(o);
}

static int need_text(const json_t *o, const char *key, size_t max, char **ret, struct error *err)
{
    const char *text = NULL;
    int r = json_get_string(o, WHAT, key, &text, err);
    if (r == 0 && (!text || !*text || strlen(text) > max))
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's head has no proper \"%s\"", key);
    if (r == 0)
        xreplace(ret, text);
    return r;
}

static int parse_instance(const json_t *o, struct instance_record *i, struct error *err)
{
    int r = need_text(o, "id", 64, &i->id, err);
    if (r == 0 && !(strlen(i->id) == 64 && is_hex(i->id, 64)))
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's machine has no proper id");
    if (r == 0)
        r = need_text(o, "name", 128, &i->name, err);
    if (r == 0)
        r = check_instance_name(i->name, err);
    if (r == 0)
        r = need_text(o, "image_id", 256, &i->image_id, err);
    if (r == 0)
        r = need_text(o, "image_name", 1024, &i->image_name, err);
    if (r == 0)
        r = need_text(o, "options", PARCEL_HEAD_MAX, &i->options, err);
    if (r == 0)
        r = json_get_i64(o, WHAT, "created_ns", &i->created_ns, err);
    if (r == 0)
        r = json_get_bool(o, WHAT, "auto_remove", &i->auto_remove, err);
    i->kind = RUNTIME_VM;
    return r;
}

char *parcel_part_name(size_t level, const char *file)
{
    return xasprintf("%zu-%s", level, file);
}

/* Names are made and looked for: none is taken apart. */
char **parcel_level(char *const *names, size_t level)
{
    char **files = strv_copy(NULL);
    for (unsigned int disk = 0; disk < SNAPSHOT_DISKS_MAX; disk++)
        for (int overlay = 0; overlay < 2; overlay++) {
            _cleanup_free_ char *file = snapshot_disk_name(disk, overlay);
            _cleanup_free_ char *name = parcel_part_name(level, file);
            if (strv_has(names, name) && !strv_has(files, file))
                strv_add(&files, file);
        }
    return files;
}

/* Those of the first level, of the second, and so on, and nothing else. */
static int check_parts(char *const *parts, struct error *err)
{
    size_t level = 0, n = 0;
    bool more = true;
    for (; more && n <= PARTS_MAX; level++) {
        _cleanup_strv_ char **files = parcel_level(parts, level);
        for (size_t i = 0; more && files[i]; i++) {
            _cleanup_free_ char *name = parcel_part_name(level, files[i]);
            more = parts[n] && strcmp(parts[n], name) == 0;
            n += more;
        }
        more = more && files[0];
    }
    return n == strv_len(parts) && n <= PARTS_MAX
               ? 0
               : error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's parts are no chain");
}

static int parse_port(const json_t *o, struct arrival_port *p, struct error *err)
{
    int r = need_text(o, "network", 128, &p->network, err);
    if (r == 0)
        r = need_text(o, "subnet", 128, &p->subnet, err);
    if (r == 0)
        r = need_text(o, "address", 64, &p->address, err);
    if (r == 0)
        r = need_text(o, "address6", 64, &p->address6, err);
    return r < 0 ? r : need_text(o, "mac", 17, &p->mac, err);
}

static int parse_moving(const json_t *o, struct parcel_head *h, struct error *err)
{
    json_t *ports = NULL;
    int r = need_text(o, "token", 64, &h->token, err);
    if (r == 0 && !(strlen(h->token) == 64 && is_hex(h->token, 64)))
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's head has no proper token");
    if (r == 0)
        r = json_get_bool(o, WHAT, "runs", &h->runs, err);
    if (r == 0)
        r = json_get_array(o, WHAT, "ports", &ports, err);
    if (r == 0 && json_array_size(ports) > BUNDLE_NETWORKS_MAX)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's machine has too many ports");
    size_t n = r == 0 ? json_array_size(ports) : 0;
    h->ports = xcalloc(n + 1, sizeof(*h->ports));
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_port(json_array_get(ports, i), &h->ports[i], err);
    return r;
}

static int parse(const json_t *o, struct parcel_head *h, struct error *err)
{
    json_t *instance = NULL;
    int64_t version = 0, memory = 0;
    int r = json_get_i64(o, WHAT, "proa", &version, err);
    if (r == 0 && version != VERSION)
        r = error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "it is a parcel of another version of Proa");
    if (r == 0)
        r = need_text(o, "what", 16, &h->what, err);
    if (r == 0 && strcmp(h->what, "snapshot") == 0) {
        r = need_text(o, "name", 128, &h->name, err);
        if (r == 0)
            r = need_text(o, "consistency", 16, &h->consistency, err);
    } else if (r == 0) {
        r = parse_moving(o, h, err);
    }
    if (r == 0)
        r = json_get_i64(o, WHAT, "memory_bytes", &memory, err);
    if (r == 0)
        r = json_get_i64(o, WHAT, "created_ns", &h->created_ns, err);
    if (r == 0)
        r = json_get_strv(o, WHAT, "parts", &h->parts, err);
    if (r == 0)
        r = check_parts(h->parts, err);
    if (r == 0)
        r = json_get_object(o, WHAT, "instance", &instance, err);
    if (r == 0 && (memory < 0 || !instance))
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel's head lacks what it needs");
    h->memory_bytes = (uint64_t)memory;
    return r < 0 ? r : parse_instance(instance, &h->instance, err);
}

int parcel_head_parse(const char *text, struct parcel_head *ret, struct error *err)
{
    _cleanup_(parcel_head_done) struct parcel_head h = {0};
    _cleanup_json_ json_t *o = NULL;
    int r = json_parse(text, strlen(text), WHAT, &o, err);
    if (r == 0)
        r = parse(o, &h, err);
    if (r < 0)
        return r;
    *ret = h;
    memset(&h, 0, sizeof(h));
    return 0;
}

/* --- what may leave, and arrive --- */

static int stays(struct error *err, const char *name, const char *what)
{
    return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                     "machine %s has %s of this host, which would stay behind", name, what);
}

static int check_disks(const struct create_options *o, const char *name, struct error *err)
{
    for (size_t i = 0; o->disks && o->disks[i]; i++) {
        _cleanup_(disk_spec_done) struct disk_spec spec = {0};
        int r = disk_spec_parse(o->disks[i], &spec, err);
        if (r == 0 && disk_spec_is_file(&spec))
            r = stays(err, name, "a disk in a file (--disk)");
        if (r < 0)
            return r;
    }
    return strv_len(o->cdroms) > 0 ? stays(err, name, "a CD-ROM (--cdrom)") : 0;
}

/* A profile is read anew at each start, from its file. */
static bool has_profile(const struct create_options *o)
{
    bool file = false;
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++) {
        const char *value = strpbrk(o->security_opt[i], "=:");
        file = file || (strncmp(o->security_opt[i], "seccomp", 7) == 0 && value &&
                        strcmp(value + 1, "unconfined") != 0);
    }
    return file;
}

int machine_may_leave(const struct create_options *o, const char *name, bool same_host,
                      struct error *err)
{
    if (strv_len(o->volumes) > 0 || strv_len(o->mounts) > 0)
        return stays(err, name, "volumes or directories");
    if (same_host)
        return 0;
    if ((o->kernel && strchr(o->kernel, '/')) || o->initrd)
        return stays(err, name, "a kernel or initrd in a file");
    if (has_profile(o))
        return stays(err, name, "a seccomp profile in a file");
    return check_disks(o, name, err);
}

static int check_image(struct engine *e, const struct instance_record *i, struct image **ret,
                       struct error *err)
{
    struct error why = ERROR_INIT;
    int r = image_find(e->store, i->image_id, ret, &why);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "its image %.200s is not in %s: bring it there first (pull it, or proa "
                         "save %.200s and proa load)",
                         i->image_name, e->store->root, i->image_name);
    return r < 0 ? error_set(err, why.kind, -r, "%s", why.msg) : 0;
}

int machine_may_arrive(struct engine *e, const struct parcel_head *h, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_(create_options_done) struct create_options o;
    _cleanup_json_ json_t *json = NULL;
    const struct instance_record *i = &h->instance;
    create_options_init(&o);
    int r = json_parse(i->options, strlen(i->options), "options", &json, err);
    if (r == 0)
        r = create_options_from_json(json, &o, err);
    if (r == 0 && o.kind != RUNTIME_VM)
        r = error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "%s is no machine", i->name);
    if (r == 0)
        r = machine_may_leave(&o, i->name, false, err);
    if (r == 0)
        r = check_image(e, i, &image, err);
    return r < 0 ? r : create_check(e, &o, image, err);
}

/* --- firmware's variables and the TPM --- */

bool parcel_is_state(const char *name)
{
    return strcmp(name, VARIABLES) == 0 ||
           (strncmp(name, TPM, strlen(TPM)) == 0 && path_is_name(name + strlen(TPM)) &&
            name[strlen(TPM)] != '.');
}

static int add_one(struct parcel_writer *w, const char *path, const char *name, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "open %s", path);
    return parcel_add_file(w, name, fd, err);
}

int parcel_add_state(struct parcel_writer *w, const char *from, struct error *err)
{
    _cleanup_free_ char *vars = path_join(from, VARIABLES), *tpm = path_join(from, "tpm");
    _cleanup_strv_ char **names = NULL;
    _cleanup_close_ int folder = open(tpm, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int r = add_one(w, vars, VARIABLES, err);
    if (r == 0 && folder >= 0 && (r = path_list_names(folder, &names)) < 0)
        r = error_errno(err, r, "read %s", tpm);
    for (size_t i = 0; r == 0 && names && names[i]; i++) {
        _cleanup_free_ char *path = path_join(tpm, names[i]);
        _cleanup_free_ char *name = xasprintf(TPM "%s", names[i]);
        if (parcel_is_state(name))
            r = add_one(w, path, name, err);
    }
    return r;
}

int parcel_take_state(struct parcel_in *p, char *const *names, const char *to, struct error *err)
{
    _cleanup_free_ char *tpm = path_join(to, "tpm");
    int r = 0;
    for (size_t i = 0; r == 0 && names[i]; i++) {
        bool of_tpm = strncmp(names[i], TPM, strlen(TPM)) == 0;
        if (!parcel_is_state(names[i]))
            continue;
        if (of_tpm && mkdir(tpm, 0700) < 0 && errno != EEXIST)
            return error_errno(err, errno, "make %s", tpm);
        _cleanup_free_ char *path =
            of_tpm ? path_join(tpm, names[i] + strlen(TPM)) : path_join(to, names[i]);
        r = parcel_in_take(p, names[i], path, err);
    }
    return r;
}
