#include "service/store/volume.h"

#include "base/alloc.h"
#include "service/store/sql.h"

const char store_volume_schema[] =
    "CREATE TABLE volume(name TEXT PRIMARY KEY, created_ns INTEGER NOT NULL,"
    "  labels TEXT NOT NULL) WITHOUT ROWID;";

void volume_record_done(struct volume_record *r)
{
    free(r->name);
    free(r->labels);
    memset(r, 0, sizeof(*r));
}

void volume_record_list_free(struct volume_record *list)
{
    for (size_t i = 0; list && list[i].name; i++)
        volume_record_done(&list[i]);
    free(list);
}

int store_volume_add(struct store *s, const struct volume_record *v, struct error *err)
{
    int r = sql_run(s, err, "INSERT INTO volume VALUES(?,?,?)", "sis", v->name, v->created_ns,
                    v->labels ? v->labels : "");
    if (r < 0 && err && err->kind == ERROR_CONFLICT)
        return error_set(err, ERROR_CONFLICT, EEXIST, "a volume named \"%s\" exists already",
                         v->name);
    return r;
}

int store_volume_list(struct store *s, const char *name, struct volume_record **ret,
                      struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    struct volume_record *list = xnew(struct volume_record);
    size_t n = 0;
    int r = sql_query(s, &stmt, err,
                      "SELECT name, created_ns, labels FROM volume WHERE ?1 IS NULL OR name = ?1"
                      " ORDER BY name",
                      "s", name);
    while (r >= 0 && (r = sql_next(s, stmt, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        memset(&list[n], 0, 2 * sizeof(*list));
        list[n].name = sql_text(stmt, 0);
        list[n].created_ns = sql_int(stmt, 1);
        list[n++].labels = sql_text(stmt, 2);
    }
    if (r < 0) {
        volume_record_list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

int store_volume_remove(struct store *s, const char *name, struct error *err)
{
    return sql_run(s, err, "DELETE FROM volume WHERE name = ?", "s", name);
}
