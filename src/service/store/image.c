#include "service/store/image.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "service/store/sql.h"

const char store_image_schema[] = "CREATE TABLE layer("
                                  " diff_id TEXT PRIMARY KEY NOT NULL,"
                                  " bytes INTEGER NOT NULL,"
                                  " tar_bytes INTEGER NOT NULL"
                                  ") WITHOUT ROWID;"
                                  "CREATE TABLE image("
                                  " id TEXT PRIMARY KEY NOT NULL,"
                                  " manifest TEXT,"
                                  " architecture TEXT NOT NULL,"
                                  " os TEXT NOT NULL,"
                                  " variant TEXT,"
                                  " created_ns INTEGER NOT NULL"
                                  ") WITHOUT ROWID;"
                                  "CREATE TABLE image_layer("
                                  " image_id TEXT NOT NULL REFERENCES image(id),"
                                  " position INTEGER NOT NULL,"
                                  " diff_id TEXT NOT NULL REFERENCES layer(diff_id),"
                                  " PRIMARY KEY(image_id, position)"
                                  ") WITHOUT ROWID;"
                                  "CREATE INDEX image_layer_by_diff_id ON image_layer(diff_id);"
                                  "CREATE TABLE image_name("
                                  " name TEXT PRIMARY KEY NOT NULL,"
                                  " image_id TEXT NOT NULL REFERENCES image(id)"
                                  ") WITHOUT ROWID;"
                                  "CREATE INDEX image_name_by_image ON image_name(image_id);";

#define IMAGE_COLUMNS "id, manifest, architecture, os, variant, created_ns"

void store_image_done(struct store_image *i)
{
    for (size_t n = 0; n < i->n_layers; n++)
        free(i->layers[n].diff_id);
    free(i->layers);
    strv_free(i->names);
    free(i->id);
    free(i->manifest);
    free(i->architecture);
    free(i->os);
    free(i->variant);
    memset(i, 0, sizeof(*i));
}

void store_image_list_free(struct store_image *list)
{
    for (struct store_image *i = list; i && i->id; i++)
        store_image_done(i);
    free(list);
}

void store_layer_list_free(struct store_layer *list)
{
    for (struct store_layer *l = list; l && l->diff_id; l++)
        free(l->diff_id);
    free(list);
}

static int add_rows(struct store *s, const struct store_image *i, struct error *err)
{
    int r =
        sql_run(s, err, "INSERT OR IGNORE INTO image(" IMAGE_COLUMNS ") VALUES(?,?,?,?,?,?)",
                "sssssi", i->id, i->manifest, i->architecture, i->os, i->variant, i->created_ns);
    for (size_t n = 0; r == 0 && n < i->n_layers; n++) {
        const struct store_layer *l = &i->layers[n];
        r = sql_run(s, err, "INSERT OR IGNORE INTO layer(diff_id, bytes, tar_bytes) VALUES(?,?,?)",
                    "sii", l->diff_id, (int64_t)l->bytes, (int64_t)l->tar_bytes);
        if (r == 0)
            r = sql_run(s, err,
                        "INSERT OR IGNORE INTO image_layer(image_id, position, diff_id)"
                        " VALUES(?,?,?)",
                        "sis", i->id, (int64_t)n, l->diff_id);
    }
    for (size_t n = 0; r == 0 && i->names && i->names[n]; n++)
        r = store_image_set_name(s, i->id, i->names[n], err);
    return r;
}

int store_image_add(struct store *s, const struct store_image *i, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = add_rows(s, i, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

static int fill_names(struct store *s, struct store_image *i, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT name FROM image_name WHERE image_id=? ORDER BY name", "s",
                      i->id);
    i->names = strv_copy(NULL);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&i->names, sql_text(q, 0));
    return r;
}

static int fill_layers(struct store *s, struct store_image *i, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT l.diff_id, l.bytes, l.tar_bytes FROM image_layer il"
                      " JOIN layer l ON l.diff_id=il.diff_id WHERE il.image_id=?"
                      " ORDER BY il.position",
                      "s", i->id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        i->layers = xreallocarray(i->layers, i->n_layers + 1, sizeof(*i->layers));
        i->layers[i->n_layers++] = (struct store_layer){
            .diff_id = sql_text(q, 0),
            .bytes = (uint64_t)sql_int(q, 1),
            .tar_bytes = (uint64_t)sql_int(q, 2),
        };
    }
    return r;
}

/* The image of the row that the statement stands on, with its names and layers. */
static int from_row(struct store *s, sqlite3_stmt *q, struct store_image *ret, struct error *err)
{
    *ret = (struct store_image){
        .id = sql_text(q, 0),
        .manifest = sql_text(q, 1),
        .architecture = sql_text(q, 2),
        .os = sql_text(q, 3),
        .variant = sql_text(q, 4),
        .created_ns = sql_int(q, 5),
    };
    int r = fill_names(s, ret, err);
    if (r >= 0)
        r = fill_layers(s, ret, err);
    if (r < 0)
        store_image_done(ret);
    return r;
}

static int not_found(struct error *err, const char *what)
{
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "no such image: %s", what);
}

int store_image_by_name(struct store *s, const char *name, struct store_image *ret,
                        struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT " IMAGE_COLUMNS " FROM image"
                      " WHERE id=(SELECT image_id FROM image_name WHERE name=?)",
                      "s", name);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    return r == 0 ? not_found(err, name) : from_row(s, q, ret, err);
}

int store_image_by_id(struct store *s, const char *prefix, struct store_image *ret,
                      struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_image found;
    /* Ids are lower-case hex: everything that begins with prefix sorts before prefix + 'g'. */
    int r = sql_query(s, &q, err,
                      "SELECT " IMAGE_COLUMNS " FROM image WHERE id>=?1 AND id<?1||'g' LIMIT 2",
                      "s", prefix);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    if (r == 0)
        return not_found(err, prefix);
    if ((r = from_row(s, q, &found, err)) < 0)
        return r;
    if ((r = sql_next(s, q, err)) > 0)
        r = error_set(err, ERROR_CONFLICT, EEXIST, "%s is the beginning of several image ids",
                      prefix);
    if (r < 0)
        store_image_done(&found);
    else
        *ret = found;
    return r;
}

int store_image_list(struct store *s, struct store_image **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_image *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT " IMAGE_COLUMNS " FROM image ORDER BY created_ns DESC, id", "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        memset(&list[n + 1], 0, sizeof(*list));
        r = from_row(s, q, &list[n], err);
        n++; /* a failed row has a NULL id: still the end of the list */
    }
    if (r < 0)
        store_image_list_free(list);
    else
        *ret = list;
    return r;
}

int store_image_set_name(struct store *s, const char *id, const char *name, struct error *err)
{
    return sql_run(s, err,
                   "INSERT INTO image_name(name, image_id) VALUES(?,?)"
                   " ON CONFLICT(name) DO UPDATE SET image_id=excluded.image_id",
                   "ss", name, id);
}

int store_image_drop_name(struct store *s, const char *name, struct error *err)
{
    return sql_run(s, err, "DELETE FROM image_name WHERE name=?", "s", name);
}

#define LAYER_UNUSED                                                                               \
    " NOT EXISTS(SELECT 1 FROM image_layer il WHERE il.diff_id=layer.diff_id)"                     \
    " AND NOT EXISTS(SELECT 1 FROM build_step b WHERE b.diff_id=layer.diff_id)"

static int list_layers(struct store *s, const char *sql, struct store_layer **list,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    size_t n = 0;
    int r = sql_query(s, &q, err, sql, "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        *list = xreallocarray(*list, n + 2, sizeof(**list));
        (*list)[n++] = (struct store_layer){
            .diff_id = sql_text(q, 0),
            .bytes = (uint64_t)sql_int(q, 1),
            .tar_bytes = (uint64_t)sql_int(q, 2),
        };
        memset(&(*list)[n], 0, sizeof(**list));
    }
    return r;
}

int store_layers_drop_unused(struct store *s, struct store_layer **list, struct error *err)
{
    int r =
        list_layers(s, "SELECT diff_id, bytes, tar_bytes FROM layer WHERE" LAYER_UNUSED, list, err);
    return r < 0 ? r : sql_run(s, err, "DELETE FROM layer WHERE" LAYER_UNUSED, "");
}

static int remove_rows(struct store *s, const char *id, struct store_layer **list,
                       struct error *err)
{
    int r;
    if ((r = sql_run(s, err, "DELETE FROM image_name WHERE image_id=?", "s", id)) < 0 ||
        (r = sql_run(s, err, "DELETE FROM image_layer WHERE image_id=?", "s", id)) < 0 ||
        (r = sql_run(s, err, "DELETE FROM image WHERE id=?", "s", id)) < 0)
        return r;
    return store_layers_drop_unused(s, list, err);
}

int store_image_remove(struct store *s, const char *id, struct store_layer **ret, struct error *err)
{
    struct store_layer *list = xcalloc(1, sizeof(*list));
    int r = store_begin(s, err);
    if (r == 0) {
        r = remove_rows(s, id, &list, err);
        int end = store_end(s, r == 0, r == 0 ? err : NULL);
        r = r < 0 ? r : end;
    }
    if (r < 0)
        store_layer_list_free(list);
    else
        *ret = list;
    return r;
}

int store_layer_list(struct store *s, struct store_layer **ret, struct error *err)
{
    struct store_layer *list = xcalloc(1, sizeof(*list));
    int r =
        list_layers(s, "SELECT diff_id, bytes, tar_bytes FROM layer ORDER BY diff_id", &list, err);
    if (r < 0)
        store_layer_list_free(list);
    else
        *ret = list;
    return r;
}

int store_layer_known(struct store *s, const char *diff_id, bool *ret_known, uint64_t *ret_bytes,
                      struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT bytes FROM layer WHERE diff_id=?", "s", diff_id);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_known = r > 0;
    if (r > 0 && ret_bytes)
        *ret_bytes = (uint64_t)sql_int(q, 0);
    return 0;
}

int store_blob_used(struct store *s, const char *digest, bool *ret_used, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT 1 FROM image WHERE id=?1 OR manifest=?1"
                      " UNION ALL SELECT 1 FROM content_blob WHERE digest=?1"
                      " UNION ALL SELECT 1 FROM content_manifest WHERE digest=?1"
                      " UNION ALL SELECT 1 FROM content_made WHERE digest=?1 LIMIT 1",
                      "s", digest);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_used = r > 0;
    return 0;
}

int store_image_user(struct store *s, const char *id, char **ret_user, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT 'instance ' || substr(id, 1, 12) FROM instance WHERE image_id=?1"
                      /* a machine's other disks are told in its options, by id */
                      " OR instr(options, ?1) > 0"
                      " UNION ALL SELECT 'snapshot ' || substr(id, 1, 12) FROM snapshot"
                      " WHERE image_id=?1 LIMIT 1",
                      "s", id);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_user = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}
