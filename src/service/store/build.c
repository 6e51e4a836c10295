#include "service/store/build.h"

#include "base/alloc.h"
#include "base/text.h"
#include "service/store/sql.h"

const char store_build_schema[] = "CREATE TABLE build_step("
                                  " key TEXT PRIMARY KEY NOT NULL,"
                                  " diff_id TEXT REFERENCES layer(diff_id),"
                                  " created_ns INTEGER NOT NULL,"
                                  " used_ns INTEGER NOT NULL"
                                  ") WITHOUT ROWID;"
                                  "CREATE INDEX build_step_by_diff_id ON build_step(diff_id);"
                                  "CREATE TABLE build_file("
                                  " device INTEGER NOT NULL,"
                                  " inode INTEGER NOT NULL,"
                                  " size INTEGER NOT NULL,"
                                  " mtime_ns INTEGER NOT NULL,"
                                  " ctime_ns INTEGER NOT NULL,"
                                  " digest BLOB NOT NULL,"
                                  " PRIMARY KEY(device, inode)"
                                  ") WITHOUT ROWID;";

/* A step's use is written down once a day: a build that finds everything writes nothing. */
#define USED_STEP_NS ((int64_t)86400 * 1000000000)

void store_step_done(struct store_step *step)
{
    free(step->diff_id);
    step->diff_id = NULL;
}

static int note_use(struct store *s, const char *key, int64_t used_ns, struct error *err)
{
    int64_t now = time_now_ns();
    if (now - used_ns < USED_STEP_NS && used_ns <= now)
        return 0;
    return sql_run(s, err, "UPDATE build_step SET used_ns=? WHERE key=?", "is", now, key);
}

int store_step_find(struct store *s, const char *key, struct store_step *ret, bool *ret_found,
                    struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT b.diff_id, l.bytes, l.tar_bytes, b.created_ns, b.used_ns"
                      " FROM build_step b LEFT JOIN layer l ON l.diff_id=b.diff_id WHERE b.key=?",
                      "s", key);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_found = r > 0;
    if (r == 0)
        return 0;
    *ret = (struct store_step){
        .diff_id = sql_text(q, 0),
        .bytes = (uint64_t)sql_int(q, 1),
        .tar_bytes = (uint64_t)sql_int(q, 2),
        .created_ns = sql_int(q, 3),
    };
    int64_t used_ns = sql_int(q, 4);
    sql_done(TAKE_PTR(q));
    return note_use(s, key, used_ns, err);
}

int store_step_add(struct store *s, const char *key, const struct store_layer *layer,
                   int64_t created_ns, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    if (layer)
        r = sql_run(s, err, "INSERT OR IGNORE INTO layer(diff_id, bytes, tar_bytes) VALUES(?,?,?)",
                    "sii", layer->diff_id, (int64_t)layer->bytes, (int64_t)layer->tar_bytes);
    if (r == 0)
        r = sql_run(s, err,
                    "INSERT OR REPLACE INTO build_step(key, diff_id, created_ns, used_ns)"
                    " VALUES(?,?,?,?)",
                    "ssii", key, layer ? layer->diff_id : NULL, created_ns, time_now_ns());
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

static int forget_rows(struct store *s, int64_t before_ns, struct store_layer **list,
                       struct error *err)
{
    int r = sql_run(s, err, "DELETE FROM build_step WHERE used_ns<?", "i", before_ns);
    if (r == 0)
        r = sql_run(s, err, "DELETE FROM build_file", "");
    return r < 0 ? r : store_layers_drop_unused(s, list, err);
}

int store_steps_forget(struct store *s, int64_t before_ns, struct store_layer **ret,
                       struct error *err)
{
    struct store_layer *list = xcalloc(1, sizeof(*list));
    int r = store_begin(s, err);
    if (r == 0) {
        r = forget_rows(s, before_ns, &list, err);
        int end = store_end(s, r == 0, r == 0 ? err : NULL);
        r = r < 0 ? r : end;
    }
    if (r < 0)
        store_layer_list_free(list);
    else
        *ret = list;
    return r;
}

int store_steps_usage(struct store *s, size_t *ret_steps, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r =
        sql_query(s, &q, err,
                  "SELECT (SELECT count(*) FROM build_step),"
                  " (SELECT coalesce(sum(bytes), 0) FROM layer l"
                  "  WHERE NOT EXISTS(SELECT 1 FROM image_layer il WHERE il.diff_id=l.diff_id))",
                  "");
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_steps = (size_t)sql_int(q, 0);
    *ret_bytes = (uint64_t)sql_int(q, 1);
    return 0;
}

/* --- files --- */

struct store_files {
    struct store *store;
    sqlite3_stmt *find, *set;
    struct fresh_file {
        struct stat st;
        unsigned char digest[STORE_DIGEST_BYTES];
    } * fresh;
    size_t n_fresh, room;
    bool reading;
};

static int64_t ns_of(struct timespec t)
{
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

int store_files_open(struct store *s, struct store_files **ret, struct error *err)
{
    struct store_files *f = xnew(struct store_files);
    f->store = s;
    int r = sql_query(s, &f->find, err,
                      "SELECT digest FROM build_file WHERE device=? AND inode=? AND size=?"
                      " AND mtime_ns=? AND ctime_ns=?",
                      "");
    if (r == 0)
        r = sql_query(s, &f->set, err,
                      "INSERT OR REPLACE INTO build_file"
                      "(device, inode, size, mtime_ns, ctime_ns, digest) VALUES(?,?,?,?,?,?)",
                      "");
    if (r < 0) {
        store_files_close(f);
        return r;
    }
    /* Without it each look-up takes and gives back the database's locks. */
    f->reading = s->depth == 0 && sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    *ret = f;
    return 0;
}

static void end_reading(struct store_files *f)
{
    if (f->reading)
        sqlite3_exec(f->store->db, "COMMIT", NULL, NULL, NULL);
    f->reading = false;
}

void store_files_close(struct store_files *f)
{
    if (!f)
        return;
    sqlite3_finalize(f->find);
    sqlite3_finalize(f->set);
    end_reading(f);
    free(f->fresh);
    free(f);
}

static void bind_file(sqlite3_stmt *q, const struct stat *st)
{
    const int64_t values[] = {(int64_t)st->st_dev, (int64_t)st->st_ino, (int64_t)st->st_size,
                              ns_of(st->st_mtim), ns_of(st->st_ctim)};
    sqlite3_reset(q);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        sqlite3_bind_int64(q, (int)i + 1, values[i]);
}

int store_files_find(struct store_files *f, const struct stat *st,
                     unsigned char ret[static STORE_DIGEST_BYTES], bool *ret_found,
                     struct error *err)
{
    bind_file(f->find, st);
    int r = sql_next(f->store, f->find, err);
    if (r < 0)
        return r;
    *ret_found = r > 0 && sqlite3_column_bytes(f->find, 0) == STORE_DIGEST_BYTES;
    if (*ret_found)
        memcpy(ret, sqlite3_column_blob(f->find, 0), STORE_DIGEST_BYTES);
    sqlite3_reset(f->find);
    return 0;
}

void store_files_set(struct store_files *f, const struct stat *st,
                     const unsigned char digest[static STORE_DIGEST_BYTES])
{
    if (f->n_fresh == f->room) {
        f->room = f->room ? 2 * f->room : 64;
        f->fresh = xreallocarray(f->fresh, f->room, sizeof(*f->fresh));
    }
    f->fresh[f->n_fresh].st = *st;
    memcpy(f->fresh[f->n_fresh++].digest, digest, STORE_DIGEST_BYTES);
}

static int write_fresh(struct store_files *f, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->n_fresh; i++) {
        bind_file(f->set, &f->fresh[i].st);
        sqlite3_bind_blob(f->set, 6, f->fresh[i].digest, STORE_DIGEST_BYTES, SQLITE_STATIC);
        r = sql_next(f->store, f->set, err);
        sqlite3_reset(f->set);
    }
    return r;
}

int store_files_write(struct store_files *f, struct error *err)
{
    end_reading(f);
    if (f->n_fresh == 0)
        return 0;
    int r = store_begin(f->store, err);
    if (r < 0)
        return r;
    r = write_fresh(f, err);
    int end = store_end(f->store, r == 0, r == 0 ? err : NULL);
    f->n_fresh = 0;
    return r < 0 ? r : end;
}
