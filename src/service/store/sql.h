/* Prepared statements in one line each; private to service/store. */
#pragma once

#include "service/store/store.h"

/*
 * sql_run(s, err, "INSERT INTO t VALUES(?,?)", "si", text, (int64_t)n): binds by letter and steps
 * to the end. s: const char* (NULL binds NULL), i: int64_t, b: const void* and size_t (two
 * arguments). A constraint violation is ERROR_CONFLICT.
 */
int sql_run(struct store *s, struct error *err, const char *sql, const char *types,
            ...) _must_check_;

/* Fills err for a result code of SQLite's; what: the thing that was tried. Gives -errno. */
int sql_error(struct store *s, int code, struct error *err, const char *what);

/* Prepares and binds; the caller steps with sql_next until it gives 0, then sql_done. */
int sql_query(struct store *s, sqlite3_stmt **ret, struct error *err, const char *sql,
              const char *types, ...) _must_check_;
int sql_next(struct store *s, sqlite3_stmt *stmt, struct error *err); /* 1 row, 0 end, <0 error */
void sql_done(sqlite3_stmt *stmt);

/* Columns: owned copies of text (NULL for NULL), integers. */
char *sql_text(sqlite3_stmt *stmt, int column);
int64_t sql_int(sqlite3_stmt *stmt, int column);

static inline void sql_cleanup(sqlite3_stmt **stmt)
{
    sql_done(*stmt);
}
#define _cleanup_sql_ _cleanup_(sql_cleanup)

/* Each noun's table definitions: of schema version 1, and the steps from there (store.c). What was
 * released once is never changed: a newer version is one more step. */
extern const char store_image_schema[];
extern const char store_build_schema[];
extern const char store_instance_schema[];
extern const char store_network_schema[];
extern const char store_volume_schema[];
extern const char store_registry_schema[];    /* to version 2 */
extern const char store_content_schema[];     /* to version 3 */
extern const char store_disk_schema[];        /* to version 5 */
extern const char store_snapshot_schema[];    /* the step after it */
extern const char store_ports_schema[];       /* and the next */
extern const char store_policy_schema[];      /* the step after that */
extern const char store_arriving_schema[];    /* and after that */
extern const char store_rate_schema[];        /* and after that */
extern const char store_spare_schema[];       /* and after that */
extern const char store_lease_schema[];       /* and after that */
extern const char store_priority_schema[];    /* and after that */
extern const char store_heard_schema[];       /* and after that */
extern const char store_connections_schema[]; /* and after that */
