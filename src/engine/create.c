/*
 * create: everything that can be checked without starting is checked here, so that a bad option is
 * answered before anything exists. The row is the truth: the bundle directory is made after it, and
 * whoever finds a row without a directory makes it (subject.c).
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/disk-machine.h"
#include "engine/engine-internal.h"
#include "engine/health.h"
#include "engine/kernel.h"
#include "engine/kinds.h"
#include "engine/place.h"
#include "engine/rootless.h"
#include "engine/sharing.h"
#include "engine/spare.h"
#include "engine/spec-security.h"
#include "service/network/network.h"
#include "service/store/spare.h"
#include "service/volume/volume.h"

#define MINIMUM_MEMORY (6ull << 20) /* what a container's first process needs to start at all */

static const char *host_architecture(void)
{
    static const struct {
        const char *machine, *architecture;
    } names[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"i686", "386"}, {"armv7l", "arm"}};
    static struct utsname u;
    uname(&u);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(u.machine, names[i].machine) == 0)
            return names[i].architecture;
    return u.machine;
}

static int check_platform(const struct create_options *o, const struct image *image,
                          struct error *err)
{
    const char *host = host_architecture();
    _cleanup_free_ char *platform = xasprintf("%s/%s", image->os, image->architecture);
    if (strcmp(image->architecture, host) != 0 || strcmp(image->os, "linux") != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOEXEC,
                         "image %s is for %s, this host runs linux/%s; load the image for this "
                         "platform",
                         o->image, platform, host);
    if (o->platform && strcmp(o->platform, platform) != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOEXEC, "image %s is for %s, not for %s",
                         o->image, platform, o->platform);
    return 0;
}

static int check_rate(const struct create_options *o, struct error *err)
{
    struct network_rate rate;
    enum network_priority priority;
    uint32_t connections;
    const char *network = o->networks && o->networks[0] ? o->networks[0] : "";
    const char *flag = o->network_rate          ? "--network-rate"
                       : o->network_priority    ? "--network-priority"
                       : o->network_connections ? "--network-connections"
                                                : NULL;
    if (!flag)
        return 0;
    if (strcmp(network, "host") == 0 || strncmp(network, "container:", 10) == 0)
        return error_invalid(err, "%s needs a network of the instance's own", flag);
    int r = o->network_rate ? network_rate_parse(o->network_rate, &rate, err) : 0;
    if (r == 0 && o->network_priority)
        r = network_priority_parse(o->network_priority, &priority, err);
    return r == 0 && o->network_connections
               ? network_connections_parse(o->network_connections, &connections, err)
               : r;
}

int check_limits(const struct create_options *o, struct error *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->memory_bytes && o->memory_bytes < MINIMUM_MEMORY)
        return error_invalid(err, "--memory: the minimum is 6m");
    if (o->memory_swap_bytes > 0 && !o->memory_bytes)
        return error_invalid(err, "--memory-swap needs --memory");
    if (o->memory_swap_bytes > 0 && (uint64_t)o->memory_swap_bytes < o->memory_bytes)
        return error_invalid(err, "--memory-swap is the total and must not be below --memory");
    if (o->cpus_milli && (o->cpu_quota_us || o->cpu_period_us))
        return error_invalid(err, "--cpus excludes --cpu-quota and --cpu-period");
    if (o->cpu_period_us && (o->cpu_period_us < 1000 || o->cpu_period_us > 1000000))
        return error_invalid(err, "--cpu-period: 1000 to 1000000 microseconds");
    if (o->cpu_quota_us > 0 && o->cpu_quota_us < 1000)
        return error_invalid(err, "--cpu-quota: at least 1000 microseconds");
    if (o->memory_reservation_bytes && o->memory_bytes &&
        o->memory_reservation_bytes > o->memory_bytes)
        return error_invalid(err, "--memory-reservation must not be above --memory");
    if (o->block_weight && (o->block_weight < 10 || o->block_weight > 1000))
        return error_invalid(err, "--blkio-weight: 10 to 1000");
    if (o->oom_score_adj < -1000 || o->oom_score_adj > 1000)
        return error_invalid(err, "--oom-score-adj: -1000 to 1000");
    if (cpus > 0 && o->cpus_milli > (uint64_t)cpus * 1000)
        return error_invalid(err, "--cpus: this host has %ld", cpus);
    return check_rate(o, err);
}

int check_restart(const struct create_options *o, struct error *err)
{
    uint32_t tries;
    if (!o->restart || strcmp(o->restart, "no") == 0)
        return 0;
    if (o->auto_remove)
        return error_invalid(err, "--rm and --restart exclude each other");
    if (strcmp(o->restart, "always") == 0 || strcmp(o->restart, "unless-stopped") == 0 ||
        strcmp(o->restart, "on-failure") == 0)
        return 0;
    if (strncmp(o->restart, "on-failure:", 11) == 0 && parse_u32(o->restart + 11, &tries) == 0)
        return 0;
    return error_invalid(
        err, "--restart \"%.32s\": one of no, on-failure[:N], always, unless-stopped", o->restart);
}

static int check_place(struct engine *e, const struct places *p, bool publishes, struct error *err)
{
    int r = 0;
    if (publishes && (p->mode == PLACE_NONE || p->mode == PLACE_CONTAINER))
        return error_invalid(err, "--publish needs a network");
    if (p->mode == PLACE_CONTAINER) {
        _cleanup_subject_ struct subject other = SUBJECT_INIT;
        return subject_open(e, p->container, SUBJECT_UNLOCKED, &other, err);
    }
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        _cleanup_network_ struct network *network = NULL;
        if (strcmp(p->list[i].network, NETWORK_DEFAULT) != 0)
            r = network_find(e->store, p->list[i].network, &network, err);
    }
    return r;
}

/* Parses what start will need, so that start cannot fail on words. */
static int check_network(struct engine *e, const struct create_options *o, struct error *err)
{
    _cleanup_free_ struct network_publish *publish = NULL;
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && o->publish && o->publish[i]; i++)
        r = network_publish_parse(o->publish[i], &publish, &n, err);
    if (r == 0)
        r = places_parse(o, &places, err);
    if (r == 0)
        r = rootless_check(o, &places, err);
    return r < 0 ? r : check_place(e, &places, n > 0, err);
}

/* What an image exposes is a port of the instance's; which port of the host leads to it is not the
 * image's to say. */
static int check_exposed(const struct create_options *o, const struct image *image,
                         struct error *err)
{
    struct network_publish *publish = NULL;
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && o->expose && o->expose[i]; i++)
        r = strchr(o->expose[i], ':')
                ? error_invalid(err, "--expose \"%.64s\" is no PORT[/tcp|udp]", o->expose[i])
                : network_publish_parse(o->expose[i], &publish, &n, err);
    for (size_t i = 0; r == 0 && o->publish_all && image->exposed_ports && image->exposed_ports[i];
         i++)
        r = strchr(image->exposed_ports[i], ':')
                ? error_invalid(err, "\"%.128s\" is no PORT[/tcp|udp]", image->exposed_ports[i])
                : network_publish_parse(image->exposed_ports[i], &publish, &n, err);
    free(publish);
    return r < 0 ? error_prefix(err, "port that the image exposes") : 0;
}

static int check_security_words(const struct create_options *o, struct error *err)
{
    static const char *const known[] = {"no-new-privileges", "no-new-privileges=true",
                                        "no-new-privileges:true", "no-new-privileges=false",
                                        "no-new-privileges:false"};
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++) {
        bool found = strncmp(o->security_opt[i], "seccomp=", 8) == 0;
        for (size_t k = 0; k < ARRAY_SIZE(known); k++)
            found = found || strcmp(o->security_opt[i], known[k]) == 0;
        if (!found)
            return error_invalid(err,
                                 "--security-opt \"%.64s\": one of seccomp=unconfined, "
                                 "seccomp=FILE, no-new-privileges[=false]",
                                 o->security_opt[i]);
    }
    return 0;
}

/* Builds every part once and throws it away: a start later on must not fail on words. */
static int check_security(const struct create_options *o, struct error *err)
{
    _cleanup_json_ json_t *process = json_object();
    _cleanup_json_ json_t *rlimits = NULL;
    _cleanup_json_ json_t *resources = NULL;
    _cleanup_json_ json_t *devices = NULL;
    _cleanup_json_ json_t *sysctls = NULL;
    int r, signum;
    if ((r = check_security_words(o, err)) < 0 || (r = spec_capabilities(o, process, err)) < 0 ||
        (r = spec_rlimits(o, &rlimits, err)) < 0 ||
        (r = spec_resources(o, &resources, &devices, err)) < 0 ||
        (r = spec_sysctls(o, &sysctls, err)) < 0)
        return r;
    return o->stop_signal ? signal_parse(o->stop_signal, &signum, err) : 0;
}

/* A profile given by a relative path is meant as seen from here, at every later start too. */
static int make_profile_absolute(struct create_options *o, struct error *err)
{
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++) {
        const char *profile = o->security_opt[i] + 8;
        if (strncmp(o->security_opt[i], "seccomp=", 8) != 0 || strcmp(profile, "unconfined") == 0)
            continue;
        _cleanup_free_ char *path = realpath(profile, NULL);
        if (!path)
            return error_errno(err, errno, "seccomp profile %s", profile);
        free(o->security_opt[i]);
        o->security_opt[i] = xasprintf("seccomp=%s", path);
    }
    return 0;
}

/* Named volumes are created on first use; anonymous ones get a name now, so that they are found
 * again at each start. *ret_volumes: the names this instance uses. */
static int resolve_volumes(struct engine *e, struct spec_mounts *mounts, char ***ret_volumes,
                           struct error *err)
{
    for (size_t i = 0; i < mounts->n; i++) {
        struct spec_mount *m = &mounts->list[i];
        _cleanup_volume_ struct volume *volume = NULL;
        struct error ignored = ERROR_INIT;
        if (strcmp(m->type, "volume") != 0)
            continue;
        if (m->name && volume_find(e->store, m->name, &volume, &ignored) == 0) {
            strv_add(ret_volumes, m->name);
            continue;
        }
        int r = volume_create(e->store, m->name, NULL, &volume, err);
        if (r == -EEXIST && m->name) /* another command was faster */
            r = volume_find(e->store, m->name, &volume, err);
        if (r < 0)
            return r;
        xreplace(&m->name, volume->name);
        strv_add(ret_volumes, volume->name);
    }
    return 0;
}

/* An anonymous volume is written into the options under its name, "anonymous" kept by a mark that
 * rm -v and --rm look for: names of 64 hex digits. */
static void name_anonymous(struct create_options *o, const struct spec_mounts *mounts)
{
    strv_free(o->volumes);
    strv_free(o->mounts);
    strv_free(o->tmpfs);
    o->volumes = o->mounts = o->tmpfs = NULL;
    for (size_t i = 0; i < mounts->n; i++) {
        const struct spec_mount *m = &mounts->list[i];
        const char *flags = m->read_only ? ":ro" : "";
        if (strcmp(m->type, "tmpfs") == 0)
            strv_addf(&o->tmpfs, "%s%s%s", m->target, m->data ? ":" : "", m->data ? m->data : "");
        else
            strv_addf(&o->volumes, "%s:%s%s%s", m->name ? m->name : m->source, m->target,
                      *flags ? flags : "",
                      m->name && !m->copy_up ? (*flags ? ",nocopy" : ":nocopy") : "");
    }
}

static int check_kind(const struct create_options *o, const struct image *image, struct error *err)
{
    return kinds_check(o,
                       image->kind == IMAGE_DISK      ? KIND_DISK
                       : o->kind == RUNTIME_CONTAINER ? KIND_CONTAINER
                                                      : KIND_LIGHT,
                       err);
}

/* An image's own words are looked at before an instance of it exists. */
static int check_health(const struct create_options *o, const struct image *image,
                        struct error *err)
{
    _cleanup_(health_check_done) struct health_check h = {0};
    bool words = o->health_cmd || o->health_interval_ms || o->health_timeout_ms ||
                 o->health_start_period_ms || o->health_start_interval_ms || o->health_retries;
    if (o->no_healthcheck && words)
        return error_invalid(err, "--no-healthcheck excludes the other options of health checks");
    return health_check_get(o, image, &h, err);
}

/* What an application image and its process need. */
static int check_application(struct engine *e, struct create_options *o, const struct image *image,
                             struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    int r;
    if ((r = check_platform(o, image, err)) < 0 || (r = engine_kernel_check(e, o, err)) < 0 ||
        (r = check_exposed(o, image, err)) < 0 || (r = check_security(o, err)) < 0 ||
        (r = spec_argv(o, image, &argv, err)) < 0)
        return r;
    return make_profile_absolute(o, err);
}

int create_check(struct engine *e, struct create_options *o, const struct image *image,
                 struct error *err)
{
    int r = check_kind(o, image, err);
    if (r == 0)
        r = check_restart(o, err);
    if (r == 0)
        r = image->kind == IMAGE_DISK ? disk_machine_complete(e, o, image, err)
                                      : check_application(e, o, image, err);
    if (r < 0 || (r = check_limits(o, err)) < 0 || (r = check_network(e, o, err)) < 0)
        return r;
    if (o->name)
        r = check_instance_name(o->name, err);
    if (r == 0)
        r = check_sharing(e, o, err);
    if (r == 0)
        r = check_health(o, image, err);
    if (r == 0 && o->hostname && (!*o->hostname || strlen(o->hostname) > 63))
        r = error_invalid(err, "--hostname: one to 63 characters");
    return r;
}

typedef int (*put_record)(struct store *s, const struct instance_record *r, struct error *err);

/* The row, with a name of our own tried until one is free. */
static int add_record(struct engine *e, put_record put, struct instance_record *record,
                      const char *wanted, struct error *err)
{
    char name[128];
    int r = -EEXIST;
    for (int tries = 0; r == -EEXIST && tries < (wanted ? 1 : 20); tries++) {
        if (!wanted)
            random_name(name, sizeof(name));
        record->name = (char *)(wanted ? wanted : name);
        r = put(e->store, record, err);
    }
    return r;
}

/* Volumes, row and their relation come into being together or not at all. */
static int record_instance(struct engine *e, struct create_options *own, const struct image *image,
                           struct spec_mounts *mounts, const char *id, bool spare,
                           struct error *err)
{
    _cleanup_strv_ char **volumes = NULL;
    int r = resolve_volumes(e, mounts, &volumes, err);
    if (r < 0)
        return r;
    name_anonymous(own, mounts);
    _cleanup_json_ json_t *json = create_options_to_json(own);
    _cleanup_free_ char *text = json_to_text(json);
    struct instance_record record = {
        .id = (char *)id,
        .kind = own->kind,
        .image_id = image->id,
        .image_name = own->image,
        .created_ns = time_now_ns(),
        .auto_remove = own->auto_remove,
        .options = text,
    };
    r = add_record(e, spare ? store_instance_replace : store_instance_add, &record, own->name, err);
    if (r == 0 && spare)
        r = store_spare_forget(e->store, id, err);
    return r < 0 ? r : store_instance_set_volumes(e->store, id, volumes, err);
}

/* The first 12 digits become the hostname, and a name of decimal digits only would be taken for an
 * address by every resolver: such an id is drawn again. */
static void new_id(char id[65])
{
    do
        random_hex(id, 32);
    while (strspn(id, "0123456789") >= 12);
}

int engine_create(struct engine *e, const struct create_options *o, char **ret_id,
                  struct error *err)
{
    return create_instance(e, o, NULL, NULL, ret_id, err);
}

int create_instance(struct engine *e, const struct create_options *o, create_hook hook,
                    void *context, char **ret_id, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_(spec_mounts_done) struct spec_mounts mounts = {0};
    _cleanup_(create_options_done) struct create_options own;
    _cleanup_json_ json_t *copy = create_options_to_json(o);
    _cleanup_subject_ struct subject spare = SUBJECT_INIT;
    char id[65];
    create_options_init(&own);
    int r = create_options_from_json(copy, &own, err);
    if (r == 0)
        r = image_find(e->store, o->image, &image, err);
    if (r == 0)
        r = sharing_take_volumes(e, &own, err);
    if (r == 0)
        r = create_check(e, &own, image, err);
    if (r == 0)
        r = spec_mounts_parse(&own, image, &mounts, err);
    if (r == 0)
        r = engine_kernel_settle(&own, err);
    bool taken = r == 0 && !hook && spare_take(e, &own, image, &spare);
    if (r == 0)
        r = store_begin(e->store, err);
    if (r < 0)
        return r;
    if (taken)
        snprintf(id, sizeof(id), "%s", spare.record.id);
    else
        new_id(id);
    r = record_instance(e, &own, image, &mounts, id, taken, err);
    if (r == 0 && hook)
        r = hook(e, id, context, err);
    int ended = store_end(e->store, r == 0, err);
    r = r < 0 ? r : ended;
    if (r < 0)
        return r;
    _cleanup_free_ char *bundle = engine_bundle_dir(e, id);
    r = bundle_make(bundle, err);
    if (r < 0) {
        (void)!store_instance_remove(e->store, id, NULL);
        return r;
    }
    *ret_id = xstrdup(id);
    return 0;
}
