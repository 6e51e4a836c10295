/*
 * Moving a machine to another state directory of this host while it runs.
 *
 *   1  the other side gets the instance's row, marked as arriving: nobody starts it yet
 *   2  the disk's chain is brought over, while the machine writes to a new file on top of it
 *   3  the machine stands still; the rest of its disk and its memory are brought over
 *   4  one byte is written into the file "moving" of its bundle: from here on it is there, not here
 *   5  here it ends and is removed; there it is started, from its memory
 *
 * Whatever is killed at whatever moment: before the byte the machine goes on here, because proa-vm
 * sees that the command has gone, and the other side's next command throws the arrival away; after
 * it, proa-vm ends the machine, this side's next command removes what is left, and the other side's
 * next command says that it can be started. Both sides look at the same byte.
 */
#pragma once

#include <stdint.h>

#include "engine/engine.h"

struct migrate_done {
    char *id;          /* owned */
    uint64_t pause_us; /* from standing still to running again; 0: it did not run */
};
int engine_migrate(struct engine *e, const char *reference, const char *to_root,
                   struct migrate_done *ret, struct error *err) _must_check_;
