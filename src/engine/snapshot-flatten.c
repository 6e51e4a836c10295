/*
 * snapshot flatten: the chains of a stopped machine's disks, each with the file that it wrote to,
 * become one file each: a snapshot that nobody is shown, and that the machine stands on. The row
 * that says so is the last step; before it nothing has changed for the machine, and a kill leaves a
 * snapshot that nothing stands on.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/machine-disks.h"
#include "engine/snapshot-internal.h"

struct flattening {
    struct engine *e;
    struct subject *s;
    struct snapshot_chain chain;
    char id[65];
    char *dir;
    int lock;
    char **names;   /* of what the disks become, in the directory */
    char ***chains; /* of each of them: the files of its chain, in the same order */
    bool worth;     /* a chain has more than one */
};

static void flattening_done(struct flattening *f)
{
    for (size_t i = 0; i < strv_len(f->names); i++)
        strv_free(f->chains[i]);
    free(f->chains);
    strv_free(f->names);
    free(f->dir);
    close_fd(f->lock);
    snapshot_chain_done(&f->chain);
}

/* The file that it writes to is the last of them, where it has one yet. */
static void find_chain(struct flattening *f, unsigned int disk)
{
    _cleanup_free_ char *own = machine_own_file(f->s, &f->chain, disk);
    _cleanup_strv_ char **files = snapshot_lower(f->chain.levels, disk);
    if (access(own, F_OK) == 0)
        strv_add(&files, own);
    if (!files[0])
        return;
    size_t n = strv_len(f->names);
    bool overlay = f->s->options.firmware || snapshot_is_overlay(files[0]);
    f->worth = f->worth || files[1];
    f->chains = xreallocarray(f->chains, n + 1, sizeof(*f->chains));
    f->chains[n] = TAKE_PTR(files);
    strv_take(&f->names, snapshot_disk_name(disk, overlay));
}

static int find_chains(struct flattening *f, struct error *err)
{
    _cleanup_strv_ char **others = NULL;
    uint32_t own = 0;
    int r = machine_own_disks(&f->s->options, &own, &others, err);
    for (unsigned int i = 0; r == 0 && i < SNAPSHOT_DISKS_MAX; i++)
        if (own & 1u << i)
            find_chain(f, i);
    return r;
}

static int add_row(struct flattening *f, struct error *err)
{
    struct snapshot_record record = snapshot_record_of(&f->s->record, f->id, f->id);
    record.files = f->names;
    record.consistency = (char *)"stopped";
    int r = snapshot_begin(f->e->store, f->id, &f->lock, err);
    return r < 0 ? r : store_snapshot_add(f->e->store, &record, err);
}

static int merge_into(char *const *files, const char *path, struct error *err)
{
    bool raw = !snapshot_is_overlay(path);
    _cleanup_free_ int *fds = xcalloc(strv_len(files), sizeof(*fds));
    size_t n = 0;
    int r = 0;
    for (; r == 0 && files[n]; n++) {
        fds[n] = open(files[n], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fds[n] < 0)
            r = error_errno(err, errno, "open %s", files[n]);
    }
    _cleanup_close_ int out =
        r < 0 ? -EBADF : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (r == 0 && out < 0)
        r = error_errno(err, errno, "make %s", path);
    if (r == 0)
        r = snapshot_merge(fds, n, raw, out, err);
    if (r == 0 && fsync(out) < 0)
        r = error_errno(err, errno, "write %s", path);
    while (n > 0)
        close_fd(fds[--n]);
    return r;
}

/* A disk that is one file already gets a second name: nobody writes to it any more. */
static int merge(struct flattening *f, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && f->names[i]; i++) {
        _cleanup_free_ char *path = path_join(f->dir, f->names[i]);
        char *const *files = f->chains[i];
        if (files[1])
            r = merge_into(files, path, err);
        else if (link(files[0], path) < 0)
            r = error_errno(err, errno, "keep %s", files[0]);
    }
    return r;
}

static int flatten(struct flattening *f, struct error *err)
{
    _cleanup_free_ char *file = NULL;
    int r = snapshot_chain(f->e->store, f->s->record.id, &f->chain, err);
    if (r < 0)
        return r;
    if (!f->chain.levels->dir)
        return error_set(err, ERROR_CONFLICT, EALREADY, "%s stands on no snapshot",
                         f->s->record.name);
    random_hex(f->id, 32);
    f->dir = snapshot_dir(f->e->store, f->id);
    r = find_chains(f, err);
    if (r == 0 && !f->worth)
        return error_set(err, ERROR_CONFLICT, EALREADY, "%s stands on one file already",
                         f->s->record.name);
    if (r == 0)
        r = add_row(f, err);
    if (r == 0)
        r = merge(f, err);
    if (r == 0)
        r = snapshot_stand_on(f->e->store, f->s->record.id, f->id, &file, err);
    if (r == 0)
        sweep_disks(f->e, f->s);
    return r;
}

int engine_snapshot_flatten(struct engine *e, const char *reference, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_(flattening_done) struct flattening f = {
        .e = e, .s = &s, .lock = -EBADF, .names = strv_copy(NULL)};
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
