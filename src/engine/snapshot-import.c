/* snapshot import: a parcel becomes a snapshot of the store, of an instance that need not be here.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/parcel.h"
#include "engine/snapshot.h"

/* What is there is what the head says, and nothing else. */
static int check_names(const struct parcel_head *h, char *const *names, struct error *err)
{
    for (size_t i = 0; names[i]; i++)
        if (!strv_has(h->parts, names[i]) && !parcel_is_state(names[i]) &&
            !(h->memory_bytes > 0 && strcmp(names[i], MACHINE_MEMORY) == 0))
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             "the parcel has a file %s, which no "
                             "snapshot has",
                             names[i]);
    return 0;
}

static int read_head(struct engine *e, struct parcel_in *p, struct parcel_head *h,
                     struct error *err)
{
    _cleanup_free_ char *text = NULL;
    enum parcel_event event;
    int r = parcel_in_next(p, &event, err);
    if (r == 0)
        r = parcel_in_head(p, &text, err);
    if (r == 0)
        r = parcel_head_parse(text, h, err);
    if (r == 0 && strcmp(h->what, "snapshot") != 0)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel is no snapshot");
    if (r == 0)
        r = check_instance_name(h->name, err);
    return r < 0 ? r : machine_may_arrive(e, h, err);
}

static int take_rest(struct parts *parts, const struct parcel_head *h, char *const *names,
                     struct error *err)
{
    struct stat st = {0};
    _cleanup_free_ char *state = path_join(parts->dir, "state");
    _cleanup_free_ char *memory = path_join(parts->dir, MACHINE_MEMORY);
    int r = mkdir(state, 0700) < 0 ? error_errno(err, errno, "make %s", state) : 0;
    if (r == 0)
        r = parcel_take_state(parts->from, names, state, err);
    if (r == 0 && h->memory_bytes > 0)
        r = parcel_in_take(parts->from, MACHINE_MEMORY, memory, err);
    if (r == 0 && h->memory_bytes > 0 && stat(memory, &st) < 0)
        r = error_errno(err, errno, "look at %s", memory);
    return r < 0 ? r
                 : store_snapshot_show(parts->e->store, parts->base, h->consistency,
                                       (uint64_t)st.st_size, err);
}

/* The last level is the snapshot. */
static int take(struct engine *e, struct parcel_in *p, const struct parcel_head *h,
                const char *name, struct error *err)
{
    _cleanup_(parts_done) struct parts parts = {.e = e, .from = p, .lock = -EBADF};
    _cleanup_strv_ char **names = NULL;
    bool last = false;
    int r = parcel_in_names(p, &names, err);
    if (r == 0)
        r = check_names(h, names, err);
    while (r == 0 && !last) {
        _cleanup_strv_ char **files = parcel_level(h->parts, parts.n);
        _cleanup_strv_ char **above = parcel_level(h->parts, parts.n + 1);
        last = !above[0];
        r = parts_add(&parts, h, files, last ? name : NULL, err);
    }
    if (r == 0)
        r = take_rest(&parts, h, names, err);
    parts.lock = close_fd(parts.lock);
    if (r < 0)
        (void)!snapshot_collect(e->store, NULL);
    return r;
}

int engine_snapshot_import(struct engine *e, int stream, const char *name, char **ret,
                           struct error *err)
{
    struct parcel_in p = PARCEL_IN_INIT;
    _cleanup_(parcel_head_done) struct parcel_head h = {0};
    enum parcel_event event = PARCEL_IS_HEAD;
    int r = name ? check_instance_name(name, err) : 0;
    if (r == 0)
        r = parcel_in_open(e->store, stream, NULL, &p, err);
    if (r == 0)
        r = read_head(e, &p, &h, err);
    if (r == 0)
        r = parcel_in_next(&p, &event, err);
    if (r == 0 && event != PARCEL_IS_ALL)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel has no end");
    if (r == 0)
        r = take(e, &p, &h, name ? name : h.name, err);
    parcel_in_close(&p);
    if (r < 0)
        return error_prefix(err, "import");
    *ret = xasprintf("%s/%s", h.instance.name, name ? name : h.name);
    return 0;
}
