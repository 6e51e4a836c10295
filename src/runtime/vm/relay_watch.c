/*
 * Whether a machine answers. QEMU, and who speaks for its inside, are asked when they have said
 * nothing for a while. Who then says nothing either is noted where commands look (RUNTIME_SILENT),
 * until something is heard: a look at many machines asks none of them.
 *
 * An idle guest is woken by it once in ASK_MS, and one that is busy talking not at all. While its
 * processors stand by order only QEMU is asked.
 */
#include <string.h>

#include "base/text.h"
#include "runtime/vm/relay-internal.h"

#define ASK_MS    15000
#define ANSWER_MS 10000

static const char *const names[WATCHED] = {[WATCH_QEMU] = "QEMU", [WATCH_GUEST] = "its agent"};

/* Since when QEMU, or else the guest. */
static void write_state(const struct relay *m)
{
    const struct relay_watch *w = &m->watch;
    char line[64] = "";
    int fd = m->r->logs.silent_fd;
    for (size_t i = WATCHED; i-- > 0;)
        if (w->of[i].silent_ns)
            snprintf(line, sizeof(line), "%lld %s", (long long)w->of[i].silent_ns, names[i]);
    (void)!ftruncate(fd, 0);
    (void)!pwrite(fd, line, strlen(line), 0);
}

void watch_heard(struct relay *m, enum watch_who who)
{
    struct relay_watched *of = &m->watch.of[who];
    bool was_silent = of->silent_ns != 0;
    *of = (struct relay_watched){.heard_ms = time_monotonic_ms()};
    if (was_silent)
        write_state(m);
}

/* Nobody there can have heard what was asked. */
static bool stands(const struct relay *m)
{
    return relay_still(m) || m->snapshot.stopped || m->snapshot.asked;
}

static bool ask(struct relay *m, enum watch_who who)
{
    return who == WATCH_QEMU ? relay_qmp(m, "query-status", NULL, -EBADF, NULL, NULL) == 0
                             : m->guest->ask(m);
}

static int64_t due_ms(const struct relay_watched *of)
{
    return of->asked_ms ? of->asked_ms + ANSWER_MS : of->heard_ms + ASK_MS;
}

static void look(struct relay *m, enum watch_who who, int64_t now)
{
    struct relay_watched *of = &m->watch.of[who];
    if (of->silent_ns)
        return;
    if (!of->heard_ms || (who == WATCH_GUEST && stands(m)))
        *of = (struct relay_watched){.heard_ms = now};
    if (now < due_ms(of))
        return;
    if (of->asked_ms) {
        of->silent_ns = time_now_ns() - (now - of->heard_ms) * 1000000;
        write_state(m);
    } else if (ask(m, who)) {
        of->asked_ms = now;
    } else {
        of->heard_ms = now;
    }
}

void watch_tick(struct relay *m)
{
    int64_t now = time_monotonic_ms();
    for (int i = 0; i < WATCHED && m->phase == PHASE_RUN; i++)
        look(m, (enum watch_who)i, now);
}

int64_t watch_deadline(const struct relay *m)
{
    int64_t nearest = 0;
    for (int i = 0; i < WATCHED && m->phase == PHASE_RUN; i++) {
        const struct relay_watched *of = &m->watch.of[i];
        if (!of->silent_ns && (!nearest || due_ms(of) < nearest))
            nearest = due_ms(of);
    }
    return nearest;
}
