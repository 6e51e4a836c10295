/*
 * A spare machine is an instance like any other, with an address, a disk and a monitor, of which
 * only two things are different: no list shows it, and its proa-vm has stopped short of the
 * workload (runtime/vm/relay_spare.c). Its *shape* is what it cannot be without a new start: image,
 * limits, capabilities, and so on; all else, what it runs, as whom, under which name, is told to it
 * when somebody comes. Options that reach further, such as ports, volumes or a terminal, are not
 * for spare machines.
 *
 * Taking one changes its row to what was asked for, in one transaction, and from then on it is that
 * instance, in the state "created" until it is started. A kill in between leaves just that.
 *
 * Each start of a machine that could have been spare leaves `proa internal spare` behind, which
 * makes the next one. A spare machine that nobody wants ends by itself, and is removed by its
 * monitor's last words as if it had been run with --rm. One is kept unless machines.json says
 * another number, and none where memory is short.
 */
#include "engine/spare.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <time.h>

#include "base/alloc.h"
#include "base/behind.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/health.h"
#include "engine/kernel.h"
#include "engine/start-network.h"
#include "runtime/vm/settings.h"
#include "service/network/network.h"
#include "service/store/spare.h"

#define SHAPE_MAX ((size_t)64 << 10)              /* one argument of a program */
#define FRESH_NS  (14 * 60 * INT64_C(1000000000)) /* a minute less than one waits */
#define PAUSE_NS  300000000                       /* the workload that has just begun comes first */

/* Of the options: what is told to it in the end, and what a shape may have. */
static const char *const told[] = {"name",        "command",       "entrypoint",  "env",
                                   "user",        "image",         "working_dir", "auto_remove",
                                   "stop_signal", "stop_timeout_s"};
static const char *const shaping[] = {"kind",         "labels",        "init",
                                      "read_only",    "memory_bytes",  "memory_swap_bytes",
                                      "shm_bytes",    "cpus_milli",    "cpu_shares",
                                      "pids_limit",   "cap_add",       "cap_drop",
                                      "security_opt", "ulimits",       "sysctls",
                                      "group_add",    "no_hosts",      "dns",
                                      "dns_search",   "dns_options",   "add_hosts",
                                      "domainname",   "kernel",        "kernel_args",
                                      "networks",     "no_healthcheck"};

static bool is_one_of(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

static bool image_fits(const struct create_options *o, const struct image *image)
{
    struct health_check h = {0};
    struct error ignored = ERROR_INIT;
    bool fits = image->kind == IMAGE_APPLICATION && strv_len(image->volumes) == 0 &&
                health_check_get(o, image, &h, &ignored) == 0 && !h.argv;
    health_check_done(&h);
    return fits;
}

/* Owned; NULL: no spare machine can be that. */
static char *shape_of(const struct create_options *o, const struct image *image)
{
    _cleanup_json_ json_t *all = create_options_to_json(o), *shape = json_object();
    bool elsewhere =
        strv_len(o->networks) > 0 && (o->networks[1] || strcmp(o->networks[0], "none") != 0);
    const char *key;
    json_t *value;
    if (o->kind != RUNTIME_VM || elsewhere || (o->kernel && strchr(o->kernel, '/')) ||
        !image_fits(o, image))
        return NULL;
    json_object_foreach(all, key, value)
    {
        if (is_one_of(key, told, ARRAY_SIZE(told)))
            continue;
        if (!is_one_of(key, shaping, ARRAY_SIZE(shaping)))
            return NULL;
        json_object_set(shape, key, value);
    }
    json_object_set_new(shape, "image", json_string(image->id));
    char *text = json_dumps(shape, JSON_COMPACT | JSON_SORT_KEYS);
    if (text && strlen(text) >= SHAPE_MAX)
        text = (free(text), NULL);
    return text;
}

bool subject_is_spare(const struct subject *s)
{
    return s->record.kind == RUNTIME_VM && s->status.alive && s->status.state == MONITOR_STARTING &&
           s->status.pid > 0;
}

/* Another kernel may have become the one that machines boot. */
static bool has_kernel(struct engine *e, const struct subject *s)
{
    struct bundle own, now;
    struct error ignored = ERROR_INIT;
    bundle_init(&own);
    bundle_init(&now);
    bool same = bundle_load(s->bundle, &own, &ignored) == 0 &&
                engine_kernel_prepare(e, &s->options, s->bundle, &now, &ignored) == 0 &&
                own.kernel && now.kernel && strcmp(own.kernel, now.kernel) == 0;
    bundle_done(&own);
    bundle_done(&now);
    return same;
}

static bool is_fresh(struct engine *e, const struct subject *s)
{
    return subject_is_spare(s) && time_now_ns() - s->record.created_ns < FRESH_NS &&
           has_kernel(e, s);
}

bool spare_take(struct engine *e, const struct create_options *o, const struct image *image,
                struct subject *ret)
{
    _cleanup_free_ char *shape = shape_of(o, image), *id = NULL;
    struct error ignored = ERROR_INIT;
    if (!shape || store_spare_find(e->store, shape, &id, &ignored) < 0 || !id)
        return false;
    if (subject_open(e, id, SUBJECT_TRY, ret, &ignored) < 0)
        return false; /* on its way, or taken this moment */
    bool still = false;
    if (store_spare_is(e->store, id, &still, &ignored) == 0 && still && is_fresh(e, ret))
        return true;
    subject_done(ret);
    if (still)
        (void)!engine_remove(e, id, true, false, &ignored);
    return false;
}

/* --- starting what was taken --- */

static void recall_ports(const struct bundle *b, struct start_network *n)
{
    for (size_t i = 0; i < b->n_networks; i++) {
        struct network_port *p = &n->ports[i];
        network_port_init(p);
        p->prefix = b->networks[i].prefix;
        p->prefix6 = b->networks[i].prefix6;
        (void)inet_pton(AF_INET, b->networks[i].address, &p->address);
        (void)inet_pton(AF_INET6, b->networks[i].address6, &p->address6);
    }
    n->n_ports = b->n_networks;
}

/* The names in /etc/hosts; the address, and what else is in those files, was known before. */
static int write_hosts(const struct subject *s, const struct bundle *b, const char *path,
                       struct error *err)
{
    struct start_network network = START_NETWORK_INIT;
    _cleanup_free_ char *hostname = xasprintf("%.12s", s->record.id);
    recall_ports(b, &network);
    _cleanup_free_ char *text = start_network_hosts(&network, s, hostname);
    start_network_done(&network);
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int write_bundle(struct engine *e, const struct subject *s, const struct image *image,
                        struct bundle *b, struct error *err)
{
    const struct create_options *o = &s->options;
    _cleanup_(spec_mounts_done) struct spec_mounts mounts = {0};
    _cleanup_free_ char *hosts = o->no_hosts ? NULL : path_join(s->bundle, "hosts");
    _cleanup_free_ char *hostname = path_join(s->bundle, "hostname");
    _cleanup_free_ char *resolv_conf = path_join(s->bundle, "resolv.conf");
    const struct spec_files files = {hosts, hostname, resolv_conf};
    int r = spec_mounts_parse(o, image, &mounts, err);
    if (r == 0 && hosts)
        r = write_hosts(s, b, hosts, err);
    if (r == 0)
        r = seccomp_filter_write(e, o, s->bundle, &b->seccomp_filter, err);
    if (r == 0)
        r = spec_write(e, o, image, &mounts, &s->record, &files, err);
    b->spare = false;
    b->ephemeral = s->record.auto_remove;
    return r < 0 ? r : bundle_save(b, s->bundle, err);
}

/* Ended, and as if it had never been started. */
static void give_back(struct engine *e, struct subject *s)
{
    _cleanup_free_ char *status = path_join(s->bundle, "status");
    struct error ignored = ERROR_INIT;
    s->record.auto_remove = false;
    if (end_instance(e, s, &ignored) == 0)
        unlink(status);
}

int spare_begin(struct engine *e, struct subject *s, bool attach, int *ret_attach,
                struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_close_ int connection = -EBADF;
    struct bundle b;
    bundle_init(&b);
    int r = bundle_load(s->bundle, &b, err);
    if (r == 0)
        r = image_find(e->store, s->record.image_id, &image, err);
    if (r == 0)
        r = write_bundle(e, s, image, &b, err);
    if (r == 0 && b.n_networks > 0)
        r = network_rename(e->store, s->record.id, s->record.name, err);
    bundle_done(&b);
    if (r == 0)
        r = monitor_begin_spare(s->run_dir, attach, &connection, err);
    if (r == 0)
        r = vm_take_spare(&s->target, s->record.auto_remove, err);
    if (r < 0) {
        connection = close_fd(connection);
        give_back(e, s);
        return r;
    }
    monitor_begun(connection);
    *ret_attach = attach ? TAKE_FD(connection) : -EBADF;
    spare_order(e, s, image);
    return 0;
}

/* --- making one --- */

/* In the process that is left behind. */
static void execute(void *context)
{
    char **argv = context;
    const struct sched_param none = {0};
    for (int i = 0; i < 3; i++)
        (void)!open("/dev/null", O_RDWR);
    (void)!sched_setscheduler(0, SCHED_OTHER, &none); /* what is made will be somebody's */
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    execv(argv[0], argv);
}

static uint32_t wanted(struct engine *e)
{
    struct vm_settings settings;
    struct error ignored = ERROR_INIT;
    return vm_settings_load(e->store->run, &settings, &ignored) == 0 ? settings.spares : 0;
}

/* Nothing is prepared on a host that is short of memory: a quarter of it is to be had. */
static bool has_room(void)
{
    _cleanup_free_ char *text = NULL;
    return file_read_kernel(AT_FDCWD, "/proc/meminfo", 16384, &text) == 0 &&
           text_number_after(text, "MemAvailable:") >= text_number_after(text, "MemTotal:") / 4;
}

void spare_order(struct engine *e, const struct subject *s, const struct image *image)
{
    _cleanup_free_ char *shape =
        wanted(e) > 0 && process_is_host_root() ? shape_of(&s->options, image) : NULL;
    _cleanup_free_ char *program = NULL, *there = NULL;
    struct error ignored = ERROR_INIT;
    if (!shape || s->options.no_warm || store_spare_find(e->store, shape, &there, &ignored) < 0 ||
        there || !has_room() || program_find("proa", &program, &ignored) < 0)
        return;
    char *argv[] = {
        program, (char *)"--root", e->store->root, (char *)"internal", (char *)"spare", shape,
        NULL};
    (void)!behind(execute, argv, NULL, 0);
}

static int note_shape(struct engine *e, const char *id, void *context, struct error *err)
{
    return store_spare_add(e->store, id, context, err);
}

/* The oldest go while there are as many as there may be. */
static int make_room(struct engine *e, uint32_t max, struct error *err)
{
    _cleanup_strv_ char **ids = NULL;
    int r = store_spare_list(e->store, &ids, err);
    if (r < 0)
        return r;
    size_t n = strv_len(ids);
    for (size_t i = 0; r == 0 && n - i >= max; i++)
        r = engine_remove(e, ids[i], true, false, err);
    return r;
}

int engine_spare_make(struct engine *e, const char *shape, struct error *err)
{
    _cleanup_(create_options_done) struct create_options o;
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ char *id = NULL, *there = NULL;
    uint32_t max = wanted(e);
    char random[13];
    create_options_init(&o);
    int r = json_parse(shape, strlen(shape), "shape", &json, err);
    if (r == 0)
        r = create_options_from_json(json, &o, err);
    if (r == 0)
        r = store_spare_find(e->store, shape, &there, err);
    if (r < 0 || there || max == 0)
        return r;
    r = make_room(e, max, err);
    if (r < 0)
        return r;
    random_hex(random, 6);
    o.auto_remove = true;
    free(o.name);
    o.name = xasprintf("spare-%s", random);
    o.entrypoint = xstrdup("");
    strv_add(&o.command, "true"); /* what is rehearsed is a start without its program */
    r = create_instance(e, &o, note_shape, (void *)shape, &id, err);
    if (r == -EEXIST)
        return 0; /* another one was faster */
    if (r < 0)
        return r;
    r = engine_start(e, id, false, NULL, err);
    if (r < 0)
        (void)!engine_remove(e, id, true, false, NULL);
    return r;
}

void spares_end(struct engine *e, const char *image_id)
{
    _cleanup_strv_ char **ids = NULL;
    struct error ignored = ERROR_INIT;
    if (store_spare_list(e->store, &ids, &ignored) < 0)
        return;
    for (size_t i = 0; ids[i]; i++) {
        _cleanup_(instance_record_done) struct instance_record record = {0};
        if (store_instance_find(e->store, ids[i], &record, &ignored) < 0 ||
            (image_id && strcmp(record.image_id, image_id) != 0))
            continue;
        (void)!engine_remove(e, ids[i], true, false, &ignored);
    }
}
