/*
 * The instance a use case works on. Changing one takes the operation lock, a flock on its bundle
 * directory: it goes with the descriptor, so a killed command never leaves it locked.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "engine/engine-internal.h"

#define RELEASE_MS 5000

char *engine_run_dir(const struct engine *e, const char *id)
{
    return xasprintf("%s/instances/%s", e->store->run, id);
}

char *engine_bundle_dir(const struct engine *e, const char *id)
{
    return xasprintf("%s/instances/%s", e->store->root, id);
}

void subject_unlock(struct subject *s)
{
    s->lock = close_fd(s->lock);
}

void subject_done(struct subject *s)
{
    subject_unlock(s);
    instance_record_done(&s->record);
    create_options_done(&s->options);
    free(s->bundle);
    free(s->run_dir);
    memset(s, 0, sizeof(*s));
    s->lock = -EBADF;
}

int bundle_make(const char *bundle, struct error *err)
{
    const char *const parts[] = {"upper", "work"};
    if (mkdir(bundle, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", bundle);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_free_ char *path = path_join(bundle, parts[i]);
        if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chmod(path, 0755) < 0)
            return error_errno(err, errno, "create %s", path);
    }
    return 0;
}

static int take_lock(struct subject *s, enum subject_lock lock, struct error *err)
{
    if (lock == SUBJECT_UNLOCKED)
        return 0;
    s->lock = open(s->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock < 0 && errno == ENOENT) { /* a create was killed half way */
        int r = bundle_make(s->bundle, err);
        if (r < 0)
            return r;
        s->made = true;
        s->lock = open(s->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (s->lock < 0)
        return error_errno(err, errno, "open %s", s->bundle);
    while (flock(s->lock, lock == SUBJECT_TRY ? LOCK_EX | LOCK_NB : LOCK_EX) < 0)
        if (errno != EINTR)
            return error_errno(err, errno, "lock %s", s->bundle);
    return 0;
}

/* While we waited for the lock another command may have removed the instance. */
static int still_there(struct engine *e, struct subject *s, struct error *err)
{
    struct instance_record again = {0};
    int r = store_instance_find(e->store, s->record.id, &again, err);
    if (r == -ENOENT && s->made)
        (void)!bundle_remove(e, s->bundle, NULL);
    if (r < 0)
        return r;
    instance_record_done(&s->record);
    s->record = again;
    return 0;
}

/* An end is written down a moment before the monitor has let go of ports and lock. Who changes the
 * instance waits for that: or a start would find it running still. */
static int wait_released(struct subject *s, struct error *err)
{
    if (!s->status.alive || s->status.state != MONITOR_EXITED)
        return 0;
    (void)!monitor_wait_gone(s->run_dir, RELEASE_MS);
    return subject_status(s, err);
}

/* It runs in another state directory by now, or may; what is left here was left by a kill, and is
 * removed by whoever may change it. */
static int finish_move(struct engine *e, struct subject *s, bool only_look, struct error *err)
{
    _cleanup_free_ char *host = bundle_moved_to(s->bundle);
    int r = 0;
    if (host && only_look) /* it is shown, as what does not run */
        return 0;
    if (host) {
        r = error_set(err, ERROR_CONFLICT, EBUSY,
                      "%s has moved to %.200s, which has not said that it knows: proa migrate --to "
                      "%.200s asks again, proa rm -f removes what is left here",
                      s->record.name, host, host);
        subject_done(s);
        return r;
    }
    if (!only_look) {
        (void)!monitor_wait_gone(s->run_dir, RELEASE_MS);
        r = subject_ops(s)->clean(&s->target, err);
        if (r == 0)
            r = remove_locked(e, s, false, err);
    }
    if (r == 0)
        r = error_set(err, ERROR_NOT_FOUND, ENOENT,
                      "no such instance: %s has moved to another state directory", s->record.name);
    subject_done(s);
    return r;
}

int subject_from_record(struct engine *e, struct instance_record *record, enum subject_lock lock,
                        struct subject *ret, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_json_ json_t *json = NULL;
    s.record = *record;
    memset(record, 0, sizeof(*record));
    create_options_init(&s.options);
    s.bundle = engine_bundle_dir(e, s.record.id);
    s.run_dir = engine_run_dir(e, s.record.id);
    int r = take_lock(&s, lock, err);
    if (r == 0 && lock != SUBJECT_UNLOCKED)
        r = still_there(e, &s, err);
    if (r == 0)
        r = json_parse(s.record.options, strlen(s.record.options), "instance options", &json, err);
    if (r == 0)
        r = create_options_from_json(json, &s.options, err);
    if (r == 0)
        r = subject_status(&s, err);
    if (r == 0 && (lock == SUBJECT_LOCKED || lock == SUBJECT_MOVED))
        r = wait_released(&s, err);
    if (r < 0)
        return r;
    *ret = s;
    ret->target.id = ret->record.id;
    ret->target.bundle = ret->bundle;
    ret->target.run_dir = ret->run_dir;
    memset(&s, 0, sizeof(s));
    s.lock = -EBADF;
    return bundle_has_moved(ret->bundle) && lock != SUBJECT_MOVED
               ? finish_move(e, ret, lock == SUBJECT_UNLOCKED, err)
               : 0;
}

int subject_open(struct engine *e, const char *reference, enum subject_lock lock,
                 struct subject *ret, struct error *err)
{
    struct instance_record record = {0};
    int r = store_instance_find(e->store, reference, &record, err);
    return r < 0 ? r : subject_from_record(e, &record, lock, ret, err);
}

int subject_status(struct subject *s, struct error *err)
{
    int r = monitor_status_read(s->bundle, s->run_dir, &s->status, err);
    if (r < 0)
        return r;
    s->target.pid = s->status.pid;
    s->target.start_ticks = s->status.start_ticks;
    return 0;
}

enum instance_state subject_state(const struct subject *s)
{
    switch (s->status.state) {
    case MONITOR_NONE:
        return STATE_CREATED;
    case MONITOR_STARTING:
        return s->status.alive ? STATE_CREATED : STATE_EXITED;
    case MONITOR_RUNNING:
        return !s->status.alive ? STATE_EXITED : subject_paused(s) ? STATE_PAUSED : STATE_RUNNING;
    case MONITOR_RESTARTING:
        return s->status.alive ? STATE_RESTARTING : STATE_EXITED;
    case MONITOR_EXITED:
        break;
    }
    return STATE_EXITED;
}

int subject_may(struct subject *s, enum verb verb, struct error *err)
{
    char why[SUBJECT_WHY_MAX];
    int r = subject_status(s, err);
    if (r < 0)
        return r;
    enum instance_state state = subject_state(s);
    r = lifecycle_check(verb, state, s->record.name, err);
    return r < 0 && state == STATE_PAUSED && subject_halted(s, why) ? error_prefix(err, "%s", why)
                                                                    : r;
}

bool subject_halted(const struct subject *s, char why[static SUBJECT_WHY_MAX])
{
    return s->record.kind == RUNTIME_VM && vm_halted(&s->target, why, SUBJECT_WHY_MAX);
}

bool subject_paused(const struct subject *s)
{
    _cleanup_free_ char *mark = path_join(s->run_dir, "paused");
    char why[SUBJECT_WHY_MAX];
    return access(mark, F_OK) == 0 || subject_halted(s, why);
}

const struct runtime_ops *subject_ops(const struct subject *s)
{
    return runtime_ops((enum runtime_kind)s->record.kind);
}

int subject_open_network(const struct subject *s, int *ret_fd, struct error *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)s->target.pid);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? error_errno(err, errno, "open the network of %s", s->record.name) : 0;
}
