/*
 * snapshot flatten: a stopped machine's chain, with the file that it wrote to, becomes one file: a
 * snapshot that nobody is shown, and that the machine stands on. The row that says so is the last
 * step; before it nothing has changed for the machine, and a kill leaves a snapshot that nothing
 * stands on.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/snapshot-internal.h"

struct flattening {
    struct engine *e;
    struct subject *s;
    struct snapshot_chain chain;
    char id[65];
    char *dir;
    int lock;
    int *fds;
    size_t n;
};

static void flattening_done(struct flattening *f)
{
    for (size_t i = 0; i < f->n; i++)
        close_fd(f->fds[i]);
    free(f->fds);
    free(f->dir);
    close_fd(f->lock);
    snapshot_chain_done(&f->chain);
}

static int open_one(struct flattening *f, const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    f->fds[f->n++] = fd;
    return 0;
}

/* The file that it writes to is the last of them, where it has one yet. */
static int open_all(struct flattening *f, struct error *err)
{
    _cleanup_free_ char *own = path_join(f->s->bundle, f->chain.file);
    int r = 0;
    f->fds = xcalloc(strv_len(f->chain.lower) + 1, sizeof(*f->fds));
    for (size_t i = 0; r == 0 && f->chain.lower[i]; i++)
        r = open_one(f, f->chain.lower[i], err);
    return r == 0 && access(own, F_OK) == 0 ? open_one(f, own, err) : r;
}

static int add_row(struct flattening *f, bool raw, struct error *err)
{
    struct snapshot_record record = snapshot_record_of(&f->s->record, f->id, f->id);
    record.file = raw ? (char *)"disk.raw" : (char *)"disk.qcow2";
    record.consistency = (char *)"stopped";
    int r = snapshot_begin(f->e->store, f->id, &f->lock, err);
    return r < 0 ? r : store_snapshot_add(f->e->store, &record, err);
}

static int merge(struct flattening *f, bool raw, struct error *err)
{
    _cleanup_free_ char *path = path_join(f->dir, raw ? "disk.raw" : "disk.qcow2");
    _cleanup_close_ int out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return error_errno(err, errno, "make %s", path);
    int r = snapshot_merge(f->fds, f->n, raw, out, err);
    return r == 0 && fsync(out) < 0 ? error_errno(err, errno, "write %s", path) : r;
}

static int flatten(struct flattening *f, struct error *err)
{
    _cleanup_free_ char *file = NULL;
    int r = snapshot_chain(f->e->store, f->s->record.id, &f->chain, err);
    if (r < 0)
        return r;
    if (strv_len(f->chain.lower) == 0)
        return error_set(err, ERROR_CONFLICT, EALREADY, "%s stands on no snapshot",
                         f->s->record.name);
    bool raw = !snapshot_is_overlay(f->chain.lower[0]);
    random_hex(f->id, 32);
    f->dir = snapshot_dir(f->e->store, f->id);
    r = open_all(f, err);
    if (r == 0 && f->n < 2)
        return error_set(err, ERROR_CONFLICT, EALREADY, "%s stands on one file already",
                         f->s->record.name);
    if (r == 0)
        r = add_row(f, raw, err);
    if (r == 0)
        r = merge(f, raw, err);
    if (r == 0)
        r = snapshot_stand_on(f->e->store, f->s->record.id, f->id, &file, err);
    if (r == 0)
        sweep_disks(f->s->bundle, file);
    return r;
}

int engine_snapshot_flatten(struct engine *e, const char *reference, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_(flattening_done) struct flattening f = {.e = e, .s = &s, .lock = -EBADF};
    int r = subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == 0)
        r = finish_locked(e, &s, err); /* what a killed monitor left */
    if (r == 0)
        r = subject_may(&s, VERB_RESTORE, err);
    if (r < 0)
        return r;
    if (s.record.kind != RUNTIME_VM)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s is a container, whose files are copied: it stands on no snapshot",
                         s.record.name);
    r = flatten(&f, err);
    f.lock = close_fd(f.lock);
    int collected = snapshot_collect(e->store, r < 0 ? NULL : err);
    return r < 0 ? r : collected;
}
