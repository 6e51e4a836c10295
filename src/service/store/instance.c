#include "service/store/instance.h"

#include "base/alloc.h"
#include "base/text.h"
#include "service/store/sql.h"

const char store_instance_schema[] =
    "CREATE TABLE instance(id TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL, kind INTEGER NOT NULL,"
    "  image_id TEXT NOT NULL, image_name TEXT NOT NULL, created_ns INTEGER NOT NULL,"
    "  auto_remove INTEGER NOT NULL, options TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX instance_image ON instance(image_id);"
    "CREATE TABLE instance_volume(instance_id TEXT NOT NULL REFERENCES instance(id)"
    "  ON DELETE CASCADE, volume TEXT NOT NULL, PRIMARY KEY(instance_id, volume)) WITHOUT ROWID;"
    "CREATE INDEX instance_volume_name ON instance_volume(volume);";

#define COLUMNS "id, name, kind, image_id, image_name, created_ns, auto_remove, options"

void instance_record_done(struct instance_record *r)
{
    free(r->id);
    free(r->name);
    free(r->image_id);
    free(r->image_name);
    free(r->options);
    memset(r, 0, sizeof(*r));
}

void instance_record_list_free(struct instance_record *list)
{
    for (size_t i = 0; list && list[i].id; i++)
        instance_record_done(&list[i]);
    free(list);
}

static void read_row(sqlite3_stmt *stmt, struct instance_record *r)
{
    r->id = sql_text(stmt, 0);
    r->name = sql_text(stmt, 1);
    r->kind = (int)sql_int(stmt, 2);
    r->image_id = sql_text(stmt, 3);
    r->image_name = sql_text(stmt, 4);
    r->created_ns = sql_int(stmt, 5);
    r->auto_remove = sql_int(stmt, 6) != 0;
    r->options = sql_text(stmt, 7);
}

/* The id that holds a name, or NULL. */
static int name_holder(struct store *s, const char *name, char **ret_id, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    int r = sql_query(s, &stmt, err, "SELECT id FROM instance WHERE name = ?", "s", name);
    if (r < 0)
        return r;
    r = sql_next(s, stmt, err);
    if (r < 0)
        return r;
    *ret_id = r > 0 ? sql_text(stmt, 0) : NULL;
    return 0;
}

static int name_taken(struct store *s, const char *name, struct error *err)
{
    _cleanup_free_ char *holder = NULL;
    int r = name_holder(s, name, &holder, err);
    if (r < 0)
        return r;
    if (holder)
        return error_set(
            err, ERROR_CONFLICT, EEXIST,
            "the name \"%s\" is already in use by instance %.12s; remove it (proa rm %s) or "
            "choose another name",
            name, holder, name);
    return 0;
}

int store_instance_add(struct store *s, const struct instance_record *i, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = name_taken(s, i->name, err);
    if (r == 0)
        r = sql_run(s, err, "INSERT INTO instance(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?)", "ssissiis",
                    i->id, i->name, (int64_t)i->kind, i->image_id, i->image_name, i->created_ns,
                    (int64_t)i->auto_remove, i->options);
    int ended = store_end(s, r == 0, err);
    return r < 0 ? r : ended;
}

int store_instance_replace(struct store *s, const struct instance_record *i, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = name_taken(s, i->name, err);
    if (r == 0)
        r = sql_run(s, err,
                    "UPDATE instance SET name=?, image_name=?, created_ns=?, auto_remove=?,"
                    " options=? WHERE id=?",
                    "ssiiss", i->name, i->image_name, i->created_ns, (int64_t)i->auto_remove,
                    i->options, i->id);
    int ended = store_end(s, r == 0, err);
    return r < 0 ? r : ended;
}

static int find_by_name(struct store *s, const char *reference, struct instance_record *ret,
                        struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    const char *name = reference[0] == '/' ? reference + 1 : reference;
    int r = sql_query(s, &stmt, err,
                      "SELECT " COLUMNS " FROM instance WHERE id = ?1 OR name = ?1"
                      " ORDER BY id = ?1 DESC",
                      "s", name);
    if (r < 0)
        return r;
    r = sql_next(s, stmt, err);
    if (r > 0)
        read_row(stmt, ret);
    return r;
}

static int find_by_prefix(struct store *s, const char *prefix, struct instance_record *ret,
                          struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    if (!*prefix || !is_hex(prefix, strlen(prefix)))
        return 0;
    int r = sql_query(s, &stmt, err,
                      "SELECT " COLUMNS " FROM instance WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2",
                      "s", prefix);
    if (r < 0)
        return r;
    r = sql_next(s, stmt, err);
    if (r <= 0)
        return r;
    read_row(stmt, ret);
    r = sql_next(s, stmt, err);
    if (r == 0)
        return 1;
    instance_record_done(ret);
    return r < 0 ? r
                 : error_set(err, ERROR_CONFLICT, ENOTUNIQ,
                             "the id prefix \"%s\" fits more than one instance; give more digits",
                             prefix);
}

int store_instance_find(struct store *s, const char *reference, struct instance_record *ret,
                        struct error *err)
{
    int r = find_by_name(s, reference, ret, err);
    if (r == 0)
        r = find_by_prefix(s, reference, ret, err);
    if (r == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "no such instance: %.128s (proa ps -a lists them)", reference);
    return r < 0 ? r : 0;
}

int store_instance_list(struct store *s, struct instance_record **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    struct instance_record *list = xnew(struct instance_record);
    size_t n = 0;
    int r =
        sql_query(s, &stmt, err,
                  "SELECT " COLUMNS " FROM instance WHERE id NOT IN (SELECT instance_id FROM spare)"
                  " ORDER BY created_ns, id",
                  "");
    while (r >= 0 && (r = sql_next(s, stmt, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        memset(&list[n], 0, 2 * sizeof(*list));
        read_row(stmt, &list[n++]);
    }
    if (r < 0) {
        instance_record_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

int store_instance_rename(struct store *s, const char *id, const char *name, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = name_taken(s, name, err);
    if (r == 0)
        r = sql_run(s, err, "UPDATE instance SET name = ? WHERE id = ?", "ss", name, id);
    int ended = store_end(s, r == 0, err);
    return r < 0 ? r : ended;
}

int store_instance_set_options(struct store *s, const char *id, const char *image_id,
                               const char *image_name, const char *options, struct error *err)
{
    return sql_run(s, err, "UPDATE instance SET image_id=?, image_name=?, options=? WHERE id=?",
                   "ssss", image_id, image_name, options, id);
}

int store_instance_remove(struct store *s, const char *id, struct error *err)
{
    return sql_run(s, err, "DELETE FROM instance WHERE id = ?", "s", id);
}

int store_instance_set_volumes(struct store *s, const char *id, char *const *volumes,
                               struct error *err)
{
    for (size_t i = 0; volumes && volumes[i]; i++) {
        int r = sql_run(s, err, "INSERT OR IGNORE INTO instance_volume VALUES(?,?)", "ss", id,
                        volumes[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

int store_volume_user(struct store *s, const char *volume, char **ret_instance_id,
                      struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    int r =
        sql_query(s, &stmt, err, "SELECT instance_id FROM instance_volume WHERE volume = ? LIMIT 1",
                  "s", volume);
    if (r < 0)
        return r;
    r = sql_next(s, stmt, err);
    if (r < 0)
        return r;
    *ret_instance_id = r > 0 ? sql_text(stmt, 0) : NULL;
    return 0;
}
