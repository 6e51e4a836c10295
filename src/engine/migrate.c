#include "engine/migrate.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/migrate-internal.h"
#include "wire/agent/snapshot.h"

#define END_MS 10000
#define ROUNDS 2 /* of copying, before it stands still */

struct leaving {
    struct engine *e;
    struct subject *s;
    const char *where; /* another host; NULL: a state directory of this one */
    struct destination *to;
    bool runs;
    int moving; /* the file, open to write */
    int lease;
    int64_t still_us;       /* since when it stands still */
    uint64_t copied_before; /* how much was copied until then */
    bool moved, told;
};

static int bring_disks(struct leaving *l, struct error *err)
{
    _cleanup_(snapshot_chain_done) struct snapshot_chain c = {0};
    int r = snapshot_chain(l->e->store, l->s->record.id, &c, err);
    return r < 0 ? r : l->to->ops->disks(l->to, c.levels, err);
}

static int bring_before(struct leaving *l, struct error *err)
{
    struct hidden_snapshot hidden;
    int r = 0;
    for (int i = 0; r == 0 && l->to->ops->copies(l->to) && i < ROUNDS; i++) {
        r = snapshot_hidden(l->e, l->s, -EBADF, &hidden, err);
        if (r < 0)
            return r;
        close_fd(hidden.lock_fd);
        r = bring_disks(l, err);
    }
    return r;
}

/* Where to, behind the place of the byte: empty for a state directory of this host. */
static int open_moving(struct leaving *l, struct error *err)
{
    _cleanup_free_ char *path = path_join(l->s->bundle, MOVING_FILE);
    _cleanup_free_ char *text = xasprintf(" %s", l->where ? l->where : "");
    size_t n = strlen(text);
    l->moving = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->moving < 0 || pwrite(l->moving, text, n, 0) != (ssize_t)n || fsync(l->moving) < 0)
        return error_errno(err, errno, "make %s", path);
    return 0;
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
    l->copied_before = l->to->copied;
    _cleanup_free_ char *dir = snapshot_dir(l->e->store, hidden.id);
    _cleanup_free_ char *memory = path_join(dir, "memory");
    r = bring_disks(l, err);
    if (r == 0)
        r = l->to->ops->rest(l->to, err);
    if (r == 0)
        r = l->to->ops->memory(l->to, memory, err);
    close_fd(hidden.lock_fd);
    return r;
}

/* A machine that does not run has its last files still to become a part of the chain. */
static int bring_stopped(struct leaving *l, struct error *err)
{
    struct hidden_snapshot hidden;
    int r = snapshot_hidden(l->e, l->s, -EBADF, &hidden, err);
    if (r < 0)
        return r;
    close_fd(hidden.lock_fd);
    r = bring_disks(l, err);
    return r < 0 ? r : l->to->ops->rest(l->to, err);
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

int clean_here(struct subject *s, struct error *err)
{
    _cleanup_free_ char *mark = path_join(s->bundle, ENDED_FILE);
    if (access(mark, F_OK) == 0)
        return 0;
    int r = subject_ops(s)->clean(&s->target, err);
    if (r == 0 && (r = file_write_atomic(AT_FDCWD, mark, "", 0, 0600)) < 0)
        error_errno(err, r, "write %s", mark);
    return r;
}

static int end_here(struct leaving *l, struct error *err)
{
    struct subject *s = l->s;
    int r = 0;
    l->lease = close_fd(l->lease); /* proa-vm reads the byte, and ends the machine */
    if (l->runs && monitor_wait_gone(s->run_dir, END_MS) < 0)
        r = subject_ops(s)->kill_all(&s->target, err);
    return r < 0 ? r : clean_here(s, err);
}

static int leave(struct leaving *l, struct error *err)
{
    struct error ignored = ERROR_INIT;
    bool first = l->to->ops->first_gone_here;
    int r = end_here(l, err);
    if (r == 0 && first)
        r = remove_locked(l->e, l->s, false, err);
    if (r < 0)
        return r;
    r = l->to->ops->finish(l->to, &l->told, err);
    if (!first && l->told) {
        int removed = remove_locked(l->e, l->s, false, r < 0 ? &ignored : err);
        r = r < 0 ? r : removed;
    }
    return r;
}

static int move(struct leaving *l, struct error *err)
{
    int r = open_moving(l, err);
    if (r == 0 && l->runs)
        r = bring_before(l, err);
    if (r == 0)
        r = l->runs ? bring_rest(l, err) : bring_stopped(l, err);
    if (r == 0 && l->to->ops->ready)
        r = l->to->ops->ready(l->to, err);
    if (r == 0)
        r = decide(l, err);
    return r < 0 ? r : leave(l, err);
}

/* Before the byte all is as it was; a machine that stood still goes on. */
static void stay(struct leaving *l)
{
    _cleanup_free_ char *path = path_join(l->s->bundle, MOVING_FILE);
    if (l->moved)
        return;
    l->to->ops->undo(l->to);
    unlink(path);
}

static int migrate(struct leaving *l, struct error *err)
{
    struct subject *s = l->s;
    l->to->from = l->e;
    l->to->s = s;
    l->to->runs = l->runs = s->status.alive;
    int r = l->to->ops->begin(l->to, err);
    if (r == 0)
        r = move(l, err);
    if (r < 0)
        stay(l);
    close_fd(l->lease);
    close_fd(l->moving);
    return r;
}

static bool is_remote(const char *to)
{
    return strncmp(to, "tls://", 6) == 0;
}

int engine_migrate(struct engine *e, const char *reference, const struct migrate_target *to,
                   struct migrate_done *ret, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    bool remote = is_remote(to->to);
    struct leaving l = {
        .e = e, .s = &s, .where = remote ? to->to : NULL, .moving = -EBADF, .lease = -EBADF};
    if (remote && signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* a lost connection is an error of ours */
        return error_errno(err, errno, "ignore a signal");
    int r = subject_open(e, reference, remote ? SUBJECT_MOVED : SUBJECT_LOCKED, &s, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *id = xstrdup(s.record.id), *name = xstrdup(s.record.name);
    if (remote && bundle_has_moved(s.bundle)) {
        r = remote_remind(e, &s, to, err);
    } else if ((r = subject_may(&s, VERB_MIGRATE, err)) >= 0) {
        l.to = remote ? remote_destination(to) : local_destination(to->to);
        r = migrate(&l, err);
        ret->copied_still = l.to->copied - l.copied_before;
        l.to->ops->done(l.to);
    }
    if (r < 0)
        return error_prefix(err, "move %s", name);
    ret->id = TAKE_PTR(id);
    ret->pause_us = l.still_us ? (uint64_t)(time_now_ns() / 1000 - l.still_us) : 0;
    return 0;
}
