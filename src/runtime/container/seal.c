/*
 * Loading the filter, and handing its listener over.
 *
 * Once a filter that notifies is there, any call of this process may be one that waits for an
 * answer from a listener that nobody has yet: sending it could wait for itself. So a second thread,
 * which shares the descriptors and is made before, has no filter and does the sending, while this
 * one waits in memory, without a call. The thread is gone with the exec.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "runtime/container/internal.h"

#define STACK_BYTES ((size_t)128 << 10)

enum { WAITING = 0, LOADED, SENT };

struct hand_over {
    int channel;
    int listener; /* valid once LOADED; -EBADF when the load failed */
    int result;
    atomic_int step;
};

/* Tells the processor that this is a wait: no system call may. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static void *send_listener(void *context)
{
    struct hand_over *h = context;
    const struct channel_message m = {.type = CHANNEL_LISTENER};
    while (atomic_load(&h->step) != LOADED)
        sched_yield();
    h->result = h->listener < 0 ? 0 : channel_send(h->channel, &m, h->listener);
    atomic_store(&h->step, SENT);
    return NULL;
}

static int start_sender(struct hand_over *h)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r = -pthread_attr_init(&attributes);
    if (r < 0)
        return r;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    r = -pthread_create(&thread, &attributes, send_listener, h);
    pthread_attr_destroy(&attributes);
    return r;
}

int container_load_filter(const struct seccomp_filter *f, int channel, struct error *err)
{
    struct hand_over h = {.channel = channel, .listener = -EBADF};
    if (!f->notifies) {
        int r = seccomp_filter_load(f, NULL);
        return r < 0 ? error_errno(err, r, "load the seccomp filter") : 0;
    }
    int r = start_sender(&h);
    if (r < 0)
        return error_errno(err, r, "make a thread for the seccomp listener");
    r = seccomp_filter_load(f, &h.listener);
    atomic_store(&h.step, LOADED);
    while (atomic_load(&h.step) != SENT)
        relax();
    if (r < 0)
        return error_errno(err, r, "load the seccomp filter");
    return h.result < 0 ? error_errno(err, h.result, "hand the seccomp listener over") : 0;
}
