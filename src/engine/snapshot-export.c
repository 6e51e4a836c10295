/*
 * snapshot export: a machine's snapshot as one parcel. All of it is open before the first byte is
 * written, so that a removal meanwhile changes nothing.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/parcel.h"
#include "engine/snapshot.h"

struct exporting {
    struct engine *e;
    struct parcel_head head;
    char *dir; /* of the snapshot */
    int *fds;  /* of the parts */
    int memory;
    struct image_work work; /* of a disk that is flattened */
};

static void exporting_done(struct exporting *x)
{
    for (size_t i = 0; x->fds && x->head.parts[i]; i++)
        close_fd(x->fds[i]);
    free(x->fds);
    close_fd(x->memory);
    image_work_end(&x->work);
    free(x->dir);
    parcel_head_done(&x->head);
}

/* The instance as the snapshot knows it. */
static void describe(struct exporting *x, const struct snapshot_record *s)
{
    x->dir = snapshot_dir(x->e->store, s->id);
    x->head.what = xstrdup("snapshot");
    x->head.name = xstrdup(s->name);
    x->head.consistency = xstrdup(s->consistency);
    x->head.created_ns = s->created_ns;
    x->head.instance = (struct instance_record){.id = xstrdup(s->instance_id),
                                                .name = xstrdup(s->instance_name),
                                                .kind = s->kind,
                                                .image_id = xstrdup(s->image_id),
                                                .image_name = xstrdup(s->image_name),
                                                .created_ns = s->created_ns,
                                                .options = xstrdup(s->options)};
}

static int check(const struct exporting *x, struct error *err)
{
    const struct instance_record *i = &x->head.instance;
    _cleanup_(create_options_done) struct create_options o;
    _cleanup_json_ json_t *json = NULL;
    create_options_init(&o);
    if (i->kind != RUNTIME_VM)
        return error_set(
            err, ERROR_UNSUPPORTED, ENOTSUP,
            "%s is a container: proa snapshot clone makes an instance of the snapshot, "
            "and proa commit an image, which can be saved",
            i->name);
    int r = json_parse(i->options, strlen(i->options), "snapshot", &json, err);
    if (r == 0)
        r = create_options_from_json(json, &o, err);
    return r < 0 ? r : machine_may_leave(&o, i->name, false, err);
}

static int add_part(struct exporting *x, size_t level, const char *dir, const char *file,
                    struct error *err)
{
    _cleanup_free_ char *path = path_join(dir, file);
    size_t n = strv_len(x->head.parts);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open %s", path);
    x->fds = xreallocarray(x->fds, n + 1, sizeof(*x->fds));
    x->fds[n] = fd;
    strv_take(&x->head.parts, parcel_part_name(level, file));
    return 0;
}

static int open_parts(struct exporting *x, const struct snapshot_level *levels, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && levels[i].dir; i++)
        for (size_t k = 0; r == 0 && levels[i].files[k]; k++)
            r = add_part(x, i, levels[i].dir, levels[i].files[k], err);
    return r;
}

static int open_lower(char *const *lower, int *fds, size_t *ret_n, struct error *err)
{
    for (*ret_n = 0; lower[*ret_n]; ++*ret_n) {
        fds[*ret_n] = open(lower[*ret_n], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fds[*ret_n] < 0)
            return error_errno(err, errno, "open %s", lower[*ret_n]);
    }
    return 0;
}

/* A disk's chain as its one file, in a file without a name. */
static int flatten_disk(struct exporting *x, unsigned int disk, char *const *lower,
                        struct error *err)
{
    bool raw = !snapshot_is_overlay(lower[0]);
    _cleanup_free_ char *name = snapshot_disk_name(disk, !raw);
    _cleanup_free_ int *fds = xcalloc(strv_len(lower), sizeof(*fds));
    _cleanup_close_ int out = -EBADF;
    size_t n;
    int r = open_lower(lower, fds, &n, err);
    if (r == 0 && n == 1) {
        out = TAKE_FD(fds[0]);
    } else if (r == 0) {
        out = image_work_unnamed(&x->work, err);
        r = out < 0 ? out : snapshot_merge(fds, n, raw, out, err);
    }
    for (size_t i = 0; i < n; i++)
        close_fd(fds[i]);
    if (r < 0)
        return r;
    x->fds[strv_len(x->head.parts)] = TAKE_FD(out);
    strv_take(&x->head.parts, parcel_part_name(0, name));
    return 0;
}

static int open_flat(struct exporting *x, const struct snapshot_level *levels, struct error *err)
{
    int r = image_work_begin(x->e->store, &x->work, err);
    x->fds = xcalloc(SNAPSHOT_DISKS_MAX, sizeof(*x->fds));
    for (unsigned int i = 0; r == 0 && i < SNAPSHOT_DISKS_MAX; i++) {
        _cleanup_strv_ char **lower = snapshot_lower(levels, i);
        if (lower[0])
            r = flatten_disk(x, i, lower, err);
    }
    return r;
}

static int open_disks(struct exporting *x, const struct snapshot_record *s, bool flat,
                      struct error *err)
{
    struct snapshot_level *levels = NULL;
    int r = snapshot_levels(x->e->store, s->id, &levels, err);
    x->head.parts = strv_copy(NULL);
    if (r == 0)
        r = flat ? open_flat(x, levels, err) : open_parts(x, levels, err);
    snapshot_levels_free(levels);
    return r;
}

static int open_memory(struct exporting *x, struct error *err)
{
    struct stat st;
    _cleanup_free_ char *path = path_join(x->dir, MACHINE_MEMORY);
    x->memory = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (x->memory < 0 || fstat(x->memory, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    x->head.memory_bytes = (uint64_t)st.st_size;
    return 0;
}

static int write_all(struct exporting *x, int fd, struct error *err)
{
    struct parcel_writer w;
    _cleanup_free_ char *text = parcel_head_text(&x->head), *state = path_join(x->dir, "state");
    int r = parcel_begin(&w, fd, err);
    if (r == 0)
        r = parcel_add(&w, PARCEL_HEAD, 0, text, strlen(text), err);
    for (size_t i = 0; r == 0 && x->head.parts[i]; i++)
        r = parcel_add_file(&w, x->head.parts[i], x->fds[i], err);
    if (r == 0)
        r = parcel_add_state(&w, state, err);
    if (r == 0 && x->memory >= 0)
        r = parcel_add_file(&w, MACHINE_MEMORY, x->memory, err);
    return r < 0 ? r : parcel_finish(&w, err);
}

/* The file appears under its name when it is complete; a device or a pipe is just written. */
static int write_file(struct exporting *x, const char *path, struct error *err)
{
    struct stat st;
    bool regular = stat(path, &st) < 0 || S_ISREG(st.st_mode);
    _cleanup_free_ char *other =
        regular ? xasprintf("%s.%d.unfinished", path, (int)getpid()) : NULL;
    const char *name = other ? other : path;
    _cleanup_close_ int fd =
        open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (other ? O_EXCL : 0), 0600);
    if (fd < 0)
        return error_errno(err, errno, "create %s", name);
    int r = write_all(x, fd, err);
    if (r == 0 && other && (fsync(fd) < 0 || rename(other, path) < 0))
        r = error_errno(err, errno, "create %s", path);
    if (r < 0 && other)
        unlink(other);
    return r;
}

int engine_snapshot_export(struct engine *e, const char *reference, const char *path,
                           const struct snapshot_export *how, struct error *err)
{
    _cleanup_(exporting_done) struct exporting x = {
        .e = e, .memory = -EBADF, .work = {.fd = -EBADF}};
    struct snapshot_record record = {0};
    int r = store_snapshot_find(e->store, NULL, reference, &record, err);
    if (r < 0)
        return r;
    describe(&x, &record);
    r = check(&x, err);
    if (r == 0)
        r = open_disks(&x, &record, how->flatten, err);
    if (r == 0 && !how->no_memory && record.memory_bytes > 0)
        r = open_memory(&x, err);
    snapshot_record_done(&record);
    if (r == 0)
        r = path ? write_file(&x, path, err) : write_all(&x, STDOUT_FILENO, err);
    return r < 0 ? error_prefix(err, "export") : 0;
}
