#include "service/store/policy.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/store/sql.h"

const char store_policy_schema[] =
    "CREATE TABLE policy("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " kind INTEGER NOT NULL,"
    " stack TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " priority INTEGER NOT NULL,"
    " subject INTEGER NOT NULL,"
    " ingress INTEGER NOT NULL,"
    " egress INTEGER NOT NULL,"
    " json TEXT NOT NULL,"
    " created_ns INTEGER NOT NULL,"
    " UNIQUE(kind, stack, name));"
    "CREATE INDEX policy_by_subject ON policy(subject);"
    "CREATE TABLE policy_selector("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " text TEXT NOT NULL UNIQUE);"
    "CREATE TABLE policy_use("
    " policy INTEGER NOT NULL,"
    " selector INTEGER NOT NULL,"
    " PRIMARY KEY(policy, selector)) WITHOUT ROWID;"
    "CREATE INDEX policy_use_by_selector ON policy_use(selector);"
    "CREATE TABLE policy_member("
    " address TEXT PRIMARY KEY NOT NULL,"
    " instance_id TEXT NOT NULL,"
    " stack TEXT NOT NULL,"
    " labels TEXT NOT NULL,"
    " default_deny INTEGER NOT NULL,"
    " profile INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX policy_member_by_profile ON policy_member(profile);"
    "CREATE INDEX policy_member_by_instance ON policy_member(instance_id);"
    "CREATE TABLE policy_match("
    " selector INTEGER NOT NULL,"
    " address TEXT NOT NULL,"
    " PRIMARY KEY(selector, address)) WITHOUT ROWID;"
    "CREATE INDEX policy_match_by_address ON policy_match(address);"
    "CREATE TABLE policy_profile("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " stack_selector INTEGER NOT NULL,"
    " key TEXT NOT NULL UNIQUE);"
    "CREATE INDEX policy_profile_by_stack ON policy_profile(stack_selector);"
    "CREATE TABLE policy_default_deny(network_id TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;";

#define COLUMNS "policy.id,kind,policy.stack,name,priority,subject,ingress,egress,created_ns"
#define ORDER   " ORDER BY kind,priority,policy.stack,name"

void store_policy_done(struct store_policy *p)
{
    free(p->stack);
    free(p->name);
    free(p->json);
    *p = (struct store_policy){.id = 0};
}

void store_policy_list_free(struct store_policy *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        store_policy_done(&list[i]);
    free(list);
}

void store_selector_list_free(struct store_selector *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        free(list[i].text);
    free(list);
}

void store_profile_list_free(struct store_profile *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        free(list[i].key);
    free(list);
}

void store_policy_member_done(struct store_policy_member *m)
{
    free(m->address);
    free(m->instance_id);
    free(m->stack);
    free(m->labels);
    *m = (struct store_policy_member){.address = NULL};
}

void store_policy_member_list_free(struct store_policy_member *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        store_policy_member_done(&list[i]);
    free(list);
}

/* --- policies --- */

static void read_policy(sqlite3_stmt *q, bool json, struct store_policy *p)
{
    *p = (struct store_policy){
        .id = sql_int(q, 0),
        .kind = (int)sql_int(q, 1),
        .stack = sql_text(q, 2),
        .name = sql_text(q, 3),
        .priority = (uint32_t)sql_int(q, 4),
        .subject = sql_int(q, 5),
        .rules_for = {sql_int(q, 6) != 0, sql_int(q, 7) != 0},
        .created_ns = sql_int(q, 8),
        .json = json ? sql_text(q, 9) : NULL,
    };
}

/* The rows of a query, read to its end; r is what making the query gave. */
static int read_policies(struct store *s, int r, sqlite3_stmt *q, bool json,
                         struct store_policy **ret, size_t *ret_n, struct error *err)
{
    struct store_policy *list = NULL;
    size_t n = 0;
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 1, sizeof(*list));
        read_policy(q, json, &list[n++]);
    }
    if (r < 0) {
        store_policy_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int store_policy_add(struct store *s, struct store_policy *p, struct error *err)
{
    int r =
        sql_run(s, err,
                "INSERT INTO policy(kind,stack,name,priority,subject,ingress,egress,json,"
                "created_ns) VALUES(?,?,?,?,?,?,?,?,?)",
                "issiiiisi", (int64_t)p->kind, p->stack, p->name, (int64_t)p->priority, p->subject,
                (int64_t)p->rules_for[0], (int64_t)p->rules_for[1], p->json, p->created_ns);
    if (r == 0)
        p->id = sqlite3_last_insert_rowid(s->db);
    return r;
}

int store_policy_list(struct store *s, struct store_policy **ret, size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT " COLUMNS ",json FROM policy" ORDER, "");
    return read_policies(s, r, q, true, ret, ret_n, err);
}

int store_policy_get(struct store *s, int64_t id, struct store_policy *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, "SELECT " COLUMNS ",json FROM policy WHERE id=?", "i", id);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "there is no policy %lld", (long long)id);
    read_policy(q, true, ret);
    return 0;
}

int store_policy_find(struct store *s, const char *stack, const char *name,
                      struct store_policy *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_policy *list = NULL;
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT " COLUMNS ",json FROM policy WHERE name=?1 AND (?2 IS NULL OR"
                      " stack=?2)" ORDER,
                      "ss", name, stack);
    r = read_policies(s, r, q, true, &list, &n, err);
    if (r < 0)
        return r;
    if (n == 1) {
        *ret = list[0];
        free(list);
        return 0;
    }
    store_policy_list_free(list, n);
    if (n == 0)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "there is no policy %s%s%s",
                         stack ? stack : "", stack && *stack ? "/" : "", name);
    return error_set(err, ERROR_CONFLICT, EEXIST,
                     "%s is the name of several policies: say STACK/%s, or /%s for the "
                     "administrators' one",
                     name, name, name);
}

int store_policy_remove(struct store *s, int64_t id, struct error *err)
{
    int r = sql_run(s, err, "DELETE FROM policy_use WHERE policy=?", "i", id);
    return r < 0 ? r : sql_run(s, err, "DELETE FROM policy WHERE id=?", "i", id);
}

int store_policy_applied(struct store *s, const char *address, struct store_policy **ret,
                         size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT " COLUMNS " FROM policy_match JOIN policy ON subject=selector"
                      " WHERE address=?" ORDER,
                      "s", address);
    return read_policies(s, r, q, false, ret, ret_n, err);
}

int store_policy_use(struct store *s, int64_t policy, int64_t selector, struct error *err)
{
    return sql_run(s, err, "INSERT OR IGNORE INTO policy_use VALUES(?,?)", "ii", policy, selector);
}

/* --- texts with numbers: selectors and profiles --- */

static int find_number(struct store *s, const char *sql, const char *text, int64_t *ret,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err, sql, "s", text);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r > 0)
        *ret = sql_int(q, 0);
    return r;
}

int store_selector_put(struct store *s, const char *text, int64_t *ret_id, bool *ret_added,
                       struct error *err)
{
    int r = find_number(s, "SELECT id FROM policy_selector WHERE text=?", text, ret_id, err);
    *ret_added = r == 0;
    if (r != 0)
        return r < 0 ? r : 0;
    r = sql_run(s, err, "INSERT INTO policy_selector(text) VALUES(?)", "s", text);
    if (r == 0)
        *ret_id = sqlite3_last_insert_rowid(s->db);
    return r;
}

/* The rows of a query, read to its end; r is what making the query gave. */
static int read_selectors(struct store *s, int r, sqlite3_stmt *q, struct store_selector **ret,
                          size_t *ret_n, struct error *err)
{
    struct store_selector *list = NULL;
    size_t n = 0;
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 1, sizeof(*list));
        list[n++] = (struct store_selector){sql_int(q, 0), sql_text(q, 1)};
    }
    if (r < 0) {
        store_selector_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int store_selector_list(struct store *s, const char *prefix, struct store_selector **ret,
                        size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT id,text FROM policy_selector WHERE text GLOB ?||'*' ORDER BY id", "s",
                      prefix);
    return read_selectors(s, r, q, ret, ret_n, err);
}

/* What policies use that select a member. */
#define USED                                                                                       \
    " FROM policy_selector used JOIN policy_use ON used.id=policy_use.selector"                    \
    " JOIN policy ON policy.id=policy_use.policy"                                                  \
    " JOIN policy_match ON policy_match.selector=policy.subject"                                   \
    " JOIN policy_member ON policy_member.address=policy_match.address"                            \
    " WHERE used.text GLOB ?1||'*'"

int store_selector_list_of(struct store *s, const char *prefix, const char *instance_id,
                           struct store_selector **ret, size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT DISTINCT used.id,used.text" USED " AND instance_id=?2"
                      " ORDER BY used.id",
                      "ss", prefix, instance_id);
    return read_selectors(s, r, q, ret, ret_n, err);
}

int store_selector_instances(struct store *s, const char *prefix, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **list = strv_copy(NULL);
    int r = sql_query(s, &q, err, "SELECT DISTINCT instance_id" USED " AND profile>0", "s", prefix);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&list, sql_text(q, 0));
    if (r == 0)
        *ret = TAKE_PTR(list);
    return r;
}

int store_profile_put(struct store *s, const char *key, int64_t stack_selector, int64_t *ret_id,
                      bool *ret_added, struct error *err)
{
    int r = find_number(s, "SELECT id FROM policy_profile WHERE key=?", key, ret_id, err);
    *ret_added = r == 0;
    if (r != 0)
        return r < 0 ? r : 0;
    r = sql_run(s, err, "INSERT INTO policy_profile(stack_selector,key) VALUES(?,?)", "is",
                stack_selector, key);
    if (r == 0)
        *ret_id = sqlite3_last_insert_rowid(s->db);
    return r;
}

int store_profile_list(struct store *s, int64_t id, struct store_profile **ret, size_t *ret_n,
                       struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_profile *list = NULL;
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT id,stack_selector,key FROM policy_profile WHERE ?1=0 OR id=?1"
                      " ORDER BY id",
                      "i", id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 1, sizeof(*list));
        list[n++] = (struct store_profile){sql_int(q, 0), sql_int(q, 1), sql_text(q, 2)};
    }
    if (r < 0) {
        store_profile_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

/* --- members and what fits them --- */

int store_policy_member_put(struct store *s, const struct store_policy_member *m, struct error *err)
{
    return sql_run(s, err, "INSERT OR REPLACE INTO policy_member VALUES(?,?,?,?,?,?)", "ssssii",
                   m->address, m->instance_id, m->stack, m->labels, (int64_t)m->default_deny,
                   m->profile);
}

int store_policy_member_list(struct store *s, const char *address, const char *instance_id,
                             struct store_policy_member **ret, size_t *ret_n, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_policy_member *list = NULL;
    const char *where = address       ? " WHERE address=?1"
                        : instance_id ? " WHERE instance_id=?1"
                                      : " WHERE ?1 IS NULL";
    _cleanup_free_ char *sql =
        xasprintf("SELECT address,instance_id,stack,labels,default_deny,profile"
                  " FROM policy_member%s ORDER BY address",
                  where);
    size_t n = 0;
    int r = sql_query(s, &q, err, sql, "s", address ? address : instance_id);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 1, sizeof(*list));
        list[n++] = (struct store_policy_member){sql_text(q, 0), sql_text(q, 1),     sql_text(q, 2),
                                                 sql_text(q, 3), sql_int(q, 4) != 0, sql_int(q, 5)};
    }
    if (r < 0) {
        store_policy_member_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int store_policy_member_remove(struct store *s, const char *address, struct error *err)
{
    int r = sql_run(s, err, "DELETE FROM policy_match WHERE address=?", "s", address);
    return r < 0 ? r : sql_run(s, err, "DELETE FROM policy_member WHERE address=?", "s", address);
}

int store_policy_match_add(struct store *s, int64_t selector, const char *address,
                           struct error *err)
{
    return sql_run(s, err, "INSERT OR IGNORE INTO policy_match VALUES(?,?)", "is", selector,
                   address);
}

int store_policy_match_list(struct store *s, int64_t selector, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **list = strv_copy(NULL);
    int r =
        sql_query(s, &q, err, "SELECT address FROM policy_match WHERE selector=?", "i", selector);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&list, sql_text(q, 0));
    if (r == 0)
        *ret = TAKE_PTR(list);
    return r;
}

/* The numbers of a query's first column, ended by 0. */
static int read_numbers(struct store *s, int r, sqlite3_stmt *q, int64_t **ret, struct error *err)
{
    int64_t *list = xcalloc(1, sizeof(*list));
    size_t n = 0;
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 2, sizeof(*list));
        list[n++] = sql_int(q, 0);
        list[n] = 0;
    }
    if (r < 0)
        free(list);
    else
        *ret = list;
    return r;
}

int store_policy_match_of(struct store *s, const char *address, int64_t **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r =
        sql_query(s, &q, err, "SELECT selector FROM policy_match WHERE address=?", "s", address);
    return read_numbers(s, r, q, ret, err);
}

/* --- what nobody needs any more --- */

/* ?1: the plain profile of a stack that is kept for the next start. */
#define IDLE_PROFILES                                                                              \
    "SELECT id FROM policy_profile WHERE NOT EXISTS(SELECT 1 FROM policy_member WHERE"             \
    " profile=policy_profile.id)"                                                                  \
    " AND NOT (key='S'||stack_selector||' D0' AND stack_selector="                                 \
    "(SELECT id FROM policy_selector WHERE text=?1))"
#define IDLE_SELECTORS                                                                             \
    "SELECT id FROM policy_selector WHERE"                                                         \
    " NOT EXISTS(SELECT 1 FROM policy_use WHERE selector=policy_selector.id)"                      \
    " AND NOT EXISTS(SELECT 1 FROM policy_profile WHERE stack_selector=policy_selector.id)"

static int sweep(struct store *s, const char *select, const char *delete, const char *keep,
                 int64_t **ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_free_ int64_t *list = NULL;
    int r = sql_query(s, &q, err, select, keep ? "s" : "", keep);
    r = read_numbers(s, r, q, &list, err);
    for (size_t i = 0; r == 0 && list[i]; i++)
        r = sql_run(s, err, delete, "i", list[i]);
    if (r == 0)
        *ret = TAKE_PTR(list);
    return r;
}

int store_policy_sweep(struct store *s, const char *keep, int64_t **ret_profiles,
                       int64_t **ret_selectors, struct error *err)
{
    _cleanup_free_ int64_t *profiles = NULL, *selectors = NULL;
    int r = sweep(s, IDLE_PROFILES, "DELETE FROM policy_profile WHERE id=?", keep, &profiles, err);
    if (r == 0)
        r = sweep(s, IDLE_SELECTORS, "DELETE FROM policy_selector WHERE id=?", NULL, &selectors,
                  err);
    for (size_t i = 0; r == 0 && selectors[i]; i++)
        r = sql_run(s, err, "DELETE FROM policy_match WHERE selector=?", "i", selectors[i]);
    if (r < 0)
        return r;
    *ret_profiles = TAKE_PTR(profiles);
    *ret_selectors = TAKE_PTR(selectors);
    return 0;
}

int store_policy_set_default_deny(struct store *s, const char *network_id, struct error *err)
{
    return sql_run(s, err, "INSERT OR IGNORE INTO policy_default_deny VALUES(?)", "s", network_id);
}

int store_policy_default_deny(struct store *s, const char *network, bool *ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    int r = sql_query(s, &q, err,
                      "SELECT 1 FROM network JOIN policy_default_deny ON network_id=id"
                      " WHERE name=?",
                      "s", network);
    if (r == 0)
        r = sql_next(s, q, err);
    if (r >= 0)
        *ret = r > 0;
    return r < 0 ? r : 0;
}
