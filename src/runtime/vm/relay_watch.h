/* Who of a machine answers (relay_watch.c). */
#pragma once

#include <stdint.h>

enum watch_who {
    WATCH_QEMU,
    WATCH_GUEST,
    WATCHED,
};
struct relay_watched {
    int64_t heard_ms, asked_ms; /* asked: 0 when nothing is expected */
    int64_t silent_ns;          /* heard last, by the clock, when it does not answer; else 0 */
};
struct relay_watch {
    struct relay_watched of[WATCHED];
};

struct relay;
void watch_heard(struct relay *m, enum watch_who who); /* something came from there */
int64_t watch_deadline(const struct relay *m);         /* 0: none */
void watch_tick(struct relay *m);                      /* after a turn */
