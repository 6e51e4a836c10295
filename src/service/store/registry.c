#include "service/store/registry.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/store/sql.h"

/* The columns of a key come first: the integrity check of SQLite 3.40 takes those before them for
 * NULL in a table without row ids. */
const char store_registry_schema[] =
    "CREATE TABLE image_digest("
    " repository TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " image_id TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE,"
    " PRIMARY KEY(repository, digest, image_id)"
    ") WITHOUT ROWID;"
    "CREATE INDEX image_digest_by_image ON image_digest(image_id);"
    "CREATE TABLE layer_blob("
    " diff_id TEXT NOT NULL REFERENCES layer(diff_id) ON DELETE CASCADE,"
    " digest TEXT NOT NULL,"
    " repository TEXT NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " media_type TEXT NOT NULL,"
    " PRIMARY KEY(diff_id, digest, repository)"
    ") WITHOUT ROWID;";

int store_digest_add(struct store *s, const char *image_id, const char *repository,
                     const char *digest, struct error *err)
{
    return sql_run(s, err,
                   "INSERT OR IGNORE INTO image_digest(repository, digest, image_id)"
                   " VALUES(?,?,?)",
                   "sss", repository, digest, image_id);
}

int store_digest_list(struct store *s, const char *image_id, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **list = strv_copy(NULL);
    int r = sql_query(s, &q, err,
                      "SELECT repository||'@'||digest FROM image_digest WHERE image_id=?"
                      " ORDER BY 1",
                      "s", image_id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&list, sql_text(q, 0));
    if (r == 0)
        *ret = TAKE_PTR(list);
    return r;
}

int store_digest_find(struct store *s, const char *repository, const char *digest,
                      const char *architecture, char **ret_image_id, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT d.image_id FROM image_digest d JOIN image i ON i.id=d.image_id"
                      " WHERE d.repository=?1 AND d.digest=?2"
                      " AND (?3 IS NULL OR i.architecture=?3) LIMIT 1",
                      "sss", repository, digest, architecture);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_image_id = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}

int store_layer_blob_add(struct store *s, const char *diff_id, const struct store_layer_blob *b,
                         struct error *err)
{
    return sql_run(s, err,
                   "INSERT OR REPLACE INTO layer_blob(diff_id, digest, bytes, media_type,"
                   " repository) VALUES(?,?,?,?,?)",
                   "ssiss", diff_id, b->digest, (int64_t)b->bytes, b->media_type, b->repository);
}

void store_layer_blob_list_free(struct store_layer_blob *list)
{
    for (struct store_layer_blob *b = list; b && b->digest; b++) {
        free(b->digest);
        free(b->media_type);
        free(b->repository);
    }
    free(list);
}

int store_layer_blob_list(struct store *s, const char *diff_id, struct store_layer_blob **ret,
                          struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_layer_blob *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT digest, bytes, media_type, repository FROM layer_blob"
                      " WHERE diff_id=? ORDER BY digest, repository",
                      "s", diff_id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = (struct store_layer_blob){
            .digest = sql_text(q, 0),
            .bytes = (uint64_t)sql_int(q, 1),
            .media_type = sql_text(q, 2),
            .repository = sql_text(q, 3),
        };
        memset(&list[n], 0, sizeof(*list));
    }
    if (r < 0)
        store_layer_blob_list_free(list);
    else
        *ret = list;
    return r;
}
