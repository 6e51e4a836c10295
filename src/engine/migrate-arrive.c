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
#include "engine/parcel.h"

/* The side that it moves to, when that is a state directory of this host. */
struct arrival {
    struct destination base;
    const char *root;
    struct engine *e;
    struct subject subject;
    char *level;   /* the topmost level of the disks' chains that is here; NULL: none */
    size_t n_done; /* how many are */
};

static struct arrival *arrival_of(struct destination *d)
{
    return (struct arrival *)d;
}

static void done(struct destination *d)
{
    struct arrival *a = arrival_of(d);
    subject_done(&a->subject);
    engine_close(a->e);
    free(a->level);
    free(a);
}

/* --- what is checked before anything is moved --- */

static int check_options(const struct subject *s, struct error *err)
{
    if (s->record.kind != RUNTIME_VM)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s is a container: only machines can be moved", s->record.name);
    return machine_may_leave(&s->options, s->record.name, true, err);
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

static int add_row(struct arrival *a, struct error *err)
{
    const struct instance_record *i = &a->base.s->record;
    struct arrival_port *ports = NULL;
    int r = arrival_ports_of(a->base.from, i->id, &ports, err);
    if (r == 0)
        r = arriving_add(a->e, i, a->base.from->store->root, ports, err);
    arrival_ports_free(ports);
    return r;
}

static int begin(struct destination *d, struct error *err)
{
    struct arrival *a = arrival_of(d);
    int r = check_options(d->s, err);
    if (r == 0)
        r = engine_open(a->root, &a->e, err);
    if (r == 0 && strcmp(a->e->store->root, d->from->store->root) == 0)
        r = error_invalid(err, "--to: %s is where it is", a->e->store->root);
    if (r == 0)
        r = check_here(a->e, d->s, err);
    if (r == 0)
        r = add_row(a, err);
    return r < 0 ? r : subject_open(a->e, d->s->record.id, SUBJECT_LOCKED, &a->subject, err);
}

static bool copies(const struct destination *d)
{
    const struct arrival *a = (const struct arrival *)d;
    struct stat here, there;
    return stat(d->from->store->root, &here) < 0 || stat(a->e->store->root, &there) < 0 ||
           here.st_dev != there.st_dev;
}

/* --- bringing files --- */

/* The files do not change any more: on one file system a second name is enough. */
static int bring(struct arrival *a, const char *from, const char *to, struct error *err)
{
    struct stat st;
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
    if (r == 0 && (fd < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0))
        r = error_errno(err, errno, "write %s", to);
    if (r == 0)
        a->base.copied += (uint64_t)st.st_blocks * 512;
    return r;
}

static int bring_files(struct arrival *a, const struct snapshot_level *level, const char *to,
                       struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && level->files[i]; i++) {
        _cleanup_free_ char *old = path_join(level->dir, level->files[i]);
        _cleanup_free_ char *new = path_join(to, level->files[i]);
        r = bring(a, old, new, err);
    }
    return r;
}

/* One level of the chains as a snapshot that nobody is shown, like those it was made of. */
static int bring_level(struct arrival *a, const struct snapshot_level *level, struct error *err)
{
    char id[65];
    _cleanup_close_ int lock = -EBADF;
    _cleanup_free_ char *own = NULL;
    random_hex(id, 32);
    _cleanup_free_ char *dir = snapshot_dir(a->e->store, id);
    struct snapshot_record record = snapshot_record_of(&a->subject.record, id, id);
    record.base = a->level;
    record.files = level->files;
    record.consistency = (char *)"crash";
    int r = snapshot_begin(a->e->store, id, &lock, err);
    if (r == 0)
        r = store_snapshot_add(a->e->store, &record, err);
    if (r == 0)
        r = bring_files(a, level, dir, err);
    if (r == 0)
        r = snapshot_stand_on(a->e->store, a->subject.record.id, id, &own, err);
    if (r == 0) {
        xreplace(&a->level, id);
        a->n_done++;
    }
    return r;
}

static int bring_disks(struct destination *d, const struct snapshot_level *levels,
                       struct error *err)
{
    struct arrival *a = arrival_of(d);
    int r = 0;
    while (r == 0 && levels[a->n_done].dir)
        r = bring_level(a, &levels[a->n_done], err);
    return r;
}

static int bring_memory(struct destination *d, const char *file, struct error *err)
{
    struct arrival *a = arrival_of(d);
    _cleanup_free_ char *to = path_join(a->subject.bundle, MACHINE_MEMORY);
    return bring(a, file, to, err);
}

static int bring_rest(struct destination *d, struct error *err)
{
    struct arrival *a = arrival_of(d);
    return a->subject.options.firmware ? state_copy(d->s->bundle, a->subject.bundle, err) : 0;
}

/* --- the end --- */

static int finish(struct destination *d, bool *ret_told, struct error *err)
{
    struct arrival *a = arrival_of(d);
    *ret_told = true;
    return arrived(a->e, &a->subject, d->runs, err);
}

static void undo(struct destination *d)
{
    struct arrival *a = arrival_of(d);
    struct error ignored = ERROR_INIT;
    if (a->subject.bundle)
        (void)!remove_locked(a->e, &a->subject, false, &ignored);
}

struct destination *local_destination(const char *root)
{
    static const struct destination_ops ops = {.begin = begin,
                                               .copies = copies,
                                               .disks = bring_disks,
                                               .rest = bring_rest,
                                               .memory = bring_memory,
                                               .finish = finish,
                                               .undo = undo,
                                               .done = done,
                                               .first_gone_here = true};
    struct arrival *a = xnew(struct arrival);
    *a = (struct arrival){.base.ops = &ops, .root = root, .subject = SUBJECT_INIT};
    return &a->base;
}
