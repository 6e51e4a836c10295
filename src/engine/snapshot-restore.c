/*
 * snapshot restore, clone. A machine's disk is put on the snapshot by a row: its writable file is
 * made at the next start. A container's files are copied to one side, and change places with what
 * is there in one step.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/snapshot-internal.h"
#include "service/image/work.h"

/* While this is held nobody removes the snapshot's files. */
static int hold_snapshot(struct engine *e, const char *id, int *ret_fd, struct error *err)
{
    _cleanup_free_ char *dir = snapshot_dir(e->store, id);
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0)
        return error_errno(err, errno, "hold %s", dir);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* A copy of a container's files, in a directory that goes with us: *ret is its path. */
static int copy_files(struct engine *e, const char *id, struct image_work *w, char **ret,
                      struct error *err)
{
    _cleanup_close_ int held = -EBADF;
    _cleanup_free_ char *dir = snapshot_dir(e->store, id), *from = path_join(dir, "upper");
    int r = hold_snapshot(e, id, &held, err);
    if (r == 0)
        r = image_work_begin(e->store, w, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *to = xasprintf("%s/tmp/%s/bundle", e->store->root, w->name);
    r = bundle_make(to, err);
    _cleanup_free_ char *upper = path_join(to, "upper");
    if (r == 0)
        r = copy_directory(from, upper, err);
    if (r == 0)
        *ret = TAKE_PTR(to);
    return r;
}

/* --- restore --- */

static int restore_files(struct engine *e, const struct subject *s,
                         const struct snapshot_record *snapshot, struct error *err)
{
    _cleanup_(image_work_end) struct image_work w = {.fd = -EBADF};
    _cleanup_free_ char *copy = NULL;
    int r = copy_files(e, snapshot->id, &w, &copy, err);
    if (r < 0)
        return r;
    const char *const parts[] = {"work", "upper"};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_free_ char *fresh = path_join(copy, parts[i]),
                            *old = path_join(s->bundle, parts[i]);
        if (renameat2(AT_FDCWD, fresh, AT_FDCWD, old, RENAME_EXCHANGE) < 0)
            return error_errno(err, errno, "exchange %s", old);
    }
    return 0;
}

/* The memory gets a name in the bundle, which the next start uses up (proa-vm). It fits nothing but
 * the disk of its snapshot: so the old one goes before the disk changes, and the new one comes
 * after. */
static int place_memory(struct engine *e, const struct subject *s, const char *id,
                        struct error *err)
{
    _cleanup_free_ char *place = path_join(s->bundle, MACHINE_MEMORY);
    _cleanup_free_ char *dir = id ? snapshot_dir(e->store, id) : NULL;
    _cleanup_free_ char *memory = id ? path_join(dir, "memory") : NULL;
    if (!id)
        return unlink(place) < 0 && errno != ENOENT ? error_errno(err, errno, "remove %s", place)
                                                    : 0;
    return link(memory, place) < 0 ? error_errno(err, errno, "make %s", place) : 0;
}

static int restore_rows(struct engine *e, const struct subject *s,
                        const struct snapshot_record *snapshot, struct error *err)
{
    _cleanup_free_ char *file = NULL;
    int r = store_begin(e->store, err);
    if (r < 0)
        return r;
    r = store_instance_set_options(e->store, s->record.id, snapshot->image_id, snapshot->image_name,
                                   snapshot->options, err);
    if (r == 0 && s->record.kind == RUNTIME_VM)
        r = snapshot_stand_on(e->store, s->record.id, snapshot->id, &file, err);
    int ended = store_end(e->store, r == 0, r == 0 ? err : NULL);
    if (r == 0 && ended == 0 && file)
        sweep_disks(e, s);
    return r < 0 ? r : ended;
}

/* An end that is not the last, also of an instance that is removed at its end. */
static int end_for_restore(struct engine *e, struct subject *s, struct error *err)
{
    bool keep = s->record.auto_remove;
    s->record.auto_remove = false;
    int r = end_instance(e, s, err);
    s->record.auto_remove = keep;
    return r;
}

static int restore_locked(struct engine *e, struct subject *s, const char *reference, bool force,
                          bool *ret_memory, struct error *err)
{
    struct snapshot_record snapshot = {0};
    int r = store_snapshot_find(e->store, s->record.id, reference, &snapshot, err);
    if (r < 0)
        return r;
    if (snapshot.kind != s->record.kind) {
        snapshot_record_done(&snapshot);
        return error_set(err, ERROR_CONFLICT, EINVAL,
                         "%s is a snapshot of another kind of instance", reference);
    }
    r = force && s->status.alive ? end_for_restore(e, s, err) : subject_may(s, VERB_RESTORE, err);
    if (r >= 0 && s->record.kind == RUNTIME_CONTAINER)
        r = restore_files(e, s, &snapshot, err);
    if (r >= 0)
        r = place_memory(e, s, NULL, err);
    if (r >= 0)
        r = restore_rows(e, s, &snapshot, err);
    *ret_memory = snapshot.memory_bytes > 0;
    if (r >= 0 && *ret_memory)
        r = place_memory(e, s, snapshot.id, err);
    if (r >= 0)
        r = snapshot_collect(e->store, err);
    snapshot_record_done(&snapshot);
    return r < 0 ? r : 0;
}

int engine_snapshot_restore(struct engine *e, const char *reference, const char *snapshot,
                            bool force, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    bool memory = false;
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = finish_locked(e, &s, err); /* what a killed monitor left */
    if (r == 0)
        r = restore_locked(e, &s, snapshot, force, &memory, err);
    if (r < 0 || !memory)
        return r;
    subject_unlock(&s);
    return engine_start(e, s.record.id, false, NULL, err);
}

/* --- clone --- */

/* What two instances cannot both have is left out; an anonymous volume becomes a new one. */
static void take_identity(struct create_options *o, const char *name)
{
    char **volumes = NULL;
    xreplace(&o->name, name);
    xreplace(&o->ip, NULL);
    xreplace(&o->mac, NULL);
    strv_free(o->publish);
    strv_free(o->network_aliases);
    o->publish = o->network_aliases = NULL;
    o->publish_all = o->auto_remove = false;
    for (size_t i = 0; o->volumes && o->volumes[i]; i++) {
        const char *colon = strchr(o->volumes[i], ':');
        bool anonymous =
            colon == o->volumes[i] + 64 && strspn(o->volumes[i], "0123456789abcdef") == 64;
        _cleanup_free_ char *target = NULL;
        if (anonymous)
            target = xstrndup(colon + 1, strcspn(colon + 1, ":"));
        strv_add(&volumes, anonymous ? target : o->volumes[i]);
    }
    strv_free(o->volumes);
    o->volumes = volumes;
}

struct cloning {
    const struct snapshot_record *snapshot;
    const char *files; /* container: the bundle that was prepared */
    char *run_dir;     /* container: repair sees that somebody is at work */
    int lock;
};

/* A bundle without a row would be nobody's: until the row is there the run directory says so
 * (repair.c), and while its lock is held nobody repairs. */
static int place_files(struct engine *e, const char *id, struct cloning *c, struct error *err)
{
    _cleanup_free_ char *bundle = engine_bundle_dir(e, id), *lock = NULL;
    c->run_dir = engine_run_dir(e, id);
    _cleanup_free_ char *making = xasprintf("%s/instances/new-%d", e->store->run, (int)getpid());
    lock = path_join(making, "lock");
    if (mkdir(making, 0700) < 0)
        return error_errno(err, errno, "create %s", making);
    c->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->lock < 0 || flock(c->lock, LOCK_EX | LOCK_NB) < 0)
        return error_errno(err, errno, "lock %s", lock);
    if (rename(making, c->run_dir) < 0 || rename(c->files, bundle) < 0)
        return error_errno(err, errno, "create %s", bundle);
    return 0;
}

static void cloning_end(struct engine *e, struct cloning *c, bool ok)
{
    if (c->run_dir && !ok) {
        _cleanup_free_ char *bundle = engine_bundle_dir(e, strrchr(c->run_dir, '/') + 1);
        (void)!bundle_remove(e, bundle, NULL);
    }
    if (c->run_dir)
        (void)!path_remove_tree(AT_FDCWD, c->run_dir);
    free(c->run_dir);
    c->lock = close_fd(c->lock);
}

static int place(struct engine *e, const char *id, void *context, struct error *err)
{
    struct cloning *c = context;
    _cleanup_free_ char *file = NULL;
    return c->files ? place_files(e, id, c, err)
                    : snapshot_stand_on(e->store, id, c->snapshot->id, &file, err);
}

/* Its name, unless that means another image by now. */
static void choose_image(struct engine *e, const struct snapshot_record *snapshot,
                         struct create_options *o)
{
    _cleanup_image_ struct image *image = NULL;
    struct error ignored = ERROR_INIT;
    bool same = image_find(e->store, snapshot->image_name, &image, &ignored) == 0 &&
                strcmp(image->id, snapshot->image_id) == 0;
    xreplace(&o->image, same ? snapshot->image_name : snapshot->image_id);
}

static int clone_found(struct engine *e, const struct snapshot_record *snapshot, const char *name,
                       char **ret_id, struct error *err)
{
    _cleanup_(create_options_done) struct create_options o;
    _cleanup_json_ json_t *json = NULL;
    _cleanup_(image_work_end) struct image_work w = {.fd = -EBADF};
    _cleanup_free_ char *files = NULL;
    create_options_init(&o);
    int r = json_parse(snapshot->options, strlen(snapshot->options), "snapshot", &json, err);
    if (r == 0)
        r = create_options_from_json(json, &o, err);
    if (r < 0)
        return r;
    take_identity(&o, name);
    choose_image(e, snapshot, &o);
    if (snapshot->kind == RUNTIME_CONTAINER)
        r = copy_files(e, snapshot->id, &w, &files, err);
    struct cloning c = {.snapshot = snapshot, .files = files, .lock = -EBADF};
    if (r == 0)
        r = create_instance(e, &o, place, &c, ret_id, err);
    cloning_end(e, &c, r == 0);
    return r;
}

int engine_snapshot_clone(struct engine *e, const char *reference, const char *name, char **ret_id,
                          struct error *err)
{
    struct snapshot_record snapshot = {0};
    int r = store_snapshot_find(e->store, NULL, reference, &snapshot, err);
    if (r == 0)
        r = clone_found(e, &snapshot, name, ret_id, err);
    snapshot_record_done(&snapshot);
    return r;
}
