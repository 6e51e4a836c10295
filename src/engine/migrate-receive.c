/*
 * One connection of a host that a machine comes from (migrate-remote.c says what is said). The
 * machine's row is here from the first question on, marked as arriving, with its lock held.
 *
 * Whatever goes wrong before all of it has been kept, or when the other side says that it stays,
 * takes it away again. Afterwards a lost connection leaves it as it is: it does not start until it
 * is told to, with its token, which nobody else has.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/parcel.h"

struct receiving {
    struct engine *e;
    struct parcel_in in;
    struct parcel_head h;
    struct subject subject;
    bool begun, kept;
};

static int answer(struct receiving *v, const char *word, const struct error *why, struct error *err)
{
    char line[PARCEL_ANSWER_MAX];
    snprintf(line, sizeof(line), "%s%s%.400s", word, why ? " " : "", why ? why->msg : "");
    return parcel_in_answer(&v->in, line, err);
}

/* Refuses: the error is ours, too. */
static int refuse(struct receiving *v, int r, struct error *err)
{
    struct error ignored = ERROR_INIT;
    (void)!answer(v, "no", err, &ignored);
    return r;
}

static int need_sync(struct receiving *v, struct error *err)
{
    enum parcel_event event;
    int r = parcel_in_next(&v->in, &event, err);
    if (r == 0 && event == PARCEL_IS_ALL)
        r = error_set(err, ERROR_SYSTEM, ECANCELED, "%s stays where it is", v->h.instance.name);
    else if (r == 0 && event != PARCEL_IS_SYNC)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the other side does not ask");
    return r;
}

static bool is_the_same(const char *source, const struct parcel_head *h)
{
    return source && strncmp(source, ARRIVAL_REMOTE, strlen(ARRIVAL_REMOTE)) == 0 &&
           strcmp(source + strlen(ARRIVAL_REMOTE), h->token) == 0;
}

/* --- it comes --- */

/* What an earlier attempt left: the machine is still there, or it would not come again. */
static int remove_earlier(struct receiving *v, struct error *err)
{
    _cleanup_subject_ struct subject old = SUBJECT_INIT;
    _cleanup_free_ char *source = NULL;
    int r = arriving_source(v->e, v->h.instance.id, &source, err);
    if (r < 0 || !is_the_same(source, &v->h))
        return r;
    r = subject_open(v->e, v->h.instance.id, SUBJECT_TRY, &old, err);
    return r < 0 ? r : remove_locked(v->e, &old, false, err);
}

static int begin(struct receiving *v, struct error *err)
{
    _cleanup_free_ char *source = xasprintf(ARRIVAL_REMOTE "%s", v->h.token);
    int r = remove_earlier(v, err);
    if (r == 0)
        r = machine_may_arrive(v->e, &v->h, err);
    if (r == 0)
        r = arriving_add(v->e, &v->h.instance, source, v->h.ports, err);
    if (r == 0)
        r = subject_open(v->e, v->h.instance.id, SUBJECT_LOCKED, &v->subject, err);
    v->begun = r == 0;
    return r < 0 ? refuse(v, r, err) : answer(v, "ok", NULL, err);
}

/* --- it is kept --- */

/* The chains, in the order of their levels; what overlays stand on is found by name. */
static int take_chain(struct receiving *v, char *const *names, struct error *err)
{
    _cleanup_(parts_done) struct parts parts = {.e = v->e, .from = &v->in, .lock = -EBADF};
    _cleanup_free_ char *file = NULL;
    bool more = true;
    int r = 0;
    while (r == 0 && more) {
        _cleanup_strv_ char **files = parcel_level(names, parts.n);
        more = files[0] != NULL;
        if (more)
            r = parts_add(&parts, &v->h, files, NULL, err);
    }
    return r < 0 || !parts.base
               ? r
               : snapshot_stand_on(v->e->store, v->h.instance.id, parts.base, &file, err);
}

static int take_rest(struct receiving *v, char *const *names, struct error *err)
{
    _cleanup_free_ char *memory = path_join(v->subject.bundle, MACHINE_MEMORY);
    int r = parcel_take_state(&v->in, names, v->subject.bundle, err);
    if (r == 0 && v->h.runs && strv_has(names, MACHINE_MEMORY))
        r = parcel_in_take(&v->in, MACHINE_MEMORY, memory, err);
    return r;
}

/* What is left over was not ours to take. */
static int check_left(struct receiving *v, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = parcel_in_names(&v->in, &names, err);
    if (r == 0 && names[0])
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel has a file %s, which no machine has",
                      names[0]);
    return r;
}

static int sync_bundle(struct receiving *v, struct error *err)
{
    _cleanup_close_ int fd = open(v->subject.bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = 0;
    if (fd < 0 || (r = file_write_atomic(fd, ARRIVED_FILE, "", 0, 0600)) < 0 || fsync(fd) < 0)
        return error_errno(err, r < 0 ? r : errno, "write %s/%s", v->subject.bundle, ARRIVED_FILE);
    return 0;
}

static int keep(struct receiving *v, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    int r = need_sync(v, err);
    if (r < 0)
        return r;
    r = parcel_in_names(&v->in, &names, err);
    if (r == 0)
        r = take_chain(v, names, err);
    if (r == 0)
        r = take_rest(v, names, err);
    if (r == 0)
        r = check_left(v, err);
    if (r == 0)
        r = sync_bundle(v, err);
    if (r < 0)
        return refuse(v, r, err);
    v->kept = true;
    return answer(v, "ok", NULL, err);
}

/* --- it goes on --- */

static int go_on(struct receiving *v, struct subject *s, struct error *err)
{
    struct error ignored = ERROR_INIT;
    int r = arrived(v->e, s, v->h.runs, err);
    if (r < 0) {
        (void)!answer(v, "moved", err, &ignored);
        return r;
    }
    (void)!answer(v, "ok", NULL, &ignored); /* it runs, whether they hear of it or not */
    return 0;
}

static int wait_for_word(struct receiving *v, struct error *err)
{
    enum parcel_event event;
    int r = parcel_in_next(&v->in, &event, err);
    if (r == 0 && event == PARCEL_IS_ALL) {
        v->kept = false;
        return error_set(err, ERROR_SYSTEM, ECANCELED, "%s stays where it is", v->h.instance.name);
    }
    return r < 0 ? error_prefix(err, "%s is here, and waits to be told", v->h.instance.name)
                 : go_on(v, &v->subject, err);
}

/* It has left, and wants to know that we know. One that is not here any more has been removed here,
 * or gone further. */
static int remember(struct receiving *v, struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_free_ char *source = NULL, *mark = NULL;
    int r = arriving_source(v->e, v->h.instance.id, &source, err);
    if (r < 0)
        return refuse(v, r, err);
    if (!source)
        return answer(v, "ok", NULL, err);
    if (!is_the_same(source, &v->h))
        return refuse(v, error_set(err, ERROR_DENIED, EACCES, "it came from elsewhere"), err);
    r = subject_open(v->e, v->h.instance.id, SUBJECT_LOCKED, &s, err);
    if (r < 0)
        return refuse(v, r, err);
    mark = path_join(s.bundle, MACHINE_MEMORY);
    v->h.runs = access(mark, F_OK) == 0;
    return go_on(v, &s, err);
}

/* --- a connection --- */

static int run(struct receiving *v, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    enum parcel_event event;
    int r = parcel_in_next(&v->in, &event, err);
    if (r == 0)
        r = parcel_in_head(&v->in, &text, err);
    if (r == 0)
        r = parcel_head_parse(text, &v->h, err);
    if (r == 0 && !v->h.token)
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the parcel is no machine");
    if (r == 0)
        r = need_sync(v, err);
    if (r < 0)
        return r;
    if (strcmp(v->h.what, "moved") == 0)
        return remember(v, err);
    r = begin(v, err);
    if (r == 0)
        r = keep(v, err);
    return r < 0 ? r : wait_for_word(v, err);
}

int migrate_receive(struct engine *e, int connection, const struct parcel_tls *tls, char **ret_name,
                    struct error *err)
{
    struct receiving v = {.e = e, .in = PARCEL_IN_INIT, .subject = SUBJECT_INIT};
    struct error ignored = ERROR_INIT;
    enum parcel_event last;
    int r = parcel_in_open(e->store, connection, tls, &v.in, err);
    if (r == 0)
        r = run(&v, err);
    if (r < 0 && v.begun && !v.kept)
        (void)!remove_locked(e, &v.subject, false, &ignored);
    *ret_name = r == 0 ? xstrdup(v.h.instance.name) : NULL;
    subject_done(&v.subject);
    if (v.in.pid > 0) /* an answer may still be on its way: the other side ends the connection */
        (void)!parcel_in_next(&v.in, &last, &ignored);
    parcel_in_close(&v.in);
    parcel_head_done(&v.h);
    return r;
}
