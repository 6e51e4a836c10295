/* The two sides of a migration (migrate.h). */
#pragma once

#include "engine/migrate.h"
#include "engine/snapshot-internal.h"

#define ENDED_FILE "ended" /* in the bundle: it has been ended here, after it had left */
#define MOVING_FILE                                                                                \
    "moving" /* in the bundle: AGENT_SNAPSHOT_MOVED once it has moved, and where to */

/* Where a machine goes: another state directory of this host (migrate-arrive.c), or another host
 * (migrate-remote.c). In this order; undo and done at any point. */
struct destination {
    const struct destination_ops *ops;
    struct engine *from;
    struct subject *s;
    bool runs;
    uint64_t copied; /* bytes of files, their holes left out */
};
struct destination_ops {
    int (*begin)(struct destination *d, struct error *err);
    /* Whether files are copied: then most of them are before the machine stands still. */
    bool (*copies)(const struct destination *d);
    /* Brings what is missing of its disks' chains, bottom first. */
    int (*disks)(struct destination *d, const struct snapshot_level *levels, struct error *err);
    /* While it stands still: what its firmware and its TPM keep. */
    int (*rest)(struct destination *d, struct error *err);
    int (*memory)(struct destination *d, const char *file, struct error *err);
    /* All is there, and stays. May be NULL. */
    int (*ready)(struct destination *d, struct error *err);
    /* It is there now: starts it, if it ran. *ret_told: it knows, whatever else went wrong. */
    int (*finish)(struct destination *d, bool *ret_told, struct error *err);
    void (*undo)(struct destination *d);
    void (*done)(struct destination *d);
    /* What is here must be gone before it starts there; otherwise it stays until it has been told.
     */
    bool first_gone_here;
};
struct destination *local_destination(const char *root);                 /* owned: done() */
struct destination *remote_destination(const struct migrate_target *to); /* likewise */

/* migrate.c: takes away, once, what has run here: after that another of its id may, even under the
 * same kernel. */
int clean_here(struct subject *s, struct error *err) _must_check_;
/* migrate-remote.c: tells a host again that a machine has moved there. */
int remote_remind(struct engine *e, struct subject *s, const struct migrate_target *to,
                  struct error *err) _must_check_;

/* migrate-row.c: an instance on its way here. source: ARRIVAL_REMOTE…, or a state directory. */
struct arrival_port;
int arriving_add(struct engine *e, const struct instance_record *i, const char *source,
                 const struct arrival_port *ports, struct error *err) _must_check_;
/* Where one comes from; owned, NULL: it is on no way. */
int arriving_source(struct engine *e, const char *id, char **ret, struct error *err) _must_check_;
/* It is here by now: starts it. */
int arrived(struct engine *e, struct subject *s, bool start, struct error *err) _must_check_;
/* migrate-ports.c: addresses that it has there, where a network of that name has the same subnet
 * and they are free.
 */
struct arrival_port {
    char *network, *subnet, *address, *address6, *mac;
};
void arrival_ports_free(struct arrival_port *list); /* ended by a NULL network; takes NULL */
int arrival_ports_of(struct engine *e, const char *id, struct arrival_port **ret,
                     struct error *err) _must_check_;
int arrival_ports_keep(struct engine *e, const struct instance_record *i,
                       const struct arrival_port *list, struct error *err) _must_check_;

/* migrate-row.c: what stands for a migration at both hosts: only who knows it may go on with it. 64
 * hex digits. */
int moving_token(const char *bundle, char ret[static 65], struct error *err) _must_check_;
#define ARRIVAL_REMOTE "tls:"    /* and the token: where an arrival from another host comes from */
#define ARRIVED_FILE   "arrived" /* in its bundle: all of it is here, and only its end is missing */
