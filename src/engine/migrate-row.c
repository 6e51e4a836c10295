/*
 * Rows of machines that move, on both sides: arriving, arrived, moved away; and what repair makes
 * of those whose command was killed.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/migrate-internal.h"
#include "wire/agent/snapshot.h"

#define TOKEN_FILE "leaving" /* in the bundle, from the first attempt on */

int arriving_add(struct engine *e, const struct instance_record *i, const char *source,
                 const struct arrival_port *ports, struct error *err)
{
    int r = store_begin(e->store, err);
    if (r < 0)
        return r;
    r = store_instance_add(e->store, i, err);
    if (r == 0)
        r = store_arriving_add(e->store, i->id, source, getpid(), err);
    if (r == 0)
        r = arrival_ports_keep(e, i, ports, err);
    int ended = store_end(e->store, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

int arrived(struct engine *e, struct subject *s, bool start, struct error *err)
{
    _cleanup_free_ char *mark = path_join(s->bundle, ARRIVED_FILE);
    int r = store_arriving_done(e->store, s->record.id, err);
    unlink(mark);
    subject_unlock(s);
    if (r == 0 && start)
        r = engine_start(e, s->record.id, false, NULL, err);
    return r < 0 ? error_prefix(err, "it has moved to %s, and does not run", e->store->root) : 0;
}

int moving_token(const char *bundle, char ret[static 65], struct error *err)
{
    _cleanup_free_ char *path = path_join(bundle, TOKEN_FILE), *text = NULL;
    int r = file_read(AT_FDCWD, path, 64, &text);
    if (r == 0 && strlen(text) == 64 && is_hex(text, 64)) {
        memcpy(ret, text, 65);
        return 0;
    }
    random_hex(ret, 32);
    r = file_write_atomic(AT_FDCWD, path, ret, 64, 0600);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

bool bundle_has_moved(const char *bundle)
{
    char mark = 0;
    _cleanup_free_ char *path = path_join(bundle, MOVING_FILE);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && pread(fd, &mark, 1, 0) == 1 && mark == AGENT_SNAPSHOT_MOVED;
}

char *bundle_moved_to(const char *bundle)
{
    _cleanup_free_ char *path = path_join(bundle, MOVING_FILE), *text = NULL;
    if (file_read(AT_FDCWD, path, 512, &text) < 0 || strlen(text) < 2)
        return NULL;
    return xstrdup(text + 1);
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

static bool is_remote(const struct arriving_record *a)
{
    return strncmp(a->source, ARRIVAL_REMOTE, strlen(ARRIVAL_REMOTE)) == 0;
}

/* Of another host only what is not whole is known not to have left there. */
static int may_have_left(const struct arriving_record *a, const struct subject *s)
{
    _cleanup_free_ char *mark = path_join(s->bundle, ARRIVED_FILE);
    if (is_remote(a))
        return access(mark, F_OK) == 0 ? -EBUSY : 0;
    return has_left(a->source, a->instance_id);
}

static void repair_arrival(struct engine *e, const struct arriving_record *a)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_free_ char *process = xasprintf("/proc/%lld", (long long)a->pid);
    struct error why = ERROR_INIT;
    if (access(process, F_OK) == 0 || subject_open(e, a->instance_id, SUBJECT_TRY, &s, &why) < 0)
        return; /* it is still brought */
    int left = may_have_left(a, &s);
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

static int not_told(const struct arriving_record *a, const struct subject *s, struct error *err)
{
    if (is_remote(a))
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "%s is on its way here from another host, which has not said that it has "
                         "left: proa migrate there says so",
                         s->record.name);
    return error_set(err, ERROR_CONFLICT, EBUSY,
                     "%s is on its way here from %s, and whether it has left there cannot be told",
                     s->record.name, a->source);
}

int check_arrived(struct engine *e, const struct subject *s, struct error *err)
{
    struct arriving_record *list = NULL;
    int r = store_arriving_list(e->store, &list, err);
    for (size_t i = 0; r == 0 && list[i].instance_id; i++)
        if (strcmp(list[i].instance_id, s->record.id) == 0)
            r = not_told(&list[i], s, err);
    arriving_list_free(list);
    return r;
}

int arriving_source(struct engine *e, const char *id, char **ret, struct error *err)
{
    struct arriving_record *list = NULL;
    char *source = NULL;
    int r = store_arriving_list(e->store, &list, err);
    for (size_t i = 0; r == 0 && list[i].instance_id; i++)
        if (strcmp(list[i].instance_id, id) == 0)
            source = xstrdup(list[i].source);
    arriving_list_free(list);
    if (r == 0)
        *ret = source;
    return r;
}
