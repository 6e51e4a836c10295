#include "service/store/sql.h"

#include <stdarg.h>

#include "base/alloc.h"

/* One line for the caller from whatever SQLite says; the kind follows from the result code. */
int sql_error(struct store *s, int code, struct error *err, const char *what)
{
    const char *text = sqlite3_errmsg(s->db);
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return error_set(err, ERROR_CONFLICT, EEXIST, "store: %s", text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(err, ERROR_CONFLICT, EBUSY, "store: %s: another command holds the store",
                         what);
    case SQLITE_FULL:
        return error_set(err, ERROR_LIMIT, ENOSPC, "store: no space left on the disk of %s",
                         s->root);
    case SQLITE_READONLY:
        return error_set(err, ERROR_DENIED, EROFS, "store: %s/proa.db is read-only", s->root);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        if (access(s->root, W_OK) < 0) /* the kernel's reason says more than SQLite's */
            return error_errno(err, errno, "store: write below %s", s->root);
        return error_set(err, ERROR_DENIED, EACCES, "store: %s: %s", what, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, ERROR_CORRUPT, EBADMSG, "store: %s/proa.db: %s", s->root, text);
    case SQLITE_TOOBIG:
        return error_set(err, ERROR_LIMIT, EFBIG, "store: %s: %s", what, text);
    default:
        return error_set(err, ERROR_SYSTEM, EIO, "store: %s: %s", what, text);
    }
}

static int bind_blob(sqlite3_stmt *stmt, int index, const void *data, size_t len)
{
    if (!data)
        return sqlite3_bind_null(stmt, index);
    return sqlite3_bind_blob64(stmt, index, data, len, SQLITE_TRANSIENT);
}

static int bind_all(sqlite3_stmt *stmt, const char *types, va_list *ap)
{
    int code = SQLITE_OK;
    for (int i = 0; types[i] && code == SQLITE_OK; i++) {
        switch (types[i]) {
        case 's':
            code = sqlite3_bind_text(stmt, i + 1, va_arg(*ap, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'i':
            code = sqlite3_bind_int64(stmt, i + 1, va_arg(*ap, int64_t));
            break;
        case 'b': {
            const void *data = va_arg(*ap, const void *);
            code = bind_blob(stmt, i + 1, data, va_arg(*ap, size_t));
            break;
        }
        default:
            code = SQLITE_MISUSE;
        }
    }
    return code;
}

static int prepare(struct store *s, sqlite3_stmt **ret, struct error *err, const char *sql,
                   const char *types, va_list *ap)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK)
        code = bind_all(stmt, types ? types : "", ap);
    if (code != SQLITE_OK) {
        int r = sql_error(s, code, err, "prepare a statement");
        sqlite3_finalize(stmt);
        return r;
    }
    *ret = stmt;
    return 0;
}

int sql_run(struct store *s, struct error *err, const char *sql, const char *types, ...)
{
    _cleanup_sql_ sqlite3_stmt *stmt = NULL;
    va_list ap;
    va_start(ap, types);
    int r = prepare(s, &stmt, err, sql, types, &ap);
    va_end(ap);
    if (r < 0)
        return r;
    do
        r = sql_next(s, stmt, err);
    while (r > 0);
    return r;
}

int sql_query(struct store *s, sqlite3_stmt **ret, struct error *err, const char *sql,
              const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int r = prepare(s, ret, err, sql, types, &ap);
    va_end(ap);
    return r;
}

int sql_next(struct store *s, sqlite3_stmt *stmt, struct error *err)
{
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    return sql_error(s, code, err, "run a statement");
}

void sql_done(sqlite3_stmt *stmt)
{
    sqlite3_finalize(stmt);
}

char *sql_text(sqlite3_stmt *stmt, int column)
{
    return xstrdup((const char *)sqlite3_column_text(stmt, column));
}

int64_t sql_int(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt, column);
}
