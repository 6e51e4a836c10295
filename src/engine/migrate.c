#include "engine/migrate.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/migrate-internal.h"
#include "wire/agent/snapshot.h"

#define END_MS 10000
#define ROUNDS 2 /* of copying, before it stands still */

struct leaving {
    struct engine *e;
    struct subject *s;
    struct arrival arrival;
    bool runs;
    int moving; /* the file, open to write */
    int lease;
    int64_t still_us; /* since when it stands still */
    bool moved;
};

static int bring_disk(struct leaving *l, struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    int r = snapshot_chain(l->e->store, l->s->record.id, &c, err);
    return r < 0 ? r : arrival_disk(&l->arrival, c.lower, err);
}

/* Where files have to be copied, most of them are before the machine stands still. */
static int bring_before(struct leaving *l, struct error *err)
{
    struct stat here, there;
    struct hidden_snapshot hidden;
    if (stat(l->e->store->root, &here) < 0 || stat(l->arrival.e->store->root, &there) < 0)
        return error_errno(err, errno, "look at %s", l->arrival.e->store->root);
    int r = 0;
    for (int i = 0; r == 0 && here.st_dev != there.st_dev && i < ROUNDS; i++) {
        r = snapshot_hidden(l->e, l->s, -EBADF, &hidden, err);
        if (r == 0)
            r = bring_disk(l, err);
    }
    return r;
}

static int open_moving(struct leaving *l, struct error *err)
{
    _cleanup_free_ char *path = path_join(l->s->bundle, MOVING_FILE);
    l->moving = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return l->moving < 0 ? error_errno(err, errno, "make %s", path) : 0;
}

/* Everything that is missing, while it stands still. */
static int bring_rest(struct leaving *l, struct error *err)
{
    struct hidden_snapshot hidden;
    int r = snapshot_hidden(l->e, l->s, l->moving, &hidden, err);
    if (r < 0)
        return r;
    l->lease = hidden.lease_fd;
    l->still_us = time_now_ns() / 1000 - (int64_t)hidden.pause_us;
    _cleanup_free_ char *dir = snapshot_dir(l->e->store, hidden.id);
    _cleanup_free_ char *memory = path_join(dir, "memory");
    r = bring_disk(l, err);
    if (r == 0)
        r = arrival_rest(&l->arrival, l->s->bundle, err);
    return r < 0 ? r : arrival_memory(&l->arrival, memory, err);
}

/* A machine that does not run has its last file still to become a part of the chain. */
static int bring_stopped(struct leaving *l, struct error *err)
{
    struct hidden_snapshot hidden;
    int r = snapshot_hidden(l->e, l->s, -EBADF, &hidden, err);
    if (r == 0)
        r = bring_disk(l, err);
    return r < 0 ? r : arrival_rest(&l->arrival, l->s->bundle, err);
}

/* The byte. A restart policy must not bring it back afterwards, so the monitor hears first. */
static int decide(struct leaving *l, struct error *err)
{
    static const char moved = AGENT_SNAPSHOT_MOVED;
    int r = l->runs ? monitor_stopping(l->s->run_dir, err) : 0;
    if (r < 0)
        return r;
    if (pwrite(l->moving, &moved, 1, 0) != 1 || fsync(l->moving) < 0)
        return error_errno(err, errno, "write %s/%s", l->s->bundle, MOVING_FILE);
    l->moved = true;
    return 0;
}

static int leave(struct leaving *l, struct error *err)
{
    struct subject *s = l->s;
    int r = 0;
    l->lease = close_fd(l->lease); /* proa-vm reads the byte, and ends the machine */
    if (l->runs && monitor_wait_gone(s->run_dir, END_MS) < 0)
        r = subject_ops(s)->kill_all(&s->target, err);
    if (r == 0)
        r = subject_ops(s)->clean(&s->target, err);
    return r < 0 ? r : remove_locked(l->e, s, false, err);
}

static int move(struct leaving *l, struct error *err)
{
    int r = open_moving(l, err);
    if (r == 0 && l->runs)
        r = bring_before(l, err);
    if (r == 0)
        r = l->runs ? bring_rest(l, err) : bring_stopped(l, err);
    if (r == 0)
        r = decide(l, err);
    if (r == 0)
        r = leave(l, err);
    return r < 0 ? r : arrival_finish(&l->arrival, l->runs, err);
}

/* Before the byte all is as it was; a machine that stood still goes on. */
static void stay(struct leaving *l)
{
    _cleanup_free_ char *path = path_join(l->s->bundle, MOVING_FILE);
    if (l->moved)
        return;
    arrival_undo(&l->arrival);
    unlink(path);
}

int engine_migrate(struct engine *e, const char *reference, const char *to_root,
                   struct migrate_done *ret, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    struct leaving l = {
        .e = e, .s = &s, .arrival = ARRIVAL_INIT, .moving = -EBADF, .lease = -EBADF};
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = subject_may(&s, VERB_MIGRATE, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *id = xstrdup(s.record.id), *name = xstrdup(s.record.name);
    l.runs = s.status.alive;
    r = arrival_begin(e, &s, to_root, &l.arrival, err);
    if (r == 0)
        r = move(&l, err);
    if (r < 0)
        stay(&l);
    close_fd(l.lease);
    close_fd(l.moving);
    arrival_done(&l.arrival);
    if (r < 0)
        return error_prefix(err, "move %s", name);
    ret->id = TAKE_PTR(id);
    ret->pause_us = l.still_us ? (uint64_t)(time_now_ns() / 1000 - l.still_us) : 0;
    return 0;
}
