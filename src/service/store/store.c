#include "service/store/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/behind.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "base/user_dirs.h"
#include "service/store/sql.h"

#define STORE_DEFAULT_ROOT "/var/lib/proa"
#define STORE_BUSY_MS      30000
#define STORE_LOG_PAGES    200 /* with more, the log is folded into the file behind the command */
#define STORE_LOG_MOST     2000

/* Directories below ROOT and RUN that every command may count on. */
static const char *const root_dirs[] = {"",        "layers",   "blobs/sha256", "instances",
                                        "volumes", "cache",    "tmp",          "partial",
                                        "disks",   "snapshots"};
static const char *const run_dirs[] = {"", "layers", "instances", "networks"};

static int make_dirs(const char *top, const char *const *dirs, size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *path = *dirs[i] ? path_join(top, dirs[i]) : xstrdup(top);
        int r = path_make_dirs(path, 0700);
        if (r < 0)
            return error_errno(err, r, "create %s", path);
        if (!*dirs[i] && chmod(path, 0700) < 0) /* a mount point made by somebody else */
            return error_errno(err, errno, "make %s private", path);
    }
    return 0;
}

static int schema_version(struct store *s, int64_t *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    int r = sql_query(s, &stmt, err, "PRAGMA user_version", "");
    if (r < 0)
        return r;
    r = sql_next(s, stmt, err);
    if (r < 0)
        return r;
    *ret = sql_int(stmt, 0);
    return 0;
}

/* Version 1, and then one step from each version to the next. */
static const char *const first_version[] = {store_image_schema, store_instance_schema,
                                            store_network_schema, store_volume_schema};
static const char *const steps[] = {
    store_registry_schema, store_content_schema,    store_build_schema,  store_disk_schema,
    store_snapshot_schema, store_ports_schema,      store_policy_schema, store_arriving_schema,
    store_rate_schema,     store_spare_schema,      store_lease_schema,  store_priority_schema,
    store_heard_schema,    store_connections_schema};
enum { STORE_VERSION = 1 + ARRAY_SIZE(steps) };

static int run_sql(struct store *s, const char *sql, struct error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(s, sqlite3_errcode(s->db), err, "create tables");
    return 0;
}

/* From that version to ours. */
static int create_tables(struct store *s, int64_t version, struct error *err)
{
    char set_version[64];
    int r = 0;
    for (size_t i = 0; r == 0 && version == 0 && i < ARRAY_SIZE(first_version); i++)
        r = run_sql(s, first_version[i], err);
    for (int64_t i = MAX(version, (int64_t)1) - 1; r == 0 && i < (int64_t)ARRAY_SIZE(steps); i++)
        r = run_sql(s, steps[i], err);
    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", STORE_VERSION);
    return r < 0 ? r : run_sql(s, set_version, err);
}

/* Two commands may find an old or empty file at once: look again inside the transaction. */
static int upgrade(struct store *s, struct error *err)
{
    int64_t version = 0;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = schema_version(s, &version, err);
    if (r == 0 && version < STORE_VERSION)
        r = create_tables(s, version, err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

static int prepare_schema(struct store *s, struct error *err)
{
    int64_t version = 0;
    int r = schema_version(s, &version, err);
    if (r < 0)
        return r;
    if (version < STORE_VERSION)
        return upgrade(s, err);
    if (version > STORE_VERSION)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s/proa.db: written by a newer proa (schema %lld, this one knows %d)",
                         s->root, (long long)version, STORE_VERSION);
    return 0;
}

/* Whoever opens the database with nobody else in it reads the whole log: 4 ms for 4 MiB. So it is
 * kept short, and folded by a process behind the one that made it long; by a commit only when that
 * does not come to it. */
static int note_log(void *context, sqlite3 *db, const char *name, int pages)
{
    struct store *s = context;
    s->logged = pages;
    if (pages >= STORE_LOG_MOST)
        sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return SQLITE_OK; /* the commit has happened */
}

/* The caller's connection is closed: SQLite's knowledge of its locks does not survive a fork. */
static void fold_log(void *context)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(context, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_exec(db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
        sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    sqlite3_close(db);
}

static int open_database(struct store *s, struct error *err)
{
    /* WAL with synchronous=NORMAL: a commit survives any kill, without a sync each. */
    static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                                  "PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;";
    _cleanup_free_ char *path = path_join(s->root, "proa.db");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        return sql_error(s, sqlite3_errcode(s->db), err, "open");
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
    /* Every command is the last one to close, again and again: the log is folded into the file when
     * it has grown, not with two disk syncs at each exit. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_hook(s->db, note_log, s);
    if (sqlite3_exec(s->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(s, sqlite3_errcode(s->db), err, "open");
    return prepare_schema(s, err);
}

/* Of the host's root, or of an ordinary user. */
static int default_directories(char **ret_root, char **ret_run, struct error *err)
{
    _cleanup_free_ char *data = NULL, *runtime = NULL;
    if (process_is_host_root()) {
        *ret_root = xstrdup(STORE_DEFAULT_ROOT);
        *ret_run = xstrdup(STORE_DEFAULT_RUN);
        return 0;
    }
    int r = user_runtime_dir(&runtime, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *root = user_data_dir(&data, NULL) == 0 ? path_join(data, "proa") : NULL;
    *ret_root = root ? path_normalize(root) : NULL;
    *ret_run = path_join(runtime, "proa");
    return 0;
}

/* What must not outlive a reboot is on /run, whatever the root: RUN of another root is named by a
 * fingerprint of its path. */
static void set_run(struct store *s, const char *default_root, const char *default_run)
{
    uint64_t h = fingerprint(s->root, strlen(s->root));
    s->tag = (uint32_t)(h ^ h >> 32);
    if (default_root && strcmp(s->root, default_root) == 0)
        s->tag = 0;
    /* Short: a socket path below it must fit into 108 bytes (unix(7)). */
    s->run =
        s->tag ? xasprintf("%s-%08x", default_run, (unsigned int)s->tag) : xstrdup(default_run);
}

struct store_table store_table(const struct store *s, const char *word)
{
    struct store_table t;
    if (s->tag)
        snprintf(t.name, sizeof(t.name), "%s-%08x", word, (unsigned int)s->tag);
    else
        snprintf(t.name, sizeof(t.name), "%s", word);
    return t;
}

static int set_directories(struct store *s, const char *root, struct error *err)
{
    _cleanup_free_ char *default_root = NULL, *default_run = NULL, *data = NULL;
    const char *given = root ? root : getenv("PROA_ROOT");
    int r = default_directories(&default_root, &default_run, err);
    if (r == 0 && (!given || !*given) && !default_root)
        r = user_data_dir(&data, err); /* says why there is none */
    if (r < 0)
        return r;
    if (!given || !*given)
        given = default_root;
    if (given[0] != '/') {
        char here[4096];
        if (!getcwd(here, sizeof(here)))
            return error_errno(err, errno, "find the current directory");
        _cleanup_free_ char *joined = path_join(here, given);
        s->root = path_normalize(joined);
    } else {
        s->root = path_normalize(given);
    }
    set_run(s, default_root, default_run);
    return 0;
}

/* A database that is there implies the directories beside it, except RUN's after a reboot. */
static int prepare_directories(struct store *s, struct error *err)
{
    _cleanup_free_ char *database = path_join(s->root, "proa.db");
    _cleanup_free_ char *last = path_join(s->run, "networks");
    if (access(database, F_OK) < 0) {
        int r = make_dirs(s->root, root_dirs, ARRAY_SIZE(root_dirs), err);
        if (r < 0)
            return r;
    }
    return access(last, F_OK) < 0 ? make_dirs(s->run, run_dirs, ARRAY_SIZE(run_dirs), err) : 0;
}

int store_open(const char *root, struct store **ret, struct error *err)
{
    struct store *s = xnew(struct store);
    mode_t mask = umask(0077);
    int r = set_directories(s, root, err);
    if (r == 0)
        r = prepare_directories(s, err);
    if (r == 0)
        r = open_database(s, err);
    umask(mask);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_close(s->db);
    if (s->logged > STORE_LOG_PAGES) {
        _cleanup_free_ char *path = path_join(s->root, "proa.db");
        (void)!behind(fold_log, path, NULL, 0);
    }
    free(s->policy);
    free(s->root);
    free(s->run);
    free(s);
}

/* SQLite's own check of pages, indexes and NOT NULLs, then of the references between tables. */
int store_check(struct store *s, char ***ret_faults, struct error *err)
{
    static const struct {
        const char *sql, *what;
        int column;
    } checks[] = {
        {"PRAGMA integrity_check(20)", "proa.db", 0},
        {"PRAGMA foreign_key_check", "proa.db: a row names what is not there: table", 0},
    };
    _cleanup_strv_ char **faults = strv_copy(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        _cleanup_sql_ sqlite3_stmt *q = NULL;
        int r = sql_query(s, &q, err, checks[i].sql, "");
        while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
            _cleanup_free_ char *text = sql_text(q, checks[i].column);
            if (text && strcmp(text, "ok") != 0)
                strv_addf(&faults, "%s: %s", checks[i].what, text);
        }
        if (r < 0)
            return r;
    }
    *ret_faults = TAKE_PTR(faults);
    return 0;
}

int store_begin(struct store *s, struct error *err)
{
    if (s->depth++ > 0)
        return 0;
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        s->depth--;
        return sql_error(s, sqlite3_errcode(s->db), err, "begin");
    }
    return 0;
}

int store_end(struct store *s, bool ok, struct error *err)
{
    if (--s->depth > 0)
        return 0;
    if (ok && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    int r = ok ? sql_error(s, sqlite3_errcode(s->db), err, "commit") : 0;
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}
