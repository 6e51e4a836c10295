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
#include "engine/snapshot-internal.h"

struct making {
    struct engine *e;
    struct subject *s;
    const struct snapshot_options *o;
    struct snapshot_made *made;
    struct snapshot_chain chain;
    char *dir, *current; /* the snapshot's directory; the machine's disk, NULL when there is none */
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
    free(m->current);
    m->lock = close_fd(m->lock);
}

/* Memory goes on with all disks as they were, and a snapshot has the first. */
static int check_more_disks(const struct subject *s, struct error *err)
{
    for (size_t i = 0; s->options.disks && s->options.disks[i]; i++) {
        _cleanup_(disk_spec_done) struct disk_spec spec = {0};
        int r = disk_spec_parse(s->options.disks[i], &spec, err);
        if (r == 0 && !spec.read_only)
            r = error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                          "machine %s writes to more disks than the first, which is the one that a "
                          "snapshot has: leave --memory out",
                          s->record.name);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check(const struct subject *s, const struct snapshot_options *o, struct error *err)
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
    return check_more_disks(s, err);
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
    record.base = m->chain.base;
    record.consistency = (char *)"";
    if (m->current)
        record.file = snapshot_is_overlay(m->current) ? (char *)"disk.qcow2" : (char *)"disk.raw";
    return store_snapshot_add(m->e->store, &record, err);
}

/* The file gets a second name in the snapshot's directory, which is its only one in the end. */
static int keep_disk(struct making *m, char **ret_kept, struct error *err)
{
    _cleanup_free_ char *kept =
        path_join(m->dir, snapshot_is_overlay(m->current) ? "disk.qcow2" : "disk.raw");
    if (link(m->current, kept) < 0)
        return error_errno(err, errno, "keep %s", m->current);
    *ret_kept = TAKE_PTR(kept);
    return 0;
}

/* An empty file on top of it, in the store first. */
static int extend_chain(struct making *m, const char *kept, char **ret_top, struct error *err)
{
    struct store *s = m->e->store;
    _cleanup_free_ char *file = NULL;
    uint64_t bytes;
    int r = snapshot_disk_size(kept, &bytes, err);
    if (r == 0)
        r = store_begin(s, err);
    if (r < 0)
        return r;
    r = snapshot_stand_on(s, m->s->record.id, m->made->id, &file, err);
    _cleanup_free_ char *top = r == 0 ? path_join(m->s->bundle, file) : NULL;
    if (r == 0)
        r = snapshot_overlay(top, bytes, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    if (r == 0 && ended == 0)
        *ret_top = TAKE_PTR(top);
    return r < 0 ? r : ended;
}

static int sync_file(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 || fsync(fd) < 0 ? error_errno(err, errno, "sync %s", path) : 0;
}

/* The running machine writes to the new top from here on. What fails leaves the chain longer by an
 * empty file, whether QEMU uses it or not. */
static int ask_machine(struct making *m, const char *top, struct error *err)
{
    struct stat st = {0};
    struct runtime_snapshot_done done = {.lease_fd = -EBADF};
    _cleanup_free_ char *path = path_join(m->dir, "memory");
    _cleanup_close_ int disk = open(top, O_RDWR | O_CLOEXEC | O_NOFOLLOW), memory = -EBADF;
    if (disk < 0)
        return error_errno(err, errno, "open %s", top);
    if (m->o->memory)
        memory = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (m->o->memory && memory < 0)
        return error_errno(err, errno, "make %s", path);
    const struct runtime_snapshot wanted = {
        .freeze = !m->o->no_freeze, .disk_fd = disk, .memory_fd = memory, .moved_fd = m->moved_fd};
    int r = subject_ops(m->s)->snapshot(&m->s->target, &wanted, &done, err);
    bool kept = memory >= 0 && m->moved_fd < 0; /* what is moved is used at once */
    if (r == 0 && memory >= 0 && ((kept && fsync(memory) < 0) || fstat(memory, &st) < 0))
        r = error_errno(err, errno, "write %s", path);
    m->lease_fd = done.lease_fd;
    m->consistency = done.frozen ? "frozen" : "crash";
    m->memory_bytes = (uint64_t)st.st_size;
    m->made->pause_us = done.pause_us;
    return r;
}

static int take_disk(struct making *m, struct error *err)
{
    _cleanup_free_ char *kept = NULL, *top = NULL;
    if (!m->current)
        return 0;
    int r = keep_disk(m, &kept, err);
    if (r == 0)
        r = extend_chain(m, kept, &top, err);
    if (r == 0 && m->s->status.alive)
        r = ask_machine(m, top, err);
    if (r == 0 && m->moved_fd < 0)
        r = sync_file(kept, err);
    if (r == 0)
        unlink(m->current);
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

/* The machine's disk, if it has been started before. */
static int find_disk(struct making *m, struct error *err)
{
    int r = snapshot_chain(m->e->store, m->s->record.id, &m->chain, err);
    if (r < 0)
        return r;
    static const char *const names[] = {MACHINE_DISK, MACHINE_BOOT_DISK};
    for (size_t i = 0; i < ARRAY_SIZE(names) && !m->current; i++) {
        _cleanup_free_ char *path =
            path_join(m->s->bundle, m->chain.file ? m->chain.file : names[i]);
        if (access(path, F_OK) == 0)
            m->current = TAKE_PTR(path);
    }
    return 0;
}

static int make(struct making *m, struct error *err)
{
    bool machine = m->s->record.kind == RUNTIME_VM;
    int r = choose_name(m, err);
    if (r == 0 && machine)
        r = find_disk(m, err);
    if (r < 0)
        return r;
    random_hex(m->made->id, 32);
    m->dir = snapshot_dir(m->e->store, m->made->id);
    r = snapshot_begin(m->e->store, m->made->id, &m->lock, err);
    if (r == 0)
        r = add_row(m, err);
    if (r == 0)
        r = machine ? take_disk(m, err) : take_files(m, err);
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
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_SNAPSHOT, err);
    if (r >= 0)
        r = check(&s, o, err);
    if (r < 0)
        return r;
    *ret = (struct snapshot_made){0};
    _cleanup_(making_done) struct making m = {.e = e,
                                              .s = &s,
                                              .o = o,
                                              .made = ret,
                                              .lock = -EBADF,
                                              .consistency = "stopped",
                                              .moved_fd = -EBADF,
                                              .lease_fd = -EBADF};
    r = make(&m, err);
    return r < 0 ? error_prefix(err, "snapshot of %s", s.record.name) : 0;
}

int snapshot_hidden(struct engine *e, struct subject *s, int moved_fd, struct hidden_snapshot *ret,
                    struct error *err)
{
    struct snapshot_made made = {0};
    char name[32];
    random_hex(name, 15);
    const struct snapshot_options o = {.name = name, .memory = moved_fd >= 0, .no_freeze = true};
    _cleanup_(making_done) struct making m = {.e = e,
                                              .s = s,
                                              .o = &o,
                                              .made = &made,
                                              .lock = -EBADF,
                                              .consistency = "crash",
                                              .moved_fd = moved_fd,
                                              .lease_fd = -EBADF,
                                              .hidden = true};
    int r = make(&m, err);
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
