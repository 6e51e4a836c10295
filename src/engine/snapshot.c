/*
 * snapshot create, rm. A machine's disk is not copied: the file that it writes becomes a part of
 * the chain that the snapshot is (service/snapshot/snapshot.h says in which order, and why a kill
 * between any two steps harms nothing). A container's own files are copied while it stands still.
 */
#include "engine/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/machine-disks.h"
#include "engine/place.h"
#include "engine/snapshot-internal.h"
#include "service/network/network.h"

/* One of the machine's disks that has been written to; paths. */
struct kept_disk {
    unsigned int number;
    char *current; /* what it is written to now */
    char *name;    /* what that is called in the snapshot */
    char *kept;    /* there */
    char *top;     /* what is put on it */
};

struct making {
    struct engine *e;
    struct subject *s;
    const struct snapshot_options *o;
    struct snapshot_made *made;
    struct snapshot_chain chain;
    char *dir;    /* the snapshot's */
    uint32_t own; /* disks (machine-disks.h) */
    struct kept_disk disks[SNAPSHOT_DISKS_MAX];
    size_t n_disks;
    int lock;
    const char *consistency;
    uint64_t memory_bytes;
    int moved_fd, lease_fd; /* snapshot_hidden's */
    bool hidden;
};

static void making_done(struct making *m)
{
    snapshot_chain_done(&m->chain);
    free(m->dir);
    for (size_t i = 0; i < m->n_disks; i++) {
        free(m->disks[i].current);
        free(m->disks[i].name);
        free(m->disks[i].kept);
        free(m->disks[i].top);
    }
    m->lock = close_fd(m->lock);
}

/* Memory goes on with all disks as they were, and those of others go on being written. */
static int check_others(const struct subject *s, char *const *others, struct error *err)
{
    return others[0] ? error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                                 "machine %s writes to %s, which is no disk of Proa's and in no "
                                 "snapshot: leave --memory out",
                                 s->record.name, others[0])
                     : 0;
}

/* A start makes the cards in the order of the options. A machine that has been on very many
 * networks since its own may have them in another, and its memory would not fit. */
static int check_cards(struct engine *e, const struct subject *s, struct error *err)
{
    _cleanup_places_ struct places places = {.mode = PLACE_NETWORKS};
    struct network_member *ports = NULL;
    int r = s->options.firmware ? places_parse(&s->options, &places, err) : 0;
    if (r == 0 && places.n > 1)
        r = network_ports_of(e->store, s->record.id, &ports, err);
    for (size_t i = 0; r == 0 && ports && ports[i].instance_id && i < places.n; i++)
        if (strcmp(ports[i].network, places.list[i].network) != 0)
            r = error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                          "machine %s has its network cards in another order than its next start "
                          "would make them: leave --memory out, or restart it first",
                          s->record.name);
    network_members_free(ports);
    return r;
}

static int check(struct engine *e, const struct subject *s, const struct snapshot_options *o,
                 char *const *others, struct error *err)
{
    if (o->name) {
        int r = check_instance_name(o->name, NULL);
        if (r < 0)
            return error_invalid(err,
                                 "\"%.64s\" is no snapshot name: two to 128 letters, digits, "
                                 "\"_\", \".\" or \"-\", the first a letter or digit",
                                 o->name);
    }
    if (!o->memory)
        return 0;
    if (s->record.kind == RUNTIME_CONTAINER)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "what a container is doing cannot be kept, only its files: leave --memory "
                         "out, or run a machine (--vm)");
    if (!s->status.alive)
        return error_set(err, ERROR_CONFLICT, ESRCH,
                         "instance %s is not running and has no memory to keep: leave --memory out",
                         s->record.name);
    int r = check_others(s, others, err);
    return r < 0 ? r : check_cards(e, s, err);
}

/* snap0, snap1, ...: the first number that is free. */
static int choose_name(struct making *m, struct error *err)
{
    struct snapshot_record *list = NULL;
    if (m->o->name) {
        snprintf(m->made->name, sizeof(m->made->name), "%s", m->o->name);
        return 0;
    }
    int r = store_snapshot_list(m->e->store, m->s->record.id, false, &list, err);
    bool taken = r == 0;
    for (size_t n = 0; taken; n++) {
        snprintf(m->made->name, sizeof(m->made->name), "snap%zu", n);
        taken = false;
        for (size_t i = 0; list[i].id; i++)
            taken = taken || strcmp(list[i].name, m->made->name) == 0;
    }
    snapshot_record_list_free(list);
    return r;
}

struct snapshot_record snapshot_record_of(const struct instance_record *i, char *id, char *name)
{
    return (struct snapshot_record){
        .id = id,
        .name = name,
        .instance_id = i->id,
        .instance_name = i->name,
        .kind = i->kind,
        .image_id = i->image_id,
        .image_name = i->image_name,
        .options = i->options,
        .created_ns = time_now_ns(),
    };
}

static int add_row(struct making *m, struct error *err)
{
    struct snapshot_record record = snapshot_record_of(&m->s->record, m->made->id, m->made->name);
    char *files[SNAPSHOT_DISKS_MAX + 1] = {NULL};
    _Static_assert(SNAPSHOT_DISKS_MAX == MACHINE_DISKS_MAX, "the same disks");
    for (size_t i = 0; i < m->n_disks; i++)
        files[i] = m->disks[i].name;
    record.base = m->chain.base;
    record.files = files;
    record.consistency = (char *)"";
    return store_snapshot_add(m->e->store, &record, err);
}

/* The files get a second name in the snapshot's directory, which is their only one in the end. */
static int keep_disks(struct making *m, struct error *err)
{
    for (size_t i = 0; i < m->n_disks; i++) {
        struct kept_disk *d = &m->disks[i];
        d->kept = path_join(m->dir, d->name);
        if (link(d->current, d->kept) < 0)
            return error_errno(err, errno, "keep %s", d->current);
    }
    return 0;
}

static int make_tops(struct making *m, const char *file, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n_disks; i++) {
        struct kept_disk *d = &m->disks[i];
        _cleanup_free_ char *name = snapshot_own_name(file, d->number);
        uint64_t bytes;
        d->top = path_join(m->s->bundle, name);
        r = snapshot_disk_size(d->kept, &bytes, err);
        if (r == 0)
            r = snapshot_overlay(d->top, bytes, err);
    }
    return r;
}

/* Empty files on top of them, in the store first: one row for all. */
static int extend_chain(struct making *m, struct error *err)
{
    struct store *s = m->e->store;
    _cleanup_free_ char *file = NULL;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = snapshot_stand_on(s, m->s->record.id, m->made->id, &file, err);
    if (r == 0)
        r = make_tops(m, file, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

static int sync_file(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 || fsync(fd) < 0 ? error_errno(err, errno, "sync %s", path) : 0;
}

/* From here on a restart by the monitor begins with the longer chain. That is right before QEMU
 * writes to the new tops, too: they are empty. */
static int tell_bundle(struct making *m, struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    int r = snapshot_chain(m->e->store, m->s->record.id, &c, err);
    return r < 0 ? r : bundle_update_disks(m->s, &c, err);
}

/* What is moved is used at once, and needs not be on the host's disk. */
static int end_memory(struct making *m, int fd, struct error *err)
{
    struct stat st;
    if ((m->moved_fd < 0 && fsync(fd) < 0) || fstat(fd, &st) < 0)
        return error_errno(err, errno, "write %s/%s", m->dir, MACHINE_MEMORY);
    m->memory_bytes = (uint64_t)st.st_size;
    return 0;
}

static int open_memory(struct making *m, int *ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(m->dir, MACHINE_MEMORY);
    if (!m->o->memory)
        return 0;
    *ret = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *ret < 0 ? error_errno(err, errno, "make %s", path) : 0;
}

static int open_tops(const struct making *m, struct runtime_snapshot *wanted, struct error *err)
{
    for (size_t i = 0; i < m->n_disks; i++) {
        const struct kept_disk *d = &m->disks[i];
        wanted->disk_fds[i] = open(d->top, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (wanted->disk_fds[i] < 0)
            return error_errno(err, errno, "open %s", d->top);
        wanted->disks |= 1u << d->number;
    }
    return 0;
}

/* The running machine writes to the new tops from here on. What fails leaves the chain longer by
 * empty files, whether QEMU uses them or not. */
static int ask_machine(struct making *m, struct error *err)
{
    struct runtime_snapshot_done done = {.lease_fd = -EBADF};
    _cleanup_close_ int memory = -EBADF;
    struct runtime_snapshot wanted = {.freeze = !m->o->no_freeze, .moved_fd = m->moved_fd};
    for (size_t i = 0; i < ARRAY_SIZE(wanted.disk_fds); i++)
        wanted.disk_fds[i] = -EBADF;
    int r = open_tops(m, &wanted, err);
    if (r == 0)
        r = open_memory(m, &memory, err);
    wanted.memory_fd = memory;
    if (r == 0)
        r = subject_ops(m->s)->snapshot(&m->s->target, &wanted, &done, err);
    if (r == 0 && memory >= 0)
        r = end_memory(m, memory, err);
    for (size_t i = 0; i < ARRAY_SIZE(wanted.disk_fds); i++)
        close_fd(wanted.disk_fds[i]);
    m->lease_fd = done.lease_fd;
    m->consistency = done.frozen ? "frozen" : "crash";
    m->made->pause_us = done.pause_us;
    return r;
}

static int take_disks(struct making *m, struct error *err)
{
    if (m->n_disks == 0)
        return 0;
    int r = keep_disks(m, err);
    if (r == 0)
        r = extend_chain(m, err);
    if (r == 0 && m->s->status.alive)
        r = tell_bundle(m, err);
    if (r == 0 && m->s->status.alive)
        r = ask_machine(m, err);
    for (size_t i = 0; r == 0 && m->moved_fd < 0 && i < m->n_disks; i++)
        r = sync_file(m->disks[i].kept, err);
    for (size_t i = 0; r == 0 && i < m->n_disks; i++)
        unlink(m->disks[i].current);
    return r;
}

static int take_files(struct making *m, struct error *err)
{
    struct subject *s = m->s;
    _cleanup_free_ char *from = path_join(s->bundle, "upper"), *to = path_join(m->dir, "upper");
    bool still = s->status.alive && !subject_paused(s);
    int64_t began = time_now_ns();
    int r = still ? subject_pause(s, err) : 0;
    if (r < 0)
        return r;
    m->consistency = s->status.alive ? "crash" : "stopped";
    r = copy_directory(from, to, err);
    if (still) {
        struct error later = ERROR_INIT;
        int thawed = subject_unpause(s, r < 0 ? &later : err);
        r = r < 0 ? r : thawed;
        m->made->pause_us = (uint64_t)(time_now_ns() - began) / 1000;
    }
    return r;
}

/* A disk has a file when the machine has been started since it stands on what it stands on. Of a
 * system's own disks every file is an overlay, whatever it is called. */
static int find_disks(struct making *m, struct error *err)
{
    int r = snapshot_chain(m->e->store, m->s->record.id, &m->chain, err);
    for (unsigned int i = 0; r == 0 && i < SNAPSHOT_DISKS_MAX; i++) {
        _cleanup_free_ char *path = machine_own_file(m->s, &m->chain, i);
        if (!(m->own & 1u << i) || access(path, F_OK) < 0)
            continue;
        bool overlay = m->s->options.firmware || snapshot_is_overlay(path);
        m->disks[m->n_disks++] = (struct kept_disk){
            .number = i, .name = snapshot_disk_name(i, overlay), .current = TAKE_PTR(path)};
    }
    return r;
}

static int make(struct making *m, struct error *err)
{
    bool machine = m->s->record.kind == RUNTIME_VM;
    int r = choose_name(m, err);
    if (r == 0 && machine)
        r = find_disks(m, err);
    if (r < 0)
        return r;
    random_hex(m->made->id, 32);
    m->dir = snapshot_dir(m->e->store, m->made->id);
    r = snapshot_begin(m->e->store, m->made->id, &m->lock, err);
    if (r == 0)
        r = add_row(m, err);
    if (r == 0)
        r = machine ? take_disks(m, err) : take_files(m, err);
    if (r == 0 && m->s->options.firmware && !m->hidden)
        r = state_keep(m->s->bundle, m->dir, err);
    if (r == 0 && !m->hidden)
        r = store_snapshot_show(m->e->store, m->made->id, m->consistency, m->memory_bytes, err);
    if (r < 0 || !m->hidden)
        m->lock = close_fd(m->lock);
    if (r < 0)
        (void)!snapshot_collect(m->e->store, NULL);
    return r;
}

int engine_snapshot_create(struct engine *e, const char *reference,
                           const struct snapshot_options *o, struct snapshot_made *ret,
                           struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_strv_ char **others = NULL;
    uint32_t own = 0;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_SNAPSHOT, err);
    if (r >= 0)
        r = machine_own_disks(&s.options, &own, &others, err);
    if (r >= 0)
        r = check(e, &s, o, others, err);
    if (r < 0)
        return r;
    *ret = (struct snapshot_made){0};
    _cleanup_(making_done) struct making m = {.e = e,
                                              .s = &s,
                                              .o = o,
                                              .made = ret,
                                              .own = own,
                                              .lock = -EBADF,
                                              .consistency = "stopped",
                                              .moved_fd = -EBADF,
                                              .lease_fd = -EBADF};
    r = make(&m, err);
    if (r < 0)
        return error_prefix(err, "snapshot of %s", s.record.name);
    ret->left_out = TAKE_PTR(others);
    return 0;
}

int snapshot_hidden(struct engine *e, struct subject *s, int moved_fd, struct hidden_snapshot *ret,
                    struct error *err)
{
    struct snapshot_made made = {0};
    _cleanup_strv_ char **others = NULL;
    uint32_t own = 0;
    char name[32];
    random_hex(name, 15);
    const struct snapshot_options o = {.name = name, .memory = moved_fd >= 0, .no_freeze = true};
    int r = machine_own_disks(&s->options, &own, &others, err);
    if (r < 0)
        return r;
    _cleanup_(making_done) struct making m = {.e = e,
                                              .s = s,
                                              .o = &o,
                                              .made = &made,
                                              .own = own,
                                              .lock = -EBADF,
                                              .consistency = "crash",
                                              .moved_fd = moved_fd,
                                              .lease_fd = -EBADF,
                                              .hidden = true};
    r = make(&m, err);
    if (r < 0) {
        close_fd(m.lease_fd);
        return r;
    }
    *ret = (struct hidden_snapshot){
        .pause_us = made.pause_us, .lease_fd = m.lease_fd, .lock_fd = TAKE_FD(m.lock)};
    memcpy(ret->id, made.id, sizeof(ret->id));
    return 0;
}

int engine_snapshot_remove(struct engine *e, const char *reference, struct error *err)
{
    struct snapshot_record record = {0};
    int r = store_snapshot_find(e->store, NULL, reference, &record, err);
    if (r == 0)
        r = store_snapshot_hide(e->store, record.id, err);
    snapshot_record_done(&record);
    return r < 0 ? r : snapshot_collect(e->store, err);
}
