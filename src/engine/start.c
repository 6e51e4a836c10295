/*
 * start: a list of named phases, each of which can be undone; whatever fails, the phases that were
 * done are undone in reverse order and the instance is as it was.
 *
 *   layers    the image's layers are mounted on the host (container) or found as files (vm)
 *   volumes   the volumes exist and are filled from the image on first use
 *   network   the ports: links, addresses, names, what is published (start-network.c)
 *   bundle    config.json, proa.json and the three files of /etc
 *   monitor   the monitor is started and reports that the workload's exec succeeded
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/disk-machine.h"
#include "engine/engine-internal.h"
#include "engine/health.h"
#include "engine/kernel.h"
#include "engine/populate.h"
#include "engine/spare.h"
#include "engine/start-network.h"
#include "runtime/vm/kernel.h"
#include "runtime/vm/settings.h"
#include "service/store/spare.h"
#include "service/volume/volume.h"

#define VM_MEMORY_DEFAULT (256ull << 20)
#define NAME_SETTLE_MS    300
#define VM_DISK_BYTES     (10ull << 30)

/* Everything the phases make, released in one place. */
struct starting {
    struct engine *e;
    struct subject *subject;
    struct image *image;
    struct spec_mounts mounts;
    struct bundle bundle;
    struct start_network network;
    struct held_fds held; /* the monitor's while it lives */
    bool run_dir_made;
    char *hosts, *hostname, *resolv_conf; /* paths, NULL where there is none */
};

static void starting_done(struct starting *s)
{
    image_free(s->image);
    spec_mounts_done(&s->mounts);
    bundle_done(&s->bundle);
    start_network_done(&s->network);
    held_fds_done(&s->held);
    free(s->hosts);
    free(s->hostname);
    free(s->resolv_conf);
}

static void starting_undo(struct starting *s)
{
    if (s->network.n_ports > 0)
        (void)!network_detach(s->e->store, s->subject->record.id, NULL);
    if (s->run_dir_made)
        (void)!path_remove_tree(AT_FDCWD, s->subject->run_dir);
}

/* Its image may be removed by force while it runs. */
static int hold_layers(struct starting *s, char *const *trees, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && trees[i]; i++) {
        int fd = -EBADF;
        r = image_layer_hold(trees[i], &fd, err);
        if (r == 0)
            held_fds_add(&s->held, &fd);
    }
    return r;
}

/* phase: layers */
static int start_layers(struct starting *s, struct error *err)
{
    _cleanup_strv_ char **mounts = NULL;
    struct bundle *b = &s->bundle;
    int r = image_find(s->e->store, s->subject->record.image_id, &s->image, err);
    if (r == 0 && b->kind == RUNTIME_CONTAINER)
        r = image_mount_layers(s->e->store, s->image, &mounts, err);
    if (r < 0)
        return r;
    b->layers = xcalloc(s->image->n_layers, sizeof(*b->layers));
    b->n_layers = s->image->n_layers;
    for (size_t i = 0; i < b->n_layers; i++) {
        b->layers[i].erofs = xstrdup(s->image->layers[i].erofs);
        b->layers[i].mount = mounts ? xstrdup(mounts[i]) : NULL;
    }
    return mounts && !image_layers_are_mounted() ? hold_layers(s, mounts, err) : 0;
}

/* phase: volumes */
static int start_volumes(struct starting *s, struct error *err)
{
    int r = spec_mounts_parse(&s->subject->options, s->image, &s->mounts, err);
    for (size_t i = 0; r == 0 && i < s->mounts.n; i++) {
        struct spec_mount *m = &s->mounts.list[i];
        _cleanup_volume_ struct volume *volume = NULL;
        if (strcmp(m->type, "volume") != 0)
            continue;
        r = volume_find(s->e->store, m->name, &volume, err);
        if (r == 0 && m->copy_up)
            r = populate_volume(s->e, s->image, m->target, volume->path, err);
        if (r == 0)
            m->source = xstrdup(volume->path);
    }
    return r;
}

/* phase: network */
static int start_network(struct starting *s, struct error *err)
{
    int r = start_network_attach(s->e, s->subject, s->image, &s->network, err);
    for (size_t i = 0; r == 0 && i < s->network.n_ports; i++)
        bundle_add_network(&s->bundle, &s->network.ports[i]);
    return r;
}

/* phase: bundle */
static int write_file(struct starting *s, const char *name, const char *text, char **ret_path,
                      struct error *err)
{
    *ret_path = path_join(s->subject->bundle, name);
    int r = file_write_atomic(AT_FDCWD, *ret_path, text, strlen(text), 0644);
    return r < 0 ? error_errno(err, r, "write %s", *ret_path) : 0;
}

static int write_etc(struct starting *s, struct error *err)
{
    const struct create_options *o = &s->subject->options;
    _cleanup_free_ char *hostname =
        o->hostname ? xstrdup(o->hostname) : xasprintf("%.12s", s->subject->record.id);
    _cleanup_free_ char *hosts = start_network_hosts(&s->network, s->subject, hostname);
    _cleanup_free_ char *resolv = start_network_resolv(&s->network, s->subject);
    _cleanup_free_ char *line = xasprintf("%s\n", hostname);
    int r = o->no_hosts ? 0 : write_file(s, "hosts", hosts, &s->hosts, err);
    if (r == 0)
        r = write_file(s, "resolv.conf", resolv, &s->resolv_conf, err);
    if (r == 0)
        r = write_file(s, "hostname", line, &s->hostname, err);
    return r;
}

static int describe_machine(struct starting *s, struct error *err)
{
    const struct create_options *o = &s->subject->options;
    struct bundle *b = &s->bundle;
    int r = machine_disk(s->e, s->subject, b, err);
    if (r < 0)
        return r;
    struct vm_settings settings;
    r = vm_settings_load(s->e->store->run, &settings, err);
    if (r < 0)
        return r;
    /* An initramfs of its own is nobody else's. */
    b->cold = o->no_warm || o->initrd || !settings.warm || !process_is_host_root();
    b->disk_bytes = VM_DISK_BYTES;
    b->memory_bytes = o->memory_bytes ? o->memory_bytes : VM_MEMORY_DEFAULT;
    b->cpus = o->cpus_milli ? (uint32_t)((o->cpus_milli + 999) / 1000) : 1;
    return engine_kernel_prepare(s->e, o, s->subject->bundle, b, err);
}

static int start_bundle(struct starting *s, struct error *err)
{
    struct bundle *b = &s->bundle;
    const struct create_options *o = &s->subject->options;
    struct spec_files files;
    b->id = xstrdup(s->subject->record.id);
    b->cgroup_parent = xstrdup(o->cgroup_parent);
    if (s->image->kind == IMAGE_DISK) {
        int d = disk_machine_describe(s->e, s->subject, s->image, b, &s->held, err);
        return d < 0 ? d : bundle_save(b, s->subject->bundle, err);
    }
    int r = write_etc(s, err);
    if (r < 0)
        return r;
    b->init = o->init;
    b->ephemeral = s->subject->record.auto_remove && !b->spare;
    if (b->kind == RUNTIME_VM) {
        r = describe_machine(s, err);
    } else {
        b->upper = path_join(s->subject->bundle, "upper");
        b->work = path_join(s->subject->bundle, "work");
    }
    if (r == 0)
        r = seccomp_filter_write(s->e, o, s->subject->bundle, &b->seccomp_filter, err);
    if (r < 0)
        return r;
    files = (struct spec_files){s->hosts, s->hostname, s->resolv_conf};
    r = spec_write(s->e, o, s->image, &s->mounts, &s->subject->record, &files, err);
    if (r == 0)
        r = bundle_save(b, s->subject->bundle, err);
    return r;
}

/* phase: monitor */
static int start_monitor(struct starting *s, bool attach, int *ret_attach, struct error *err)
{
    const struct create_options *o = &s->subject->options;
    _cleanup_free_ char *monitor = NULL, *self = NULL;
    pid_t pid;
    for (size_t i = 0; i < s->network.n_ports; i++)
        for (size_t n = 0; n < s->network.ports[i].n_hold_fds; n++)
            held_fds_add(&s->held, &s->network.ports[i].hold_fds[n]);
    int r = program_find("proa-monitor", &monitor, err);
    if (r == 0)
        r = program_find("proa", &self, err);
    if (r < 0)
        return r;
    _cleanup_(health_check_done) struct health_check health = {0};
    r = health_check_get(o, s->image, &health, err);
    if (r < 0)
        return r;
    int lease_fds[BUNDLE_NETWORKS_MAX];
    start_network_leases(&s->network, lease_fds);
    struct monitor_spec spec = {
        .program = monitor,
        .health_interval_ms = health.argv ? health.interval_ms : 0,
        .health_start_interval_ms = health.start_interval_ms,
        .health_start_period_ms = health.start_period_ms,
        .id = s->subject->record.id,
        .bundle = s->subject->bundle,
        .run_dir = s->subject->run_dir,
        .root = s->e->store->root,
        .finish_program = self,
        .kind = s->bundle.kind,
        .terminal = o->terminal,
        .size = attach && o->terminal ? terminal_callers_size() : (struct terminal_size){0, 0},
        .open_stdin = o->open_stdin,
        .spare = s->bundle.spare,
        .restart = o->restart,
        .log_max_bytes = o->log_max_bytes,
        .log_files = o->log_files,
        .network_fd = s->network.namespace_fd,
        .tap_fds = s->network.tap_fds,
        .n_tap_fds = s->network.n_taps,
        .free_cards = s->network.n_taps - MIN(s->network.n_ports, s->network.n_taps),
        .lease_fds = lease_fds,
        .hold_fds = s->held.fds,
        .n_hold_fds = s->held.n,
        .attach = attach,
    };
    return monitor_start(&spec, &pid, ret_attach, err);
}

static int run_phases(struct starting *s, bool attach, int *ret_attach, struct error *err)
{
    int r;
    s->bundle.kind = (enum runtime_kind)s->subject->record.kind;
    if ((r = store_spare_is(s->e->store, s->subject->record.id, &s->bundle.spare, err)) < 0)
        return r;
    if (mkdir(s->subject->run_dir, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", s->subject->run_dir);
    s->run_dir_made = true;
    if ((r = start_layers(s, err)) < 0 || (r = start_volumes(s, err)) < 0 ||
        (r = start_network(s, err)) < 0 || (r = start_bundle(s, err)) < 0)
        return r;
    r = start_monitor(s, attach, ret_attach, err);
    if (r == 0 && s->network.n_ports > 0 && process_is_host_root())
        (void)network_name_settle(&s->network.ports[0], s->subject->record.id, NAME_SETTLE_MS);
    return r;
}

static int give_attach(int fd, int *ret)
{
    if (ret)
        *ret = fd;
    else
        close_fd(fd);
    return 0;
}

int engine_start(struct engine *e, const char *reference, bool attach, int *ret_attach,
                 struct error *err)
{
    _cleanup_subject_ struct subject subject = SUBJECT_INIT;
    struct starting s = {.e = e, .subject = &subject, .network = START_NETWORK_INIT};
    int attach_fd = -EBADF;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &subject, err);
    if (ret_attach)
        *ret_attach = -EBADF;
    if (r == 0)
        r = subject_may(&subject, attach ? VERB_START_ATTACHED : VERB_START, err);
    if (r <= 0)
        return r;
    if (subject.record.kind == RUNTIME_VM && (r = check_arrived(e, &subject, err)) < 0)
        return r;
    if (subject_is_spare(&subject)) {
        r = spare_begin(e, &subject, attach, &attach_fd, err);
        return r < 0 ? error_prefix(err, "start %s", subject.record.name)
                     : give_attach(attach_fd, ret_attach);
    }
    bundle_init(&s.bundle);
    r = run_phases(&s, attach, &attach_fd, err);
    if (r < 0)
        starting_undo(&s);
    if (r == 0 && subject.record.kind == RUNTIME_VM && !s.bundle.spare)
        spare_order(e, &subject, s.image);
    starting_done(&s);
    return r < 0 ? error_prefix(err, "start %s", subject.record.name)
                 : give_attach(attach_fd, ret_attach);
}
