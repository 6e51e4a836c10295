#include "service/store/heard.h"

#include <arpa/inet.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "service/store/network-internal.h"

const char store_heard_schema[] = "CREATE TABLE heard("
                                  " network TEXT NOT NULL,"
                                  " address INTEGER NOT NULL,"
                                  " address6 TEXT,"
                                  " peer TEXT NOT NULL,"
                                  " names TEXT NOT NULL,"
                                  " labels TEXT NOT NULL,"
                                  " PRIMARY KEY(network, address),"
                                  " UNIQUE(network, address6)"
                                  ") WITHOUT ROWID;";

void store_heard_done(struct store_heard *h)
{
    free(h->network);
    free(h->peer);
    strv_free(h->names);
    strv_free(h->labels);
    *h = (struct store_heard){.network = NULL};
}

void store_heard_list_free(struct store_heard *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        store_heard_done(&list[i]);
    free(list);
}

static int replace(struct store *s, const char *network, const char *peer,
                   const struct store_heard *list, size_t n, struct error *err)
{
    int r = sql_run(s, err, "DELETE FROM heard WHERE network=? AND peer=?", "ss", network, peer);
    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_free_ char *names = strv_to_row(list[i].names),
                            *labels = strv_to_row(list[i].labels);
        struct address6_row address6;
        address6_to_row(&list[i].address6, &address6);
        r = sql_run(s, err, "INSERT OR IGNORE INTO heard VALUES(?,?,?,?,?,?)", "sissss", network,
                    address_to_row(list[i].address), address6.value, peer, names, labels);
    }
    return r;
}

int store_heard_replace(struct store *s, const char *network, const char *peer,
                        const struct store_heard *list, size_t n, struct error *err)
{
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    r = replace(s, network, peer, list, n, err);
    int end = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : end;
}

int store_heard_list(struct store *s, const char *network, struct store_heard **ret, size_t *ret_n,
                     struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    struct store_heard *list = NULL;
    size_t n = 0;
    int r = sql_query(s, &q, err,
                      "SELECT network,peer,address,address6,names,labels FROM heard"
                      " WHERE ?1 IS NULL OR network=?1 ORDER BY network,peer,address",
                      "s", network);
    while (r >= 0 && (r = sql_next(s, q, err)) > 0) {
        list = xreallocarray(list, n + 1, sizeof(*list));
        list[n++] = (struct store_heard){
            .network = sql_text(q, 0),
            .peer = sql_text(q, 1),
            .address = address_from_row(sql_int(q, 2)),
            .address6 = address6_of_column(q, 3),
            .names = strv_of_column(q, 4),
            .labels = strv_of_column(q, 5),
        };
    }
    if (r < 0) {
        store_heard_list_free(list, n);
        return r;
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

int store_heard_networks(struct store *s, char ***ret, struct error *err)
{
    _cleanup_sql_ sqlite3_stmt *q = NULL;
    _cleanup_strv_ char **list = strv_copy(NULL);
    int r = sql_query(s, &q, err, "SELECT DISTINCT network FROM heard", "");
    while (r >= 0 && (r = sql_next(s, q, err)) > 0)
        strv_take(&list, sql_text(q, 0));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(list);
    return 0;
}

int store_heard_forget(struct store *s, const char *network, struct error *err)
{
    return sql_run(s, err, "DELETE FROM heard WHERE network=?", "s", network);
}
