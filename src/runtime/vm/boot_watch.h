/*
 * A machine that stands still while it boots. Linux measures an emulated machine's timer against
 * its time-stamp counter for a tenth of a second (calibrate_APIC_clock). A host that gives the
 * processor to others for as long at the wrong moment makes it find the timer too slow, and use
 * none: the first who waits for a time then waits for ever, and nothing is left that would wake the
 * processor. A kernel that boots never has nothing to do for so long.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BOOT_LOOK_MS 500

struct boot_watch {
    int64_t look_ms; /* when to look next (time_monotonic_ms); 0: not begun */
    int64_t busy_ns; /* how long its QEMU had run at the last look */
    unsigned int still;
    unsigned int resets; /* the caller's count of what it did about it */
};

/* Looks when it is time to; true once that QEMU has done nothing for three seconds, and then begins
 * anew. Early calls cost nothing. */
bool boot_stands(struct boot_watch *w, pid_t qemu);

/* relay_boot.c: what a relay does about it. */
struct relay;
int64_t boot_deadline(const struct relay *m); /* 0: none */
void boot_tick(struct relay *m);
