/*
 * Removal: the row goes first, so that nobody finds the instance any more, then the bundle, and the
 * run directory last. That directory is made when there is none: a kill at any point leaves it, and
 * the next command's repair ends the work (repair.c).
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/engine-internal.h"
#include "service/network/network.h"
#include "service/snapshot/snapshot.h"
#include "service/volume/volume.h"

#define PATIENCE_MS 3000

/* Anonymous volumes have names of 64 hex digits that nobody chose (create.c). */
static void remove_anonymous_volumes(struct engine *e, const struct create_options *o)
{
    for (size_t i = 0; o->volumes && o->volumes[i]; i++) {
        _cleanup_free_ char *name =
            xstrndup(o->volumes[i], (size_t)(strchrnul(o->volumes[i], ':') - o->volumes[i]));
        _cleanup_free_ char *user = NULL;
        struct error ignored = ERROR_INIT;
        if (is_hex(name, 64) && store_volume_user(e->store, name, &user, &ignored) == 0 && !user)
            (void)!volume_remove(e->store, name, &ignored);
    }
}

int bundle_remove(struct engine *e, const char *bundle, struct error *err)
{
    char random[17];
    random_hex(random, 8);
    _cleanup_free_ char *doomed = xasprintf("%s/tmp/%d-%s", e->store->root, (int)getpid(), random);
    if (rename(bundle, doomed) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "remove %s", bundle);
    int r = path_remove_tree(AT_FDCWD, doomed);
    return r < 0 ? error_errno(err, r, "remove %s", doomed) : 0;
}

int remove_locked(struct engine *e, struct subject *s, bool volumes, struct error *err)
{
    if (mkdir(s->run_dir, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", s->run_dir);
    int r = network_detach(e->store, s->record.id, err);
    if (r == 0)
        r = network_release(e->store, s->record.id, err);
    if (r == 0)
        r = store_instance_remove(e->store, s->record.id, err);
    if (r < 0)
        return r;
    if (volumes)
        remove_anonymous_volumes(e, &s->options);
    r = bundle_remove(e, s->bundle, err);
    if (r < 0)
        return r;
    r = path_remove_tree(AT_FDCWD, s->run_dir);
    if (r < 0)
        return error_errno(err, r, "remove %s", s->run_dir);
    return snapshot_collect(e->store, err); /* what only this disk stood on */
}

/* A start can wait minutes for a machine that says nothing, and holds the instance meanwhile. Who
 * wants it gone waits a moment for others; then what is in its group ends, and with that the start.
 */
static int make_room(struct engine *e, const char *reference, struct error *err)
{
    _cleanup_(instance_record_done) struct instance_record record = {0};
    int64_t patient_until = time_monotonic_ms() + PATIENCE_MS;
    int r = store_instance_find(e->store, reference, &record, err);
    while (r == 0) {
        _cleanup_subject_ struct subject s = SUBJECT_INIT;
        struct error busy = ERROR_INIT;
        if (subject_open(e, record.id, SUBJECT_TRY, &s, &busy) != -EWOULDBLOCK)
            return 0; /* whatever else it is will be told to who opens it next */
        if (time_monotonic_ms() > patient_until)
            end_group(e, record.id);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return r;
}

int engine_remove(struct engine *e, const char *reference, bool force, bool volumes,
                  struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = force ? make_room(e, reference, err) : 0;
    if (r == 0)
        r = subject_open(e, reference, force ? SUBJECT_MOVED : SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, force ? VERB_REMOVE_FORCED : VERB_REMOVE, err);
    if (r < 0)
        return r;
    s.record.auto_remove = false; /* we remove it ourselves, below */
    r = s.status.alive ? end_instance(e, &s, err) : finish_locked(e, &s, err);
    return r < 0 ? r : remove_locked(e, &s, volumes, err);
}

int engine_rename(struct engine *e, const char *reference, const char *name, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = check_instance_name(name, err);
    if (r == 0)
        r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0 && strcmp(s.record.name, name) == 0)
        return error_invalid(err, "instance %s has that name already", name);
    if (r == 0)
        r = store_instance_rename(e->store, s.record.id, name, err);
    return r < 0 ? r : network_rename(e->store, s.record.id, name, err);
}
