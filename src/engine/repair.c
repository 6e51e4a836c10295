/*
 * Repair: what a killed process left half done is put right by whoever comes next.
 *
 * RUN/instances/ID exists from before a monitor starts until the instance's end has been finished,
 * and a living monitor holds the lock in it. So an entry whose lock is free, and that no command is
 * working on (its operation lock), is an end that nobody finished: the monitor was killed, or the
 * command that should have finished it was. Looking costs three system calls an instance.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/engine-internal.h"
#include "service/image/image.h"
#include "service/network/network.h"
#include "service/network/rules.h"
#include "service/network/span.h"
#include "service/policy/policy.h"
#include "service/snapshot/snapshot.h"

/* -1: cannot tell, 0: free, 1: held */
static int lock_is_held(int dir, const char *id)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/lock", id);
    _cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? 1 : -1;
}

/* Starting counts: the run directory is there before the network is attached. What opening the
 * engine found dead has none any more. */
bool instance_is_alive(void *engine, const char *id)
{
    _cleanup_free_ char *run_dir = engine_run_dir(engine, id);
    return access(run_dir, F_OK) == 0;
}

/* The row is gone, so nothing of it may run: a removal was killed, and is ended here. */
static void remove_orphan(struct engine *e, int dir, const char *id)
{
    struct error ignored = ERROR_INIT;
    _cleanup_free_ char *run_dir = engine_run_dir(e, id);
    _cleanup_free_ char *bundle = engine_bundle_dir(e, id);
    struct runtime_target target = {.id = id, .bundle = bundle, .run_dir = run_dir};
    (void)!container_ops.clean(&target, &ignored);
    (void)!vm_ops.clean(&target, &ignored);
    (void)!network_detach(e->store, id, &ignored);
    (void)!network_release(e->store, id, &ignored);
    if (bundle_remove(e, bundle, &ignored) == 0)
        (void)!path_remove_tree(dir, id);
}

static void repair_one(struct engine *e, int dir, const char *id)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    struct error why = ERROR_INIT;
    int r = subject_open(e, id, SUBJECT_TRY, &s, &why);
    if (r == -ENOENT && lock_is_held(dir, id) == 0) {
        remove_orphan(e, dir, id);
        return;
    }
    if (r < 0)
        return; /* a command is at work on it */
    r = finish_locked(e, &s, &why);
    if (r < 0)
        engine_notice(e, "clean up after %s: %s", s.record.name, why.msg);
}

/* Its way onto or off a network was killed (connect.c). */
static void repair_running(struct engine *e, int dir, const char *id)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_free_ char *mark = path_join(id, "network");
    struct error why = ERROR_INIT;
    if (faccessat(dir, mark, F_OK, 0) < 0 || subject_open(e, id, SUBJECT_TRY, &s, &why) < 0)
        return;
    if (connect_repair(e, &s, &why) < 0)
        engine_notice(e, "put the networks of %s right: %s", s.record.name, why.msg);
}

/* "new-PID": a run directory that a build was about to lock (build-box.c). */
static void remove_unfinished(int dir, const char *name)
{
    _cleanup_free_ char *process = xasprintf("/proc/%.20s", name + 4);
    if (access(process, F_OK) < 0)
        (void)!path_remove_tree(dir, name);
}

/* Names that are not answered are no reason to refuse everything else. */
static void repair_names(struct engine *e)
{
    struct error why = ERROR_INIT;
    if (network_settle_names(e->store, &why) < 0)
        engine_notice(e, "%s", why.msg);
    if (network_settle_peers(e->store, &why) < 0)
        engine_notice(e, "%s", why.msg);
}

static void renew_rules(struct engine *e)
{
    struct error why = ERROR_INIT;
    if (network_renew(e->store, instance_is_alive, e, &why) < 0)
        engine_notice(e, "%s", why.msg);
}

int repair_all(struct engine *e, struct error *err)
{
    _cleanup_free_ char *path = path_join(e->store->run, "instances");
    DIR *d = opendir(path);
    struct dirent *entry;
    if (!d)
        return error_errno(err, errno, "read %s", path);
    while ((entry = readdir(d)))
        if (is_hex(entry->d_name, 64) && lock_is_held(dirfd(d), entry->d_name) == 0)
            repair_one(e, dirfd(d), entry->d_name);
        else if (is_hex(entry->d_name, 64))
            repair_running(e, dirfd(d), entry->d_name);
        else if (strncmp(entry->d_name, "new-", 4) == 0)
            remove_unfinished(dirfd(d), entry->d_name);
    closedir(d);
    int r = repair_arrivals(e, err);
    if (r == 0)
        r = snapshot_collect(e->store, err);
    if (r == 0)
        renew_rules(e);
    if (r == 0)
        r = policy_repair(e->store, err);
    if (r == 0)
        repair_names(e);
    return r < 0 ? r : image_repair(e->store, err);
}
