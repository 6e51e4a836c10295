/* The session: its configuration, and one loop over the socket, curl's connections and pauses. */
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd_pass.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/registry/client.h"
#include "wire/registry/protocol.h"

#define WHAT            "configuration of proa-registry"
#define CONNECTIONS_MAX 8L
#define IDLE_MS         60000

int client_configure(struct client *c, const char *text, size_t len, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const struct {
        const char *key;
        char **to;
    } texts[] = {
        {"name", &c->name},         {"url", &c->url}, {"repository", &c->repository},
        {"user", &c->user},         {"ca", &c->ca},   {"password", &c->password},
        {"identity", &c->identity}, {"key", &c->key}, {"cert", &c->cert},
    };
    int r = json_parse(text, len, WHAT, &o, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++) {
        const char *value = NULL;
        r = json_get_string(o, WHAT, texts[i].key, &value, err);
        xreplace(texts[i].to, value);
    }
    c->verify = true;
    c->stall_s = 30;
    if (r < 0 || (r = json_get_bool(o, WHAT, "verify", &c->verify, err)) < 0 ||
        (r = json_get_u32(o, WHAT, "stall_s", &c->stall_s, err)) < 0 ||
        (r = json_get_strv(o, WHAT, "scopes", &c->scopes, err)) < 0)
        return r;
    return c->name && c->url ? 0 : error_invalid(err, WHAT ": no name or no url");
}

void client_answer(struct transfer *t, json_t *message)
{
    _cleanup_free_ char *text = json_to_text(message);
    bool end = !json_object_get(message, "received");
    json_decref(message);
    /* Progress that finds no room is let go; an answer waits for it. */
    (void)!send(t->client->socket, text, strlen(text), MSG_NOSIGNAL | (end ? 0 : MSG_DONTWAIT));
}

static void begin_operation(struct transfer *t, const json_t *request, int fds[static FD_PASS_MAX])
{
    struct error err = ERROR_INIT;
    t->method = t->op->method;
    t->body = TAKE_FD(fds[0]);
    t->wake = TAKE_FD(fds[1]);
    if (t->op->fds > 0 && t->body < 0)
        error_invalid(&err, "request: no descriptor came with it");
    else
        (void)!t->op->prepare(t, request, &err);
    if (err.code)
        transfer_fail(t, &err);
    else
        transfer_start(t);
}

static int cancel(struct client *c, const json_t *request, struct error *err)
{
    int64_t id = -1;
    int r = json_get_i64(request, "request", "request", &id, err);
    for (struct transfer *t = c->transfers; r == 0 && t; t = t->next) {
        if (t->op && t->id == id) {
            transfer_free(t);
            break;
        }
    }
    return r;
}

static int handle_request(struct client *c, const char *text, size_t len,
                          int fds[static FD_PASS_MAX], struct error *err)
{
    _cleanup_json_ json_t *request = NULL;
    const char *name = NULL;
    int64_t id = -1;
    int r;
    if ((r = json_parse(text, len, "request", &request, err)) < 0 ||
        (r = json_get_i64(request, "request", "id", &id, err)) < 0 ||
        (r = json_get_string(request, "request", "op", &name, err)) < 0)
        return r;
    if (name && strcmp(name, "cancel") == 0)
        return cancel(c, request, err);
    const struct operation *op = name ? operation_find(name) : NULL;
    if (!op)
        return error_invalid(err, "request: no such operation");
    struct transfer *t = transfer_new(c);
    t->op = op;
    t->id = id;
    begin_operation(t, request, fds);
    return 0;
}

/* 1: handled; 0: the other side is gone. */
static int read_request(struct client *c, struct error *err)
{
    char text[REGISTRY_MESSAGE_MAX + 1];
    int fds[FD_PASS_MAX];
    ssize_t n = fd_take(c->socket, text, REGISTRY_MESSAGE_MAX, fds);
    if (n < 0)
        return error_errno(err, (int)n, "read a request");
    int r = n == 0 ? 0 : handle_request(c, text, (size_t)n, fds, err);
    for (size_t i = 0; i < FD_PASS_MAX; i++)
        fds[i] = close_fd(fds[i]);
    return r < 0 ? r : n > 0;
}

static void finish_transfers(struct client *c)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        struct transfer *t = NULL;
        CURLcode result = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        transfer_finished(t, result);
    }
}

static struct transfer *find_due(struct client *c, int64_t now)
{
    for (struct transfer *t = c->transfers; t; t = t->next)
        if (t->state == TRANSFER_DELAYED && t->due_ms <= now)
            return t;
    return NULL;
}

/* Sends again what has waited long enough; gives how long the next one waits. */
static int start_due(struct client *c)
{
    int64_t now = time_monotonic_ms(), pause = IDLE_MS;
    struct transfer *t;
    while ((t = find_due(c, now)))
        transfer_start(t);
    for (t = c->transfers; t; t = t->next)
        if (t->state == TRANSFER_DELAYED)
            pause = MIN(pause, t->due_ms - now);
    return (int)pause;
}

int client_run(struct client *c, struct error *err)
{
    int running, r = 1;
    c->multi = curl_multi_init();
    if (!c->multi)
        return error_errno(err, ENOMEM, "start");
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
    while (r > 0) {
        struct curl_waitfd socket = {.fd = c->socket, .events = CURL_WAIT_POLLIN};
        int pause = start_due(c);
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return error_set(err, ERROR_SYSTEM, EIO, "curl gives up");
        finish_transfers(c);
        if (curl_multi_poll(c->multi, &socket, 1, MIN(pause, start_due(c)), NULL) != CURLM_OK)
            return error_set(err, ERROR_SYSTEM, EIO, "curl cannot wait");
        if (socket.revents)
            r = read_request(c, err);
    }
    return r;
}
