/*
 * Snapshots in the store, and what the writable files of instances stand on.
 *
 * A snapshot's row exists before its files do, not visible yet; it stays after its removal, not
 * visible any more, for as long as another snapshot or an instance stands on it. A row that is not
 * visible and that nothing stands on is forgotten: whoever finds one removes its files and it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "service/store/store.h"

struct snapshot_record {
    char *id;            /* 64 hex digits */
    char *name;          /* one of its instance's snapshots */
    char *instance_id;   /* which may be gone */
    char *instance_name; /* what it is called now, or was last */
    int kind;            /* enum runtime_kind */
    char *image_id, *image_name;
    char *options; /* engine/options.h as JSON: the instance's when it was made */
    char *base;    /* the snapshot that its disk stands on; NULL: on nothing */
    char **files;  /* its disks in its directory (service/snapshot/snapshot.h), of those that have
                    * one there; NULL or empty: base is all */
    char *consistency;     /* "stopped", "frozen", "crash" */
    uint64_t memory_bytes; /* of the saved memory; 0: none */
    int64_t created_ns;
    bool visible;
};
void snapshot_record_done(struct snapshot_record *r);
void snapshot_record_list_free(struct snapshot_record *list); /* ended by a NULL id; takes NULL */

/* Not visible yet. ERROR_CONFLICT when the instance has a visible one of that name. */
int store_snapshot_add(struct store *s, const struct snapshot_record *r,
                       struct error *err) _must_check_;
/* Makes it visible, with how it was made. */
int store_snapshot_show(struct store *s, const char *id, const char *consistency,
                        uint64_t memory_bytes, struct error *err) _must_check_;
/* The other way: it is a removed one from here on. */
int store_snapshot_hide(struct store *s, const char *id, struct error *err) _must_check_;
int store_snapshot_delete(struct store *s, const char *id, struct error *err) _must_check_;

/* A visible one by NAME, INSTANCE/NAME, id or the beginning of one; of this instance unless
 * instance_id is NULL. */
int store_snapshot_find(struct store *s, const char *instance_id, const char *reference,
                        struct snapshot_record *ret, struct error *err) _must_check_;
/* Any, by its whole id. */
int store_snapshot_get(struct store *s, const char *id, struct snapshot_record *ret,
                       struct error *err) _must_check_;
/* Oldest first; of one instance, or all (NULL). hidden: those too. */
int store_snapshot_list(struct store *s, const char *instance_id, bool hidden,
                        struct snapshot_record **ret, struct error *err) _must_check_;
/* Ids of those that nobody is shown; of the forgotten ones among them. Owned. */
int store_snapshot_hidden(struct store *s, char ***ret, struct error *err) _must_check_;
int store_snapshot_forgotten(struct store *s, char ***ret, struct error *err) _must_check_;

/* Instances that are on their way here from another state directory (engine/migrate.h). */
int store_arriving_add(struct store *s, const char *instance_id, const char *source, int64_t pid,
                       struct error *err) _must_check_;
int store_arriving_done(struct store *s, const char *instance_id, struct error *err) _must_check_;
struct arriving_record {
    char *instance_id;
    char *source; /* the other state directory */
    int64_t pid;  /* of the command that brings it */
};
void arriving_list_free(struct arriving_record *list); /* ended by a NULL id; takes NULL */
int store_arriving_list(struct store *s, struct arriving_record **ret,
                        struct error *err) _must_check_;

/* The snapshot that an instance's disk stands on and its own file in its bundle; both NULL where it
 * stands on nothing. Owned. */
int store_instance_base(struct store *s, const char *instance_id, char **ret_base, char **ret_file,
                        struct error *err) _must_check_;
/* base NULL: it stands on nothing, but its file has this name. */
int store_instance_set_base(struct store *s, const char *instance_id, const char *base,
                            const char *file, struct error *err) _must_check_;
