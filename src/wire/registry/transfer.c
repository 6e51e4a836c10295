/*
 * One request from its first try to its answer. Redirects are followed here and not by curl,
 * because what may be sent where is decided here: credentials and the client's certificate only to
 * the registry's own origin. A try that failed in a way that may pass (dropped connections, 429,
 * 5xx) is repeated after a pause that doubles, from the first address, and for a blob from the
 * first byte that is missing; progress of a megabyte starts the count anew.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/registry/client.h"

#define ATTEMPTS_MAX        5
#define REDIRECTS_MAX       5
#define PAUSE_FIRST_MS      250
#define PAUSE_MAX_MS        10000
#define WAIT_MAX_S          60 /* a longer Retry-After is told instead of waited for */
#define PROGRESS_BYTES      ((uint64_t)1 << 20)
#define CONNECT_S           15L
#define DOCUMENT_S          300L
#define SLOW_BYTES_A_SECOND 1000L
#define RECEIVE_BYTES       (256L << 10)

struct transfer *transfer_new(struct client *c)
{
    struct transfer *t = xnew(struct transfer);
    t->client = c;
    t->body = t->wake = -EBADF;
    t->max = AUTH_TOKEN_MAX;
    response_reset(&t->response);
    t->next = c->transfers;
    c->transfers = t;
    return t;
}

static void drop_handle(struct transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(t->client->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->list);
    t->easy = NULL;
    t->list = NULL;
}

void transfer_free(struct transfer *t)
{
    struct transfer **at = &t->client->transfers;
    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
    drop_handle(t);
    response_reset(&t->response);
    buf_done(&t->response.text);
    t->body = close_fd(t->body);
    t->wake = close_fd(t->wake);
    strv_free(t->headers);
    free(t->url);
    free(t->first_url);
    free(t->form);
    free(t->upload_digest);
    free(t);
}

/* A name or a text that came from outside is made plain: an answer is JSON, and then one line. */
static void make_plain(char *text)
{
    for (char *p = text; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
}

void transfer_fail(struct transfer *t, const struct error *why)
{
    struct error plain = *why, *err = &plain;
    make_plain(err->msg);
    if (t->op)
        client_answer(t, json_pack("{sIsssiss}", "id", t->id, "error", error_kind_name(err->kind),
                                   "errno", err->code, "message", err->msg));
    else
        credentials_received(t, err);
    transfer_free(t);
}

static void set_blob(CURL *easy, CURLoption option, char *text)
{
    struct curl_blob blob = {text, text ? strlen(text) : 0, CURL_BLOB_NOCOPY};
    if (text)
        curl_easy_setopt(easy, option, &blob);
}

static void set_trust(struct transfer *t)
{
    struct client *c = t->client;
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, c->verify ? 1L : 0L);
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, c->verify ? 2L : 0L);
    set_blob(t->easy, CURLOPT_CAINFO_BLOB, c->ca);
    if (!t->foreign && t->op) {
        set_blob(t->easy, CURLOPT_SSLCERT_BLOB, c->cert);
        set_blob(t->easy, CURLOPT_SSLKEY_BLOB, c->key);
    }
}

static void add_header(struct transfer *t, const char *line)
{
    struct curl_slist *list = curl_slist_append(t->list, line);
    if (list)
        t->list = list;
}

static void set_headers(struct transfer *t)
{
    struct client *c = t->client;
    for (size_t i = 0; t->headers && t->headers[i]; i++)
        add_header(t, t->headers[i]);
    t->token_generation = c->generation;
    if (t->op && !t->foreign && c->authorization)
        add_header(t, c->authorization);
    add_header(t, "Expect:");
    if (t->asked > 0) {
        _cleanup_free_ char *range = xasprintf("Range: bytes=%llu-", (unsigned long long)t->asked);
        add_header(t, range);
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->list);
}

static void set_method(struct transfer *t)
{
    bool sends = t->uploads && t->step > 0;
    if (strcmp(t->method, "HEAD") == 0) {
        curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
    } else if (sends) {
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, send_body);
        curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, seek_body);
        curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->size);
        t->sent = 0;
    } else if (t->posts) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->form ? t->form : "");
    }
    if (strcmp(t->method, "GET") != 0 && strcmp(t->method, "HEAD") != 0)
        curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, t->method);
}

static void set_limits(struct transfer *t)
{
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT, MIN(CONNECT_S, (long)t->client->stall_s));
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_A_SECOND);
    /* After an upload the registry may take its time to look at what it got. */
    curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME,
                     (long)t->client->stall_s * (t->uploads ? 4 : 1));
    if (!t->exact && !t->uploads)
        curl_easy_setopt(t->easy, CURLOPT_TIMEOUT, MIN(DOCUMENT_S, 4L * t->client->stall_s));
    curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
}

static void set_options(struct transfer *t)
{
    curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "proa/" PROA_VERSION);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, receive_header);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, receive_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
}

static int send_request(struct transfer *t, struct error *err)
{
    drop_handle(t);
    response_reset(&t->response);
    t->response.header_bytes = 0;
    error_clear(&t->failure);
    t->curl_error[0] = '\0';
    t->asked = t->exact && !t->uploads ? t->offset : 0;
    if (!t->exact && !t->uploads)
        t->offset = 0;
    t->easy = curl_easy_init();
    if (!t->easy)
        return error_errno(err, ENOMEM, "reach %s", t->client->name);
    set_options(t);
    set_trust(t);
    set_headers(t);
    set_method(t);
    set_limits(t);
    t->state = TRANSFER_RUNNING;
    if (curl_multi_add_handle(t->client->multi, t->easy) != CURLM_OK)
        return error_errno(err, ENOMEM, "reach %s", t->client->name);
    return 0;
}

void transfer_start(struct transfer *t)
{
    struct error err = ERROR_INIT;
    if (!t->url)
        t->url = xstrdup(t->first_url);
    if (send_request(t, &err) < 0)
        transfer_fail(t, &err);
}

/* Later, from the first address, or not again. */
static void try_again(struct transfer *t, struct error *why)
{
    uint64_t wait_s = t->response.retry_after_s;
    if (t->offset >= t->progress_mark + PROGRESS_BYTES) {
        t->progress_mark = t->offset;
        t->attempts = 0;
    }
    if (wait_s > WAIT_MAX_S) {
        size_t len = strlen(why->msg);
        snprintf(why->msg + len, sizeof(why->msg) - len, "; it asks to wait for %llu seconds",
                 (unsigned long long)wait_s);
        transfer_fail(t, why);
        return;
    }
    if (++t->attempts >= ATTEMPTS_MAX) {
        size_t len = strlen(why->msg);
        snprintf(why->msg + len, sizeof(why->msg) - len, " (tried %d times)", ATTEMPTS_MAX);
        transfer_fail(t, why);
        return;
    }
    int64_t pause = MIN((int64_t)PAUSE_FIRST_MS << (t->attempts - 1), (int64_t)PAUSE_MAX_MS);
    if (wait_s > 0)
        pause = (int64_t)wait_s * 1000;
    t->due_ms = time_monotonic_ms() + pause + (int64_t)(t->id % 16) * 8; /* not all at once */
    t->state = TRANSFER_DELAYED;
    t->redirects = 0;
    if (t->op && t->op->next_step) { /* from its first step */
        t->step = 0;
        t->method = t->op->method;
    }
    t->foreign = false;
    xreplace(&t->url, t->first_url);
    drop_handle(t);
}

static void follow(struct transfer *t)
{
    struct error err = ERROR_INIT;
    struct client *c = t->client;
    _cleanup_free_ char *url = NULL;
    bool reads = strcmp(t->method, "GET") == 0 || strcmp(t->method, "HEAD") == 0;
    if (!reads || !t->op || !t->response.location)
        error_set(&err, ERROR_CORRUPT, EBADMSG, "%s redirects what cannot be redirected", c->name);
    else if (++t->redirects > REDIRECTS_MAX)
        error_set(&err, ERROR_CORRUPT, ELOOP, "%s redirects more than %d times", c->name,
                  REDIRECTS_MAX);
    else
        (void)!url_resolve(c, t->url, t->response.location, &url, &err);
    if (err.code) {
        transfer_fail(t, &err);
        return;
    }
    free(t->url);
    t->url = TAKE_PTR(url);
    t->foreign = !url_same_origin(c->url, t->url);
    transfer_start(t);
}

static void add_text(json_t *o, const char *key, const char *value)
{
    if (value)
        json_object_set_new(o, key, json_string(value));
}

static void succeed(struct transfer *t)
{
    const struct response *r = &t->response;
    if (!t->op) {
        credentials_received(t, NULL);
        transfer_free(t);
        return;
    }
    if (t->op->next_step && t->op->next_step(t))
        return;
    json_t *answer =
        json_pack("{sIsbsIsi}", "id", t->id, "ok", 1, "bytes",
                  (json_int_t)(t->uploads ? t->sent : t->offset), "status", (int)r->status);
    add_text(answer, "type", r->type);
    add_text(answer, "digest", r->digest);
    add_text(answer, "next", r->next);
    client_answer(t, answer);
    transfer_free(t);
}

/* A body that ended early without the connection saying so. */
static void check_end(struct transfer *t)
{
    struct error err = ERROR_INIT;
    bool whole = t->uploads || !t->exact || t->offset == t->size;
    if (whole) {
        succeed(t);
        return;
    }
    error_set(&err, ERROR_CORRUPT, EBADMSG, "%s sends %llu bytes where the manifest says %llu",
              t->client->name, (unsigned long long)t->offset, (unsigned long long)t->size);
    try_again(t, &err);
}

static void look_at_status(struct transfer *t)
{
    struct error err = ERROR_INIT;
    long status = t->response.status;
    if (status / 100 == 2) {
        check_end(t);
    } else if (status / 100 == 3) {
        follow(t);
    } else if (status == 401 && t->op) {
        if (!credentials_get(t, &err))
            transfer_fail(t, &err);
    } else if (complaint_of_status(t, &err)) {
        try_again(t, &err);
    } else {
        transfer_fail(t, &err);
    }
}

void transfer_finished(struct transfer *t, CURLcode result)
{
    struct error err = ERROR_INIT;
    if (t->failure.code) {
        err = t->failure;
        transfer_fail(t, &err);
    } else if (result == CURLE_OK || t->response.text_cut) {
        look_at_status(t);
    } else if (complaint_of_curl(t, result, &err)) {
        try_again(t, &err);
    } else {
        transfer_fail(t, &err);
    }
}
