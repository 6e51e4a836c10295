#include "service/store/snapshot.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/sql.h"

const char store_snapshot_schema[] =
    "CREATE TABLE snapshot(id TEXT PRIMARY KEY, name TEXT NOT NULL, instance_id TEXT NOT NULL,"
    "  instance_name TEXT NOT NULL, kind INTEGER NOT NULL, image_id TEXT NOT NULL,"
    "  image_name TEXT NOT NULL, options TEXT NOT NULL, base TEXT REFERENCES snapshot(id),"
    "  file TEXT, consistency TEXT NOT NULL, memory_bytes INTEGER NOT NULL,"
    "  created_ns INTEGER NOT NULL, visible INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX snapshot_name ON snapshot(instance_id, name) WHERE visible;"
    "CREATE INDEX snapshot_base ON snapshot(base);"
    "CREATE INDEX snapshot_image ON snapshot(image_id);"
    "CREATE TABLE instance_base(instance_id TEXT PRIMARY KEY REFERENCES instance(id)"
    "  ON DELETE CASCADE, base TEXT REFERENCES snapshot(id), file TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX instance_base_base ON instance_base(base);";

const char store_arriving_schema[] =
    "CREATE TABLE arriving(instance_id TEXT PRIMARY KEY REFERENCES instance(id) ON DELETE CASCADE,"
    "  source TEXT NOT NULL, pid INTEGER NOT NULL) WITHOUT ROWID;";

#define SELECT                                                                                     \
    "SELECT s.id, s.name, s.instance_id, COALESCE(i.name, s.instance_name), s.kind, s.image_id,"   \
    " s.image_name, s.options, s.base, s.file, s.consistency, s.memory_bytes, s.created_ns,"       \
    " s.visible FROM snapshot s LEFT JOIN instance i ON i.id = s.instance_id "

void snapshot_record_done(struct snapshot_record *r)
{
    free(r->id);
    free(r->name);
    free(r->instance_id);
    free(r->instance_name);
    free(r->image_id);
    free(r->image_name);
    free(r->options);
    free(r->base);
    strv_free(r->files);
    free(r->consistency);
    memset(r, 0, sizeof(*r));
}

void snapshot_record_list_free(struct snapshot_record *list)
{
    for (size_t i = 0; list && list[i].id; i++)
        snapshot_record_done(&list[i]);
    free(list);
}

/* "disk.raw,disk1.qcow2": no name has a comma. */
static char **read_files(sqlite3_stmt *q, int column)
{
    _cleanup_free_ char *text = sql_text(q, column);
    return strv_split(text ? text : "", ',');
}

static void read_row(sqlite3_stmt *q, struct snapshot_record *r)
{
    *r = (struct snapshot_record){
        .id = sql_text(q, 0),
        .name = sql_text(q, 1),
        .instance_id = sql_text(q, 2),
        .instance_name = sql_text(q, 3),
        .kind = (int)sql_int(q, 4),
        .image_id = sql_text(q, 5),
        .image_name = sql_text(q, 6),
        .options = sql_text(q, 7),
        .base = sql_text(q, 8),
        .files = read_files(q, 9),
        .consistency = sql_text(q, 10),
        .memory_bytes = (uint64_t)sql_int(q, 11),
        .created_ns = sql_int(q, 12),
        .visible = sql_int(q, 13) != 0,
    };
}

static int check_name(struct store *s, const struct snapshot_record *r, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int n =
        sql_query(s, &q, err, "SELECT 1 FROM snapshot WHERE instance_id=? AND name=? AND visible",
                  "ss", r->instance_id, r->name);
    if (n == 0)
        n = sql_next(s, q, err);
    if (n > 0)
        return error_set(err, ERROR_CONFLICT, EEXIST,
                         "instance %s has a snapshot \"%s\" already; remove it (proa snapshot rm "
                         "%s/%s) or choose another name",
                         r->instance_name, r->name, r->instance_name, r->name);
    return n;
}

int store_snapshot_add(struct store *s, const struct snapshot_record *r, struct error *err)
{
    _cleanup_free_ char *files = r->files && r->files[0] ? strv_join(r->files, ",") : NULL;
    int n = store_begin(s, err);
    if (n < 0)
        return n;
    n = check_name(s, r, err);
    if (n == 0)
        n = sql_run(s, err, "INSERT INTO snapshot VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,0)",
                    "ssssissssssii", r->id, r->name, r->instance_id, r->instance_name,
                    (int64_t)r->kind, r->image_id, r->image_name, r->options, r->base, files,
                    r->consistency, (int64_t)r->memory_bytes, r->created_ns);
    int ended = store_end(s, n == 0, err);
    return n < 0 ? n : ended;
}

int store_snapshot_show(struct store *s, const char *id, const char *consistency,
                        uint64_t memory_bytes, struct error *err)
{
    return sql_run(s, err,
                   "UPDATE snapshot SET visible=1, consistency=?, memory_bytes=? WHERE id=?", "sis",
                   consistency, (int64_t)memory_bytes, id);
}

int store_snapshot_hide(struct store *s, const char *id, struct error *err)
{
    return sql_run(s, err, "UPDATE snapshot SET visible=0, memory_bytes=0 WHERE id=?", "s", id);
}

int store_snapshot_delete(struct store *s, const char *id, struct error *err)
{
    return sql_run(s, err, "DELETE FROM snapshot WHERE id=?", "s", id);
}

/* The only row of the query, which has two when the reference fits several. 1, 0 or an error. */
static int only_row(struct store *s, sqlite3_stmt *q, const char *reference,
                    struct snapshot_record *ret, struct error *err)
{
    int r = sql_next(s, q, err);
    if (r <= 0)
        return r;
    read_row(q, ret);
    r = sql_next(s, q, err);
    if (r == 0)
        return 1;
    snapshot_record_done(ret);
    return r < 0 ? r
                 : error_set(err, ERROR_CONFLICT, ENOTUNIQ,
                             "\"%.128s\" fits more than one snapshot: say INSTANCE/NAME or more of "
                             "its id",
                             reference);
}

int store_snapshot_find(struct store *s, const char *instance_id, const char *reference,
                        struct snapshot_record *ret, struct error *err)
{
    static const char *const queries[] = {
        SELECT "WHERE s.visible AND (?1 IS NULL OR s.instance_id=?1) AND (s.id=?2 OR s.name=?2 OR"
               " COALESCE(i.name, s.instance_name) || '/' || s.name = ?2) LIMIT 2",
        SELECT "WHERE s.visible AND (?1 IS NULL OR s.instance_id=?1) AND s.id >= ?2"
               " AND s.id < ?2 || 'g' LIMIT 2",
    };
    int r = 0;
    bool prefix = *reference && is_hex(reference, strlen(reference));
    for (size_t i = 0; r == 0 && i < (prefix ? 2u : 1u); i++) {
        _cleanup_sql_ sqlite3_stmt *q = NULL;
        r = sql_query(s, &q, err, queries[i], "ss", instance_id, reference);
        if (r == 0)
            r = only_row(s, q, reference, ret, err);
    }
    if (r == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no such snapshot: %.128s (proa snapshot ls lists them)", reference);
    return r < 0 ? r : 0;
}

int store_snapshot_get(struct store *s, const char *id, struct snapshot_record *ret,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, SELECT "WHERE s.id=?", "s", id);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r == 0)
        return error_set(err, ERROR_CORRUPT, ENOENT, "the store has no snapshot %.12s", id);
    if (r > 0)
        read_row(q, ret);
    return r < 0 ? r : 0;
}

int store_snapshot_list(struct store *s, const char *instance_id, bool hidden,
                        struct snapshot_record **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct snapshot_record *list = xnew(struct snapshot_record);
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      SELECT "WHERE (s.visible OR ?2) AND (?1 IS NULL OR s.instance_id=?1)"
                             " ORDER BY s.created_ns, s.id",
                      "si", instance_id, (int64_t)hidden);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        memset(&list[n], 0, 2 * sizeof(*list));
        read_row(q, &list[n++]);
    }
    if (r < 0) {
        snapshot_record_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

static int list_ids(struct store *s, const char *query, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **ids = strv_copy(NULL);
    int r = sql_query(s, &q, err, query, "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        _cleanup_free_ char *id = sql_text(q, 0);
        strv_add(&ids, id);
    }
    if (r == 0)
        *ret = TAKE_PTR(ids);
    return r;
}

int store_snapshot_hidden(struct store *s, char ***ret, struct error *err)
{
    return list_ids(s, "SELECT id FROM snapshot WHERE NOT visible", ret, err);
}

int store_snapshot_forgotten(struct store *s, char ***ret, struct error *err)
{
    return list_ids(s,
                    "SELECT id FROM snapshot s WHERE NOT visible"
                    " AND NOT EXISTS(SELECT 1 FROM snapshot o WHERE o.base=s.id)"
                    " AND NOT EXISTS(SELECT 1 FROM instance_base b WHERE b.base=s.id)",
                    ret, err);
}

int store_instance_base(struct store *s, const char *instance_id, char **ret_base, char **ret_file,
                        struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT base, file FROM instance_base WHERE instance_id=?", "s",
                      instance_id);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    *ret_base = r > 0 ? sql_text(q, 0) : NULL;
    *ret_file = r > 0 ? sql_text(q, 1) : NULL;
    return 0;
}

int store_instance_set_base(struct store *s, const char *instance_id, const char *base,
                            const char *file, struct error *err)
{
    return sql_run(s, err, "INSERT OR REPLACE INTO instance_base VALUES(?,?,?)", "sss", instance_id,
                   base, file);
}

int store_arriving_add(struct store *s, const char *instance_id, const char *source, int64_t pid,
                       struct error *err)
{
    return sql_run(s, err, "INSERT INTO arriving VALUES(?,?,?)", "ssi", instance_id, source, pid);
}

int store_arriving_done(struct store *s, const char *instance_id, struct error *err)
{
    return sql_run(s, err, "DELETE FROM arriving WHERE instance_id=?", "s", instance_id);
}

void arriving_list_free(struct arriving_record *list)
{
    for (size_t i = 0; list && list[i].instance_id; i++) {
        free(list[i].instance_id);
        free(list[i].source);
    }
    free(list);
}

int store_arriving_list(struct store *s, struct arriving_record **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct arriving_record *list = xnew(struct arriving_record);
    size_t n = 0;
    int r = sql_query(s, &q, err, "SELECT instance_id, source, pid FROM arriving", "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n] = (struct arriving_record){sql_text(q, 0), sql_text(q, 1), sql_int(q, 2)};
        list[++n] = (struct arriving_record){0};
    }
    if (r < 0) {
        arriving_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}
