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
    char *part;    /* the topmost part of the disk that is here; NULL: none */
    size_t n_done; /* how many parts are */
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
    free(a->part);
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
    char id[65];
    _cleanup_close_ int lock = -EBADF;
    _cleanup_free_ char *own = NULL;
    random_hex(id, 32);
    _cleanup_free_ char *dir = snapshot_dir(a->e->store, id);
    const char *name = strrchr(file, '/') + 1;
    struct snapshot_record record = snapshot_record_of(&a->subject.record, id, id);
    record.base = a->part;
    record.file = (char *)name;
    record.consistency = (char *)"crash";
    int r = snapshot_begin(a->e->store, id, &lock, err);
    if (r == 0)
        r = store_snapshot_add(a->e->store, &record, err);
    _cleanup_free_ char *to = path_join(dir, name);
    if (r == 0)
        r = bring(file, to, err);
    if (r == 0)
        r = snapshot_stand_on(a->e->store, a->subject.record.id, id, &own, err);
    if (r == 0) {
        xreplace(&a->part, id);
        a->n_done++;
    }
    return r;
}

static int bring_disk(struct destination *d, char *const *files, struct error *err)
{
    struct arrival *a = arrival_of(d);
    int r = 0;
    while (r == 0 && files[a->n_done])
        r = bring_part(a, files[a->n_done], err);
    return r;
}

static int bring_memory(struct destination *d, const char *file, struct error *err)
{
    _cleanup_free_ char *to = path_join(arrival_of(d)->subject.bundle, MACHINE_MEMORY);
    return bring(file, to, err);
}

/* A disk beside the first, where it has a file of its own. */
static int bring_more(struct arrival *a, const char *from, unsigned int i, struct error *err)
{
    _cleanup_free_ char *name = xasprintf("disk%u.qcow2", i), *old = path_join(from, name);
    _cleanup_free_ char *to = path_join(a->subject.bundle, name);
    return access(old, F_OK) < 0 ? 0 : bring(old, to, err);
}

static int bring_rest(struct destination *d, struct error *err)
{
    struct arrival *a = arrival_of(d);
    const char *bundle = d->s->bundle;
    if (!a->subject.options.firmware)
        return 0;
    int r = state_copy(bundle, a->subject.bundle, err);
    for (unsigned int i = 1; r == 0 && i < MACHINE_DISKS_MAX; i++)
        r = bring_more(a, bundle, i, err);
    return r;
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
                                               .disk = bring_disk,
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
