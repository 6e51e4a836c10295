#include "runtime/monitor/health.h"

#include "base/fd.h"

static void plan(struct health *h, int64_t now_ms)
{
    bool starts = (uint64_t)(now_ms - h->started_ms) < h->times->start_period_ms;
    uint64_t wait = starts ? h->times->start_interval_ms : h->times->interval_ms;
    h->next_ms = now_ms + (int64_t)wait;
}

void health_begin(struct health *h, const struct health_times *times, int64_t now_ms)
{
    *h = (struct health){.times = times, .started_ms = now_ms, .check = CALL_INIT};
    if (times->interval_ms)
        plan(h, now_ms);
}

void health_end(struct health *h)
{
    h->next_ms = 0;
    call_end(&h->check);
}

void health_start(struct health *h, const char *program, const char *root, const char *id,
                  int64_t now_ms)
{
    const struct call_spec spec = {program, root, "health", id, NULL, {-EBADF, -EBADF}};
    if (call_start(&h->check, &spec))
        h->next_ms = 0;
    else
        plan(h, now_ms); /* later, perhaps */
}

void health_reap(struct health *h, int64_t now_ms)
{
    int status;
    if (call_reap(&h->check, &status))
        plan(h, now_ms);
}
