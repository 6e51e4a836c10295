#include "service/store/spare.h"

#include "base/strv.h"
#include "service/store/sql.h"

const char store_spare_schema[] =
    "CREATE TABLE spare(instance_id TEXT PRIMARY KEY REFERENCES instance(id) ON DELETE CASCADE,"
    "  shape TEXT UNIQUE NOT NULL) WITHOUT ROWID;";

int store_spare_add(struct store *s, const char *instance_id, const char *shape, struct error *err)
{
    return sql_run(s, err, "INSERT INTO spare VALUES(?,?)", "ss", instance_id, shape);
}

int store_spare_find(struct store *s, const char *shape, char **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    int r = sql_query(s, &stmt, err, "SELECT instance_id FROM spare WHERE shape = ?", "s", shape);
    if (r == 0)
        r = sql_next(s, stmt, err);
    if (r < 0)
        return r;
    *ret = r > 0 ? sql_text(stmt, 0) : NULL;
    return 0;
}

int store_spare_forget(struct store *s, const char *instance_id, struct error *err)
{
    return sql_run(s, err, "DELETE FROM spare WHERE instance_id = ?", "s", instance_id);
}

int store_spare_is(struct store *s, const char *instance_id, bool *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    int r = sql_query(s, &stmt, err, "SELECT 1 FROM spare WHERE instance_id = ?", "s", instance_id);
    if (r == 0)
        r = sql_next(s, stmt, err);
    if (r < 0)
        return r;
    *ret = r > 0;
    return 0;
}

int store_spare_list(struct store *s, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    _cleanup_strv_ char **list = strv_split("", ' ');
    int r =
        sql_query(s, &stmt, err,
                  "SELECT id FROM instance JOIN spare ON instance_id = id ORDER BY created_ns", "");
    while (r >= 0 && (r = sql_next(s, stmt, err)) > 0)
        strv_take(&list, sql_text(stmt, 0));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(list);
    return 0;
}
