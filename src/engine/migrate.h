/*
 * Moving a machine while it runs: to another state directory of this host, or to another host.
 *
 *   1  the other side gets the instance's row, marked as arriving: nobody starts it yet
 *   2  the disk's chain is brought over, while the machine writes to a new file on top of it
 *   3  the machine stands still; the rest of its disk and its memory are brought over
 *   4  one byte is written into the file "moving" of its bundle: from here on it is there, not here
 *   5  here it ends and is removed; there it is started, from its memory
 *
 * Whatever is killed at whatever moment: before the byte the machine goes on here, because proa-vm
 * sees that the command has gone, and the other side throws the arrival away; after it, proa-vm
 * ends the machine, and it can be started there. A state directory of this host looks at the same
 * byte. Another host cannot: it keeps what has arrived whole and does not start it until it is told
 * to; and what is left here stays, and does not start, until that host has said that it knows
 * (`migrate` again tells it again). So at no time can both, and in the end one of them can.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "service/snapshot/parcel.h"

#define MIGRATE_PORT "7444"

/* root, or host: "DIRECTORY" or "tls://HOST[:PORT][/]"; the files are for the second. */
struct migrate_target {
    const char *to;
    struct parcel_tls tls;
};
struct migrate_done {
    char *id;              /* owned */
    uint64_t pause_us;     /* from standing still to running again; 0: it did not run */
    uint64_t copied_still; /* bytes of files that were copied meanwhile */
};
int engine_migrate(struct engine *e, const char *reference, const struct migrate_target *to,
                   struct migrate_done *ret, struct error *err) _must_check_;

/* Lets machines of other hosts arrive here, until a signal ends it; each connection in a process of
 * its own. */
struct migrate_serve {
    const char *root;   /* as for engine_open */
    const char *listen; /* ADDRESS:PORT */
    struct parcel_tls tls;
    void (*ready)(const char *address);
    void (*note)(const char *line); /* what became of a connection */
};
int migrate_serve(const struct migrate_serve *o, struct error *err) _must_check_;
/* migrate-receive.c: one connection, to its end. *ret_name: what has come, owned; NULL: nothing. */
int migrate_receive(struct engine *e, int connection, const struct parcel_tls *tls, char **ret_name,
                    struct error *err) _must_check_;
