/*
 * update: other limits, for an instance that runs or not. What is given is checked with everything
 * else the instance has, applied where it runs, and only then kept: in the store for the next
 * start, in the bundle for a restart by the monitor. A failure leaves the limits as they were, as
 * far as the kernel took some of them before it refused one; that is said.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "engine/engine-internal.h"
#include "engine/kinds.h"
#include "engine/spec-security.h"
#include "service/network/network.h"

static int check_cpuset(const struct create_options *changes, struct error *err)
{
    return changes->cpuset ? error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                                       "--cpuset-cpus: a machine keeps the processors it started "
                                       "on; stop it first")
                           : 0;
}

/* The size of one that runs, as far as it was started with room for that, which proa-vm knows. Its
 * monitor would start it again with what is in the bundle. */
static int resize(const struct subject *s, struct bundle *b, uint32_t cpus, uint64_t memory_bytes,
                  struct error *err)
{
    if (cpus == 0 && memory_bytes == 0)
        return 0;
    int r = vm_resize(&s->target, b, cpus, memory_bytes, err);
    if (r < 0)
        return r;
    b->cpus = cpus ? cpus : b->cpus;
    b->memory_bytes = memory_bytes ? memory_bytes : b->memory_bytes;
    return bundle_save(b, s->bundle, err);
}

/* A light machine has the processors that QEMU was started with; its workload gets a part of their
 * time. The memory first: only that can be refused for what runs inside. */
static int apply_to_light(struct subject *s, struct bundle *b, const struct create_options *changes,
                          const json_t *limits, struct error *err)
{
    if (changes->cpus_milli > (uint64_t)b->cpus * 1000)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "--cpus: the machine has started with %u; stop it first to give it more",
                         b->cpus);
    _cleanup_free_ char *text = json_to_text(limits);
    int r = resize(s, b, 0, changes->memory_bytes, err);
    return r < 0 ? r : subject_ops(s)->update(&s->target, text, err);
}

/* More processors and memory are plugged in, where there is room for them; that can be refused, so
 * it comes first. Its part of the host's time is its control group's affair, and in the bundle for
 * a start by its monitor. */
static int apply_to_disk(struct subject *s, struct bundle *b, const struct create_options *changes,
                         const json_t *limits, struct error *err)
{
    _cleanup_free_ char *text = json_to_text(limits);
    int r =
        resize(s, b, (uint32_t)((changes->cpus_milli + 999) / 1000), changes->memory_bytes, err);
    if (r == 0)
        r = subject_ops(s)->update(&s->target, text, err);
    if (r < 0)
        return r;
    free(b->machine.limits);
    b->machine.limits = spec_limits_text(&s->options);
    return bundle_save(b, s->bundle, err);
}

static int apply_to_machine(struct subject *s, const struct create_options *changes,
                            const json_t *limits, struct error *err)
{
    _cleanup_(bundle_done) struct bundle b;
    bundle_init(&b);
    int r = bundle_load(s->bundle, &b, err);
    if (r == 0)
        r = check_cpuset(changes, err);
    if (r < 0)
        return r;
    return machine_boots_disk(&b.machine) ? apply_to_disk(s, &b, changes, limits, err)
                                          : apply_to_light(s, &b, changes, limits, err);
}

static int apply_rate(struct engine *e, const struct subject *s, const char *text,
                      struct error *err)
{
    struct network_rate rate;
    _cleanup_close_ int namespace_fd = -EBADF;
    int r = network_rate_parse(text, &rate, err);
    if (r == 0 && s->record.kind == RUNTIME_CONTAINER)
        r = subject_open_network(s, &namespace_fd, err);
    return r < 0 ? r : network_set_rate(e->store, s->record.id, &rate, namespace_fd, err);
}

static int apply_priority(struct engine *e, const struct subject *s, const char *text,
                          struct error *err)
{
    enum network_priority priority;
    int r = network_priority_parse(text, &priority, err);
    return r < 0 ? r : network_set_priority(e->store, s->record.id, priority, err);
}

static int apply_connections(struct engine *e, const struct subject *s, const char *text,
                             struct error *err)
{
    uint32_t connections;
    int r = network_connections_parse(text, &connections, err);
    return r < 0 ? r : network_set_connections(e->store, s->record.id, connections, err);
}

/* Whether anything but what the network allows is to change. */
static bool has_others(const struct create_options *changes)
{
    _cleanup_json_ json_t *given = create_options_to_json(changes);
    static const char *const no_limits[] = {"kind", "stop_timeout_s", "network_rate",
                                            "network_priority", "network_connections"};
    for (size_t i = 0; i < ARRAY_SIZE(no_limits); i++)
        json_object_del(given, no_limits[i]);
    return json_object_size(given) > 0;
}

/* What the processes of one that runs get: nothing but what was asked for. */
static int apply(struct subject *s, const struct create_options *changes, struct error *err)
{
    _cleanup_json_ json_t *limits = spec_limits(changes);
    int r = 0;
    if (!changes->pids_limit)
        json_object_del(limits, "pids");
    else if (changes->pids_limit < 0)
        json_object_set_new(limits, "pids", json_pack("{s:i}", "limit", -1));
    if (s->record.kind == RUNTIME_VM) {
        r = apply_to_machine(s, changes, limits, err);
    } else {
        _cleanup_free_ char *text = json_to_text(limits);
        r = subject_ops(s)->update(&s->target, text, err);
    }
    return r == 0 && changes->restart ? monitor_set_restart(s->run_dir, changes->restart, err) : r;
}

/* The devices stay; they are no limit that changes. */
static int keep_in_bundle(const struct subject *s, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->bundle, "config.json"), *old = NULL, *text = NULL;
    _cleanup_json_ json_t *config = NULL, *limits = spec_limits(&s->options);
    json_t *section = NULL, *resources = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &old);
    if (r == -ENOENT)
        return 0; /* it has never run */
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    if ((r = json_parse(old, strlen(old), path, &config, err)) < 0 ||
        (r = json_get_object(config, path, "linux", &section, err)) < 0 ||
        (r = json_get_object(section, path, "resources", &resources, err)) < 0)
        return r;
    json_object_set(limits, "devices", json_object_get(resources, "devices"));
    json_object_set(section, "resources", limits);
    text = json_to_text(config);
    r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int keep(struct engine *e, struct subject *s, struct error *err)
{
    _cleanup_json_ json_t *json = create_options_to_json(&s->options);
    _cleanup_free_ char *text = json_to_text(json);
    int r = store_instance_set_options(e->store, s->record.id, s->record.image_id,
                                       s->record.image_name, text, err);
    return r < 0 ? r : keep_in_bundle(s, err);
}

static int check_all(const struct subject *s, const struct create_options *changes,
                     const struct image *image, struct error *err)
{
    int r = check_limits(&s->options, err);
    if (r == 0)
        r = check_restart(&s->options, err);
    return r < 0 ? r
                 : kinds_check(changes,
                               image->kind == IMAGE_DISK             ? KIND_DISK
                               : s->record.kind == RUNTIME_CONTAINER ? KIND_CONTAINER
                                                                     : KIND_LIGHT,
                               err);
}

int engine_update(struct engine *e, const char *reference, const struct create_options *changes,
                  struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_image_ struct image *image = NULL;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = image_find(e->store, s.record.image_id, &image, err);
    if (r < 0)
        return r;
    create_options_take_limits(&s.options, changes);
    if ((r = check_all(&s, changes, image, err)) < 0)
        return r;
    enum instance_state state = subject_state(&s);
    if (state == STATE_RESTARTING)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "instance %s is waiting to be restarted (proa stop %s ends that)",
                         s.record.name, s.record.name);
    if (state == STATE_PAUSED && s.record.kind == RUNTIME_VM)
        return error_set(err, ERROR_CONFLICT, EBUSY, "instance %s is paused (proa unpause %s)",
                         s.record.name, s.record.name);
    bool runs = state == STATE_RUNNING || state == STATE_PAUSED;
    if (runs && has_others(changes))
        r = apply(&s, changes, err);
    if (r == 0 && runs && changes->network_rate)
        r = apply_rate(e, &s, changes->network_rate, err);
    if (r == 0 && runs && changes->network_priority)
        r = apply_priority(e, &s, changes->network_priority, err);
    if (r == 0 && runs && changes->network_connections)
        r = apply_connections(e, &s, changes->network_connections, err);
    return r < 0 ? r : keep(e, &s, err);
}
