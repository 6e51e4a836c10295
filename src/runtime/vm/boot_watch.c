#include "runtime/vm/boot_watch.h"

#include <time.h>

#include "base/text.h"

/* A QEMU whose guest sleeps wakes up now and then; one that is given a hundredth of a processor
 * only is busy with that. */
#define STILL_NS    ((int64_t)2 * 1000000)
#define STILL_LOOKS 6

static int64_t busy_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
        return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool boot_stands(struct boot_watch *w, pid_t qemu)
{
    int64_t now = time_monotonic_ms();
    if (now < w->look_ms)
        return false;
    int64_t busy = busy_ns(qemu);
    bool still = w->look_ms && busy >= 0 && busy - w->busy_ns < STILL_NS;
    w->look_ms = now + BOOT_LOOK_MS;
    w->busy_ns = busy;
    w->still = still ? w->still + 1 : 0;
    if (w->still < STILL_LOOKS)
        return false;
    w->still = 0;
    return true;
}
