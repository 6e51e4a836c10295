#include "service/store/content.h"

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/sql.h"

const char store_content_schema[] =
    "CREATE TABLE content_blob("
    " repository TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " added_ns INTEGER NOT NULL,"
    " PRIMARY KEY(repository, digest)"
    ") WITHOUT ROWID;"
    "CREATE INDEX content_blob_by_digest ON content_blob(digest);"
    "CREATE TABLE content_manifest("
    " repository TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " media_type TEXT NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " subject TEXT,"
    " artifact_type TEXT,"
    " annotations TEXT,"
    " added_ns INTEGER NOT NULL,"
    " PRIMARY KEY(repository, digest)"
    ") WITHOUT ROWID;"
    "CREATE INDEX content_manifest_by_digest ON content_manifest(digest);"
    "CREATE INDEX content_manifest_by_subject ON content_manifest(repository, subject);"
    "CREATE TABLE content_tag("
    " repository TEXT NOT NULL,"
    " tag TEXT NOT NULL,"
    " digest TEXT NOT NULL,"
    " image_id TEXT,"
    " PRIMARY KEY(repository, tag),"
    " FOREIGN KEY(repository, digest) REFERENCES content_manifest(repository, digest)"
    "  ON DELETE CASCADE"
    ") WITHOUT ROWID;"
    "CREATE INDEX content_tag_by_digest ON content_tag(repository, digest);"
    "CREATE TABLE content_made("
    " image_id TEXT PRIMARY KEY NOT NULL REFERENCES image(id) ON DELETE CASCADE,"
    " digest TEXT NOT NULL,"
    " bytes INTEGER NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE INDEX content_made_by_digest ON content_made(digest);";

/* The names of a repository's images: "REPOSITORY:TAG", and not "HOST:PORT/PATH:TAG" of a
 * repository that is called like the host. */
#define NAME_IN_REPOSITORY                                                                         \
    " n.name>=?1||':' AND n.name<?1||';' AND instr(substr(n.name, length(?1)+2), '/')=0"

#define MANIFEST_COLUMNS "digest, media_type, subject, artifact_type, annotations, bytes"

void store_manifest_done(struct store_manifest *m)
{
    free(m->digest);
    free(m->media_type);
    free(m->subject);
    free(m->artifact_type);
    free(m->annotations);
    memset(m, 0, sizeof(*m));
}

void store_manifest_list_free(struct store_manifest *list)
{
    for (struct store_manifest *m = list; m && m->digest; m++)
        store_manifest_done(m);
    free(list);
}

static struct store_manifest manifest_from_row(sqlite3_stmt *q)
{
    return (struct store_manifest){
        .digest = sql_text(q, 0),
        .media_type = sql_text(q, 1),
        .subject = sql_text(q, 2),
        .artifact_type = sql_text(q, 3),
        .annotations = sql_text(q, 4),
        .bytes = (uint64_t)sql_int(q, 5),
    };
}

/* --- blobs --- */

int store_content_add_blob(struct store *s, const char *repository, const char *digest,
                           uint64_t bytes, struct error *err)
{
    return sql_run(s, err,
                   "INSERT INTO content_blob(repository, digest, bytes, added_ns) VALUES(?,?,?,?)"
                   " ON CONFLICT(repository, digest) DO UPDATE SET added_ns=excluded.added_ns",
                   "ssii", repository, digest, (int64_t)bytes, time_now_ns());
}

int store_content_find_blob(struct store *s, const char *repository, const char *digest,
                            bool *ret_found, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT bytes FROM content_blob"
                      " WHERE digest=?1 AND (?2 IS NULL OR repository=?2) LIMIT 1",
                      "ss", digest, repository);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_found = r > 0;
    *ret_bytes = r > 0 ? (uint64_t)sql_int(q, 0) : 0;
    return 0;
}

/* Removes rows and says whether there were any. */
static int remove_row(struct store *s, const char *sql, const char *repository, const char *name,
                      bool *ret_removed, struct error *err)
{
    int r = sql_run(s, err, sql, "ss", repository, name);
    if (r == 0)
        *ret_removed = sqlite3_changes(s->db) > 0;
    return r;
}

int store_content_remove_blob(struct store *s, const char *repository, const char *digest,
                              bool *ret_removed, struct error *err)
{
    return remove_row(s, "DELETE FROM content_blob WHERE repository=? AND digest=?", repository,
                      digest, ret_removed, err);
}

/* --- manifests --- */

int store_content_add_manifest(struct store *s, const char *repository,
                               const struct store_manifest *m, struct error *err)
{
    return sql_run(s, err,
                   "INSERT INTO content_manifest(repository, " MANIFEST_COLUMNS ", added_ns)"
                   " VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(repository, digest) DO UPDATE"
                   " SET media_type=excluded.media_type, added_ns=excluded.added_ns",
                   "ssssssii", repository, m->digest, m->media_type, m->subject, m->artifact_type,
                   m->annotations, (int64_t)m->bytes, time_now_ns());
}

int store_content_find_manifest(struct store *s, const char *repository, const char *digest,
                                bool *ret_found, struct store_manifest *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT " MANIFEST_COLUMNS " FROM content_manifest"
                      " WHERE repository=? AND digest=?",
                      "ss", repository, digest);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_found = r > 0;
    if (r > 0)
        *ret = manifest_from_row(q);
    return 0;
}

int store_content_remove_manifest(struct store *s, const char *repository, const char *digest,
                                  bool *ret_removed, struct error *err)
{
    return remove_row(s, "DELETE FROM content_manifest WHERE repository=? AND digest=?", repository,
                      digest, ret_removed, err);
}

int store_content_referrers(struct store *s, const char *repository, const char *subject,
                            struct store_manifest **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_manifest *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT " MANIFEST_COLUMNS " FROM content_manifest"
                      " WHERE repository=? AND subject=? ORDER BY digest",
                      "ss", repository, subject);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = manifest_from_row(q);
        memset(&list[n], 0, sizeof(*list));
    }
    if (r < 0)
        store_manifest_list_free(list);
    else
        *ret = list;
    return r;
}

/* --- tags --- */

int store_content_set_tag(struct store *s, const char *repository, const char *tag,
                          const char *digest, const char *image_id, struct error *err)
{
    return sql_run(s, err,
                   "INSERT INTO content_tag(repository, tag, digest, image_id) VALUES(?,?,?,?)"
                   " ON CONFLICT(repository, tag)"
                   " DO UPDATE SET digest=excluded.digest, image_id=excluded.image_id",
                   "ssss", repository, tag, digest, image_id);
}

int store_content_find_tag(struct store *s, const char *repository, const char *tag,
                           char **ret_digest, char **ret_image_id, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT digest, image_id FROM content_tag WHERE repository=? AND tag=?", "ss",
                      repository, tag);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_digest = r > 0 ? sql_text(q, 0) : NULL;
    *ret_image_id = r > 0 ? sql_text(q, 1) : NULL;
    return 0;
}

int store_content_remove_tag(struct store *s, const char *repository, const char *tag,
                             bool *ret_removed, struct error *err)
{
    return remove_row(s, "DELETE FROM content_tag WHERE repository=? AND tag=?", repository, tag,
                      ret_removed, err);
}

static int take_column(struct store *s, sqlite3_stmt *q, char ***ret, struct error *err)
{
    char **list = strv_copy(NULL);
    int r;
    while ((r = sql_next(s, q, err)) > 0)
        strv_take(&list, sql_text(q, 0));
    if (r < 0)
        strv_free(list);
    else
        *ret = list;
    return r;
}

int store_content_tags(struct store *s, const char *repository, const char *digest, char ***ret,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT tag FROM content_tag"
                      " WHERE repository=?1 AND (?2 IS NULL OR digest=?2)"
                      " UNION SELECT substr(n.name, length(?1)+2) FROM image_name n"
                      " WHERE ?2 IS NULL AND" NAME_IN_REPOSITORY " ORDER BY 1",
                      "ss", repository, digest);
    return r < 0 ? r : take_column(s, q, ret, err);
}

int store_content_repositories(struct store *s, char ***ret, struct error *err)
{
    /* The tag is what follows the last colon: rtrim takes off what a tag can be made of. */
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT repository FROM content_manifest UNION"
                      " SELECT repository FROM content_blob UNION"
                      " SELECT substr(t, 1, length(t)-1) FROM (SELECT rtrim(name,"
                      " 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-') AS t"
                      " FROM image_name) ORDER BY 1",
                      "");
    return r < 0 ? r : take_column(s, q, ret, err);
}

/* --- images --- */

int store_content_of_image(struct store *s, const char *repository, const char *digest,
                           bool *ret_found, bool *ret_layer, uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT 0, 0 FROM image_name n WHERE n.image_id=?2 AND" NAME_IN_REPOSITORY
                      " UNION ALL SELECT 1, l.tar_bytes FROM layer l"
                      " JOIN image_layer il ON il.diff_id=l.diff_id"
                      " JOIN image_name n ON n.image_id=il.image_id"
                      " WHERE l.diff_id=?2 AND" NAME_IN_REPOSITORY " LIMIT 1",
                      "ss", repository, digest);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_found = r > 0;
    *ret_layer = r > 0 && sql_int(q, 0) != 0;
    *ret_bytes = r > 0 ? (uint64_t)sql_int(q, 1) : 0;
    return 0;
}

int store_content_made(struct store *s, const char *image_id, char **ret_digest,
                       uint64_t *ret_bytes, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT digest, bytes FROM content_made WHERE image_id=?", "s",
                      image_id);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_digest = r > 0 ? sql_text(q, 0) : NULL;
    *ret_bytes = r > 0 ? (uint64_t)sql_int(q, 1) : 0;
    return 0;
}

int store_content_set_made(struct store *s, const char *image_id, const char *digest,
                           uint64_t bytes, struct error *err)
{
    return sql_run(s, err,
                   "INSERT OR REPLACE INTO content_made(image_id, digest, bytes) VALUES(?,?,?)",
                   "ssi", image_id, digest, (int64_t)bytes);
}

int store_content_made_image(struct store *s, const char *repository, const char *digest,
                             char **ret_image_id, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT m.image_id FROM content_made m"
                      " JOIN image_name n ON n.image_id=m.image_id"
                      " WHERE m.digest=?2 AND" NAME_IN_REPOSITORY " LIMIT 1",
                      "ss", repository, digest);
    if (r < 0 || (r = sql_next(s, q, err)) < 0)
        return r;
    *ret_image_id = r > 0 ? sql_text(q, 0) : NULL;
    return 0;
}

/* --- all of it --- */

void store_content_list_free(struct store_content *list)
{
    for (struct store_content *c = list; c && c->digest; c++)
        free(c->digest);
    free(list);
}

static int take_content(struct store *s, sqlite3_stmt *q, struct store_content **ret,
                        struct error *err)
{
    struct store_content *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r;
    while ((r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = (struct store_content){sql_text(q, 0), (uint64_t)sql_int(q, 1)};
        memset(&list[n], 0, sizeof(*list));
    }
    if (r < 0)
        store_content_list_free(list);
    else
        *ret = list;
    return r;
}

int store_content_list(struct store *s, struct store_content **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT digest, bytes FROM content_blob UNION"
                      " SELECT digest, bytes FROM content_manifest UNION"
                      " SELECT digest, bytes FROM content_made ORDER BY 1",
                      "");
    return r < 0 ? r : take_content(s, q, ret, err);
}

int store_content_forget(struct store *s, const char *digest, struct error *err)
{
    static const char *const removals[] = {"DELETE FROM content_blob WHERE digest=?",
                                           "DELETE FROM content_manifest WHERE digest=?",
                                           "DELETE FROM content_made WHERE digest=?"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(removals); i++)
        r = sql_run(s, err, removals[i], "s", digest);
    return r;
}

void store_content_entries_free(struct store_content_entry *list)
{
    for (struct store_content_entry *e = list; e && e->repository; e++) {
        free(e->repository);
        free(e->tag);
        free(e->digest);
        free(e->media_type);
        free(e->subject);
    }
    free(list);
}

int store_content_entries(struct store *s, const char *repository, struct store_content_entry **ret,
                          struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_content_entry *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT m.repository, t.tag, m.digest, m.media_type, m.subject, m.bytes,"
                      " m.added_ns FROM content_manifest m LEFT JOIN content_tag t"
                      " ON t.repository=m.repository AND t.digest=m.digest"
                      " WHERE ?1 IS NULL OR m.repository=?1 ORDER BY 1, 2, 3",
                      "s", repository);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = (struct store_content_entry){
            .repository = sql_text(q, 0),
            .tag = sql_text(q, 1),
            .digest = sql_text(q, 2),
            .media_type = sql_text(q, 3),
            .subject = sql_text(q, 4),
            .bytes = (uint64_t)sql_int(q, 5),
            .added_ns = sql_int(q, 6),
        };
        memset(&list[n], 0, sizeof(*list));
    }
    if (r < 0)
        store_content_entries_free(list);
    else
        *ret = list;
    return r;
}

int store_content_blobs(struct store *s, const char *repository, int64_t before_ns,
                        struct store_content **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT digest, bytes FROM content_blob"
                      " WHERE repository=? AND added_ns<? ORDER BY digest",
                      "si", repository, before_ns);
    return r < 0 ? r : take_content(s, q, ret, err);
}
