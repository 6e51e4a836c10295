#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/migrate-internal.h"
#include "wire/agent/snapshot.h"

void arrival_done(struct arrival *a)
{
    subject_done(&a->subject);
    engine_close(a->e);
    free(a->base);
}

/* --- what is checked before anything is moved --- */

static int check_options(const struct subject *s, struct error *err)
{
    const struct create_options *o = &s->options;
    if (s->record.kind != RUNTIME_VM)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s is a container: only machines can be moved", s->record.name);
    if (strv_len(o->volumes) > 0 || strv_len(o->mounts) > 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "machine %s has volumes or directories of this host, which would stay "
                         "behind",
                         s->record.name);
    return 0;
}

static int check_here(struct engine *e, const struct subject *s, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    struct error why = ERROR_INIT;
    int r = image_find(e->store, s->record.image_id, &image, &why);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "its image %s is not in %s: bring it there first (proa save %s | proa "
                         "--root %s load)",
                         s->record.image_name, e->store->root, s->record.image_name,
                         e->store->root);
    if (r < 0)
        return error_set(err, why.kind, -r, "%s", why.msg);
    /* A copy: the check completes what it is given. */
    _cleanup_(create_options_done) struct create_options o;
    _cleanup_json_ json_t *json = create_options_to_json(&s->options);
    create_options_init(&o);
    r = create_options_from_json(json, &o, err);
    return r < 0 ? r : create_check(e, &o, image, err);
}

int arrival_begin(struct engine *from, const struct subject *s, const char *root, struct arrival *a,
                  struct error *err)
{
    int r = check_options(s, err);
    if (r == 0)
        r = engine_open(root, &a->e, err);
    if (r == 0 && strcmp(a->e->store->root, from->store->root) == 0)
        r = error_invalid(err, "--to: %s is where it is", a->e->store->root);
    if (r == 0)
        r = check_here(a->e, s, err);
    if (r == 0)
        r = store_begin(a->e->store, err);
    if (r < 0)
        return r;
    r = store_instance_add(a->e->store, &s->record, err);
    if (r == 0)
        r = store_arriving_add(a->e->store, s->record.id, from->store->root, getpid(), err);
    int ended = store_end(a->e->store, r == 0, r == 0 ? err : NULL);
    if (r < 0 || ended < 0)
        return r < 0 ? r : ended;
    return subject_open(a->e, s->record.id, SUBJECT_LOCKED, &a->subject, err);
}

/* --- bringing files --- */

/* The files do not change any more: on one file system a second name is enough. */
static int bring(const char *from, const char *to, struct error *err)
{
    if (link(from, to) == 0)
        return 0;
    if (errno != EXDEV)
        return error_errno(err, errno, "make %s", to);
    char *const argv[] = {(char *)"cp",
                          (char *)"--reflink=auto",
                          (char *)"--sparse=always",
                          (char *)"--",
                          (char *)from,
                          (char *)to,
                          NULL};
    int r = process_run("cp", argv, -EBADF, NULL, err);
    _cleanup_close_ int fd = r < 0 ? -EBADF : open(to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (r == 0 && (fd < 0 || fsync(fd) < 0))
        r = error_errno(err, errno, "write %s", to);
    return r;
}

/* One part of the chain as a snapshot that nobody is shown, like those it was made of. */
static int bring_part(struct arrival *a, const char *file, struct error *err)
{
    const struct instance_record *i = &a->subject.record;
    char id[65];
    _cleanup_close_ int lock = -EBADF;
    _cleanup_free_ char *own = NULL;
    random_hex(id, 32);
    _cleanup_free_ char *dir = snapshot_dir(a->e->store, id);
    const char *name = strrchr(file, '/') + 1;
    struct snapshot_record record = {
        .id = id,
        .name = id,
        .instance_id = i->id,
        .instance_name = i->name,
        .kind = i->kind,
        .image_id = i->image_id,
        .image_name = i->image_name,
        .options = i->options,
        .base = a->base,
        .file = (char *)name,
        .consistency = (char *)"crash",
        .created_ns = time_now_ns(),
    };
    int r = snapshot_begin(a->e->store, id, &lock, err);
    if (r == 0)
        r = store_snapshot_add(a->e->store, &record, err);
    _cleanup_free_ char *to = path_join(dir, name);
    if (r == 0)
        r = bring(file, to, err);
    if (r == 0)
        r = snapshot_stand_on(a->e->store, i->id, id, &own, err);
    if (r == 0) {
        xreplace(&a->base, id);
        a->n_done++;
    }
    return r;
}

int arrival_disk(struct arrival *a, char *const *files, struct error *err)
{
    int r = 0;
    while (r == 0 && files[a->n_done])
        r = bring_part(a, files[a->n_done], err);
    return r;
}

int arrival_memory(struct arrival *a, const char *file, struct error *err)
{
    _cleanup_free_ char *to = path_join(a->subject.bundle, MACHINE_MEMORY);
    return bring(file, to, err);
}

/* A disk beside the first, where it has a file of its own. */
static int bring_more(struct arrival *a, const char *from, unsigned int i, struct error *err)
{
    _cleanup_free_ char *name = xasprintf("disk%u.qcow2", i), *old = path_join(from, name);
    _cleanup_free_ char *to = path_join(a->subject.bundle, name);
    return access(old, F_OK) < 0 ? 0 : bring(old, to, err);
}

int arrival_rest(struct arrival *a, const char *bundle, struct error *err)
{
    if (!a->subject.options.firmware)
        return 0;
    int r = state_copy(bundle, a->subject.bundle, err);
    for (unsigned int i = 1; r == 0 && i < MACHINE_DISKS_MAX; i++)
        r = bring_more(a, bundle, i, err);
    return r;
}

/* --- the end --- */

int arrival_finish(struct arrival *a, bool start, struct error *err)
{
    int r = store_arriving_done(a->e->store, a->subject.record.id, err);
    subject_unlock(&a->subject);
    if (r == 0 && start)
        r = engine_start(a->e, a->subject.record.id, false, NULL, err);
    return r < 0 ? error_prefix(err, "it has moved to %s, and does not run", a->e->store->root) : 0;
}

void arrival_undo(struct arrival *a)
{
    struct error ignored = ERROR_INIT;
    if (a->subject.bundle)
        (void)!remove_locked(a->e, &a->subject, false, &ignored);
}

bool bundle_has_moved(const char *bundle)
{
    char mark = 0;
    _cleanup_free_ char *path = path_join(bundle, MOVING_FILE);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && pread(fd, &mark, 1, 0) == 1 && mark == AGENT_SNAPSHOT_MOVED;
}

/* Whether an instance has left the state directory that it came from: 1, 0, or -errno when that
 * cannot be told. What is left of it there goes first: both have its control group. */
static int has_left(const char *source, const char *id)
{
    _cleanup_free_ char *database = path_join(source, "proa.db");
    _cleanup_subject_ struct subject there = SUBJECT_INIT;
    struct engine *e = NULL;
    struct error ignored = ERROR_INIT;
    if (access(database, F_OK) < 0)
        return -errno;
    int r = engine_open(source, &e, &ignored);
    if (r == 0)
        r = subject_open(e, id, SUBJECT_LOCKED, &there, &ignored);
    engine_close(e);
    return r == -ENOENT ? 1 : r;
}

static void repair_arrival(struct engine *e, const struct arriving_record *a)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_free_ char *process = xasprintf("/proc/%lld", (long long)a->pid);
    struct error why = ERROR_INIT;
    if (access(process, F_OK) == 0 || subject_open(e, a->instance_id, SUBJECT_TRY, &s, &why) < 0)
        return; /* it is still brought */
    int left = has_left(a->source, a->instance_id);
    if (left == 0)
        (void)!remove_locked(e, &s, false, &why);
    else if (left > 0 && store_arriving_done(e->store, a->instance_id, &why) == 0)
        engine_notice(e, "instance %s has come from %s; proa start %s lets it go on", s.record.name,
                      a->source, s.record.name);
}

int repair_arrivals(struct engine *e, struct error *err)
{
    struct arriving_record *list = NULL;
    int r = store_arriving_list(e->store, &list, err);
    for (size_t i = 0; r == 0 && list[i].instance_id; i++)
        repair_arrival(e, &list[i]);
    arriving_list_free(list);
    return r;
}

int check_arrived(struct engine *e, const struct subject *s, struct error *err)
{
    struct arriving_record *list = NULL;
    int r = store_arriving_list(e->store, &list, err);
    for (size_t i = 0; r == 0 && list[i].instance_id; i++)
        if (strcmp(list[i].instance_id, s->record.id) == 0)
            r = error_set(err, ERROR_CONFLICT, EBUSY,
                          "%s is on its way here from %s, and whether it has left there cannot be "
                          "told",
                          s->record.name, list[i].source);
    arriving_list_free(list);
    return r;
}
