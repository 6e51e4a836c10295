#include "service/store/disk.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "service/store/sql.h"

const char store_disk_schema[] =
    "CREATE TABLE disk("
    " image_id TEXT PRIMARY KEY NOT NULL REFERENCES image(id),"
    " virtual_bytes INTEGER NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE TABLE disk_pack("
    " id INTEGER PRIMARY KEY,"
    " name TEXT UNIQUE NOT NULL"
    ");"
    "CREATE TABLE disk_chunk("
    " pack_id INTEGER NOT NULL REFERENCES disk_pack(id),"
    " position INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " hex TEXT NOT NULL,"
    " PRIMARY KEY(pack_id, position)"
    ") WITHOUT ROWID;"
    "CREATE INDEX disk_chunk_by_hex ON disk_chunk(hex);"
    "CREATE TABLE disk_map("
    " image_id TEXT NOT NULL REFERENCES disk(image_id),"
    " position INTEGER NOT NULL,"
    " pack_id INTEGER NOT NULL,"
    " PRIMARY KEY(image_id, position),"
    " FOREIGN KEY(pack_id, position) REFERENCES disk_chunk(pack_id, position)"
    ") WITHOUT ROWID;"
    "CREATE INDEX disk_map_by_chunk ON disk_map(pack_id, position);";

#define DATA_OF                                                                                    \
    "(SELECT COALESCE(SUM(bytes),0) FROM disk_chunk c WHERE EXISTS(SELECT 1 FROM disk_map m"       \
    " WHERE m.pack_id=c.pack_id AND m.position=c.position AND m.image_id=disk.image_id))"

int store_disk_get(struct store *s, const char *image_id, bool *ret_found,
                   uint64_t *ret_virtual_bytes, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT virtual_bytes, " DATA_OF " FROM disk WHERE image_id=?",
                      "s", image_id);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_found = r > 0;
    if (r > 0 && ret_virtual_bytes)
        *ret_virtual_bytes = (uint64_t)sql_int(q, 0);
    if (r > 0 && ret_bytes)
        *ret_bytes = (uint64_t)sql_int(q, 1);
    return 0;
}

int store_disk_shared(struct store *s, const char *image_id, uint64_t *ret_shared,
                      struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT COALESCE(SUM(bytes),0) FROM disk_chunk c WHERE EXISTS(SELECT 1"
                      " FROM disk_map m WHERE m.pack_id=c.pack_id AND m.position=c.position"
                      " AND m.image_id=?1) AND EXISTS(SELECT 1 FROM disk_map m"
                      " WHERE m.pack_id=c.pack_id AND m.position=c.position AND m.image_id<>?1)",
                      "s", image_id);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_shared = (uint64_t)sql_int(q, 0);
    return 0;
}

int store_disk_total(struct store *s, uint64_t *ret_bytes, uint64_t *ret_idle, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r =
        sql_query(s, &q, err,
                  "SELECT COALESCE(SUM(bytes),0), COALESCE(SUM(CASE WHEN EXISTS(SELECT 1"
                  " FROM disk_map m JOIN instance i ON i.image_id=m.image_id"
                  " WHERE m.pack_id=c.pack_id AND m.position=c.position) THEN 0 ELSE bytes END),0)"
                  " FROM disk_chunk c",
                  "");
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_bytes = (uint64_t)sql_int(q, 0);
    *ret_idle = (uint64_t)sql_int(q, 1);
    return 0;
}

int store_disk_users(struct store *s, int64_t pack, uint32_t position, char ***ret_ids,
                     struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **ids = strv_copy(NULL);
    int r = sql_query(s, &q, err,
                      "SELECT DISTINCT image_id FROM disk_map WHERE pack_id=? AND position=?", "ii",
                      pack, (int64_t)position);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&ids, sql_text(q, 0));
    if (r == 0)
        *ret_ids = TAKE_PTR(ids);
    return r;
}

/* position, pack, bytes, hex of each row */
static int take_chunks(struct store *s, sqlite3_stmt *q, struct store_disk_chunk **ret,
                       size_t *ret_n, struct error *err)
{
    struct store_disk_chunk *list = xcalloc(1, sizeof(*list));
    size_t n = 0, capacity = 1;
    int r;
    while ((r = sql_next(s, q, err)) > 0) {
        _cleanup_free_ char *hex = sql_text(q, 3);
        if (n == capacity)
            list = xreallocarray(list, capacity *= 2, sizeof(*list));
        list[n] = (struct store_disk_chunk){.position = (uint32_t)sql_int(q, 0),
                                            .pack = sql_int(q, 1),
                                            .bytes = (uint32_t)sql_int(q, 2)};
        snprintf(list[n++].hex, sizeof(list->hex), "%s", hex ? hex : "");
    }
    if (r < 0) {
        free(list);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int store_disk_map(struct store *s, const char *image_id, struct store_disk_chunk **ret,
                   size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT m.position, m.pack_id, c.bytes, c.hex FROM disk_map m"
                      " JOIN disk_chunk c ON c.pack_id=m.pack_id AND c.position=m.position"
                      " WHERE m.image_id=? ORDER BY m.position",
                      "s", image_id);
    return r < 0 ? r : take_chunks(s, q, ret, ret_n, err);
}

int store_disk_pack_chunks(struct store *s, int64_t pack, struct store_disk_chunk **ret,
                           size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT position, pack_id, bytes, hex FROM disk_chunk WHERE pack_id=?"
                      " ORDER BY position",
                      "i", pack);
    return r < 0 ? r : take_chunks(s, q, ret, ret_n, err);
}

int store_disk_find(struct store *s, const char *hex, uint32_t position,
                    void (*each)(void *context, int64_t pack), void *context, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT pack_id FROM disk_chunk WHERE hex=? AND position=?", "si",
                      hex, (int64_t)position);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        each(context, sql_int(q, 0));
    return r;
}

int store_disk_add_pack(struct store *s, const char *name, int64_t *ret_pack, struct error *err)
{
    int r = sql_run(s, err, "INSERT INTO disk_pack(name) VALUES(?)", "s", name);
    if (r == 0)
        *ret_pack = sqlite3_last_insert_rowid(s->db);
    return r;
}

int store_disk_add_chunk(struct store *s, const struct store_disk_chunk *c, struct error *err)
{
    return sql_run(s, err, "INSERT INTO disk_chunk(pack_id, position, bytes, hex) VALUES(?,?,?,?)",
                   "iiis", c->pack, (int64_t)c->position, (int64_t)c->bytes, c->hex);
}

int store_disk_add(struct store *s, const char *image_id, uint64_t virtual_bytes,
                   const struct store_disk_chunk *map, size_t n, struct error *err)
{
    int r = sql_run(s, err, "INSERT INTO disk(image_id, virtual_bytes) VALUES(?,?)", "si", image_id,
                    (int64_t)virtual_bytes);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = sql_run(s, err, "INSERT INTO disk_map(image_id, position, pack_id) VALUES(?,?,?)",
                    "sii", image_id, (int64_t)map[i].position, map[i].pack);
    return r;
}

#define CHUNK_UNUSED                                                                               \
    " NOT EXISTS(SELECT 1 FROM disk_map m WHERE m.pack_id=disk_chunk.pack_id"                      \
    " AND m.position=disk_chunk.position)"

int store_disk_remove(struct store *s, const char *image_id, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r;
    if ((r = sql_run(s, err, "DELETE FROM disk_map WHERE image_id=?", "s", image_id)) < 0 ||
        (r = sql_run(s, err, "DELETE FROM disk WHERE image_id=?", "s", image_id)) < 0 ||
        (r = sql_query(s, &q, err,
                       "SELECT COALESCE(SUM(bytes),0) FROM disk_chunk WHERE" CHUNK_UNUSED, "")) <
            0 ||
        (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_bytes = r > 0 ? (uint64_t)sql_int(q, 0) : 0;
    if ((r = sql_run(s, err, "DELETE FROM disk_chunk WHERE" CHUNK_UNUSED, "")) < 0)
        return r;
    return sql_run(s, err,
                   "DELETE FROM disk_pack WHERE NOT EXISTS(SELECT 1 FROM disk_chunk c"
                   " WHERE c.pack_id=disk_pack.id)",
                   "");
}

int store_disk_packs(struct store *s, struct store_disk_pack **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_disk_pack *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err, "SELECT id, name FROM disk_pack", "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = (struct store_disk_pack){sql_int(q, 0), sql_text(q, 1)};
        list[n] = (struct store_disk_pack){0};
    }
    if (r < 0)
        store_disk_packs_free(list);
    else
        *ret = list;
    return r;
}

void store_disk_packs_free(struct store_disk_pack *list)
{
    for (struct store_disk_pack *p = list; p && p->name; p++)
        free(p->name);
    free(list);
}

int store_disk_pack_name(struct store *s, int64_t pack, char **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT name FROM disk_pack WHERE id=?", "i", pack);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}
