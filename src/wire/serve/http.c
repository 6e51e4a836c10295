/*
 * HTTP and TLS, by libmicrohttpd with a thread for each connection: a handler may wait, for the
 * other half or for a pipe, and disturbs nobody. The number of connections is bounded, so that of
 * threads is.
 *
 * A request that is refused before its body was read is answered after it when the body is small:
 * a client that is still sending does not see an answer on a connection that is closed.
 */
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"
#include "wire/serve/exchange.h"
#include "wire/serve/packet.h"
#include "wire/serve/peers.h"
#include "wire/serve/program.h"

#define CHANNEL    3
#define LISTENING  4
#define TLS_FD     5
#define PEM_MAX    ((size_t)1 << 20)
#define STACK_SIZE ((size_t)256 << 10)
#define MEMORY     ((size_t)128 << 10) /* of a connection: request line, headers, read buffer */
#define SMALL_BODY ((uint64_t)1 << 20)

static bool mutual;

/* --- one request --- */

static const struct way *find_in(const struct way *ways, size_t n, const struct exchange *x,
                                 bool *known)
{
    for (size_t i = 0; i < n; i++) {
        if (ways[i].kind != x->route.kind)
            continue;
        *known = true;
        if (strcmp(ways[i].method, x->method) == 0)
            return &ways[i];
    }
    return NULL;
}

static enum serve_problem find_way(struct exchange *x, const char *url)
{
    bool known = false;
    enum serve_problem p = serve_route_parse(url, &x->route);
    if (p != PROBLEM_NONE)
        return p == PROBLEM_MANIFEST_INVALID && strcmp(x->method, "PUT") != 0
                   ? PROBLEM_MANIFEST_UNKNOWN
                   : p;
    x->way = find_in(pull_ways, n_pull_ways, x, &known);
    if (!x->way)
        x->way = find_in(push_ways, n_push_ways, x, &known);
    return x->way ? PROBLEM_NONE : PROBLEM_UNSUPPORTED;
}

/* With a clients' authority, only those that it has signed come in. */
static enum serve_problem check_client(const struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned int status = ~0u;
    if (!mutual)
        return PROBLEM_NONE;
    if (!info || !info->tls_session ||
        gnutls_certificate_verify_peers2(info->tls_session, &status) < 0 || status != 0)
        return PROBLEM_DENIED;
    return PROBLEM_NONE;
}

/* A browser says on whose behalf it asks; no client of registries is one. What a web page makes its
 * reader's browser send to a server that trusts this host stops here. */
static enum serve_problem check_origin(const struct exchange *x)
{
    return exchange_header(x, "Origin") ? PROBLEM_DENIED : PROBLEM_NONE;
}

static enum serve_problem begin(struct exchange *x, const char *url)
{
    enum serve_problem p;
    if ((p = check_client(x)) != PROBLEM_NONE || (p = check_origin(x)) != PROBLEM_NONE ||
        (p = exchange_login(x)) != PROBLEM_NONE || (p = find_way(x, url)) != PROBLEM_NONE)
        return p;
    return x->way->begin ? x->way->begin(x) : PROBLEM_NONE;
}

static void refuse(struct exchange *x)
{
    answer_problem(x, x->problem, x->message);
    if (x->problem == PROBLEM_UPLOAD_RANGE) {
        answer_header(x, "Location", "/v2/%s/blobs/uploads/%s", x->route.repository, x->upload);
        answer_header(x, "Range", "0-%llu", (unsigned long long)(x->offset ? x->offset - 1 : 0));
    }
}

static enum MHD_Result send_answer(struct exchange *x)
{
    peer_set(x->peer, PEER_BODY);
    return x->answer ? MHD_queue_response(x->connection, x->status, x->answer) : MHD_NO;
}

static enum MHD_Result end(struct exchange *x)
{
    peer_set(x->peer, PEER_OURS);
    if (x->problem == PROBLEM_NONE)
        x->problem = x->way->end(x);
    if (x->problem != PROBLEM_NONE) {
        push_done(x, false); /* nothing is left of it when the client hears */
        refuse(x);
    }
    return send_answer(x);
}

/* Whether the body of a refused request is worth reading. */
static bool small_body(const struct exchange *x)
{
    const char *length = exchange_header(x, "Content-Length");
    uint64_t bytes = 0;
    if (exchange_header(x, "Expect"))
        return false;
    if (!length)
        return !exchange_header(x, "Transfer-Encoding");
    return parse_u64(length, INT64_MAX, &bytes) == 0 && bytes <= PUSH_SKIP_MAX;
}

static struct exchange *new_exchange(struct MHD_Connection *connection, const char *method)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct exchange *x = xnew(struct exchange);
    *x = (struct exchange){.connection = connection,
                           .method = method,
                           .head = strcmp(method, "HEAD") == 0,
                           .peer = info ? info->socket_context : NULL,
                           .pipe = -EBADF};
    return x;
}

/* A NUL would cut what follows it off: what has one stays escaped, and is no name of anything. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **con_cls)
{
    struct exchange *x = *con_cls;
    (void)cls;
    (void)version;
    if (!x) {
        *con_cls = x = new_exchange(connection, method);
        peer_set(x->peer, PEER_OURS);
        x->problem = begin(x, url);
        if (x->problem != PROBLEM_NONE && !small_body(x))
            return end(x);
        peer_set(x->peer, PEER_BODY);
        return MHD_YES;
    }
    if (*upload_data_size > 0) {
        bool go_on = push_body(x, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    return end(x);
}

static void completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                      enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *con_cls;
    (void)cls;
    (void)connection;
    if (!x)
        return;
    push_done(x, code == MHD_REQUEST_TERMINATED_COMPLETED_OK && x->problem == PROBLEM_NONE);
    peer_set(x->peer, PEER_HEAD);
    if (x->answer)
        MHD_destroy_response(x->answer);
    free(x->message);
    free(x);
    *con_cls = NULL;
}

static void connection_changed(void *cls, struct MHD_Connection *connection, void **socket_context,
                               enum MHD_ConnectionNotificationCode code)
{
    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer_remove(*socket_context);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? peer_add(info->connect_fd) : NULL;
}

/* --- the daemon --- */

struct pem {
    char *certificate, *key, *authority;
};

static int read_pem(int fd, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(PEM_MAX);
    int r = fd_read_to_end(fd, &text);
    if (r < 0)
        return error_errno(err, r, "read a certificate or key");
    *ret = buf_take(&text);
    return 0;
}

static int read_files(const struct http_options *o, struct pem *pem, struct error *err)
{
    int r = 0;
    if (o->tls && ((r = read_pem(TLS_FD, &pem->certificate, err)) < 0 ||
                   (r = read_pem(TLS_FD + 1, &pem->key, err)) < 0))
        return r;
    return o->mutual ? read_pem(TLS_FD + 2, &pem->authority, err) : r;
}

static struct MHD_Daemon *start_daemon(const struct http_options *o, const struct pem *pem)
{
    unsigned int flags =
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | (o->tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, pem->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, pem->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_HTTPS_MEM_TRUST, 0, pem->authority},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem end_only[] = {{MHD_OPTION_END, 0, NULL}};
    if (!o->mutual)
        tls[3].option = MHD_OPTION_END;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, LISTENING,
        MHD_OPTION_CONNECTION_LIMIT, o->connections, MHD_OPTION_CONNECTION_TIMEOUT, o->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY, MHD_OPTION_THREAD_STACK_SIZE, STACK_SIZE,
        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        connection_changed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_ARRAY,
        o->tls ? tls : end_only, MHD_OPTION_END);
}

/* The other half never sends anything on the channel: what can be read is its end. */
static void wait_for_end(void)
{
    struct pollfd p = {CHANNEL, 0, 0};
    while (poll(&p, 1, -1) < 0 || !(p.revents & (POLLHUP | POLLERR)))
        ;
}

static int say(const char *text, struct error *err)
{
    int r = packet_send(CHANNEL, text, -EBADF);
    return r < 0 ? error_errno(err, r, "speak to proa") : 0;
}

int http_run(const struct http_options *o, struct error *err)
{
    struct pem pem = {0};
    struct error why = ERROR_INIT;
    json_object_seed(0); /* from a file that cannot be opened any more */
    int r = read_files(o, &pem, &why);
    if (r == 0)
        r = serve_confine(SERVE_SERVER, &why);
    if (r == 0 && (r = peers_begin(o->connections, o->timeout_s)) < 0)
        r = error_errno(&why, r, "start a thread");
    if (r < 0)
        return say(why.msg, err);
    mutual = o->mutual;
    exchange_policy = (struct exchange_policy){.tls = o->tls, .tokens = o->tokens};
    if (!start_daemon(o, &pem))
        return say(o->tls ? "the certificate, the key or the authority cannot be used"
                          : "HTTP cannot be served",
                   err);
    if ((r = say("ready", err)) < 0)
        return r;
    wait_for_end();
    _exit(0); /* threads may be in the middle of anything */
}
