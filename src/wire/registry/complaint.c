/*
 * One line for what went wrong: who answered what, and what to do next. Texts of a server's are
 * made printable and cut; credentials and the query of an address are never part of it.
 */
#include <string.h>

#include "base/json.h"
#include "wire/registry/client.h"

#define QUOTE_MAX 160

/* Printable ASCII, one line. */
static void quote(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        out[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
    out[n] = '\0';
}

/* {"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}, the first of them. */
static void quote_errors(const struct buf *text, char *out, size_t size)
{
    _cleanup_json_ json_t *o = NULL;
    json_t *errors = NULL;
    const char *words = NULL;
    *out = '\0';
    if (text->len == 0 || json_parse(text->data, text->len, "it", &o, NULL) < 0 ||
        json_get_array(o, "it", "errors", &errors, NULL) < 0 || !errors)
        return;
    const json_t *first = json_array_get(errors, 0);
    if (json_get_string(first, "it", "message", &words, NULL) < 0 || !words || !*words)
        words = json_string_value(json_object_get(first, "code"));
    if (words)
        quote(words, out, size);
}

static const char *phrase(long status)
{
    static const struct {
        long status;
        const char *words;
    } known[] = {
        {400, "bad request"},         {403, "access denied"},      {404, "not found"},
        {405, "not allowed there"},   {406, "no form of it fits"}, {416, "no such part"},
        {429, "too many requests"},   {500, "internal error"},     {502, "bad gateway"},
        {503, "service unavailable"}, {504, "gateway timeout"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].status == status)
            return known[i].words;
    return "not expected";
}

static enum error_kind kind_of(long status)
{
    switch (status) {
    case 401:
    case 403:
        return ERROR_DENIED;
    case 404:
        return ERROR_NOT_FOUND;
    case 405:
        return ERROR_UNSUPPORTED;
    case 413:
    case 429:
        return ERROR_LIMIT;
    default:
        return ERROR_SYSTEM;
    }
}

bool complaint_of_status(const struct transfer *t, struct error *err)
{
    const struct response *r = &t->response;
    char words[QUOTE_MAX];
    quote_errors(&r->text, words, sizeof(words));
    enum error_kind kind = kind_of(r->status);
    error_set(err, kind, kind == ERROR_NOT_FOUND ? ENOENT : EIO, "%s%s answers %ld: %s",
              t->client->name, t->op ? "" : "'s token server", r->status,
              *words ? words : phrase(r->status));
    if (kind == ERROR_DENIED) {
        bool known = t->client->user || t->client->identity;
        size_t len = strlen(err->msg);
        snprintf(err->msg + len, sizeof(err->msg) - len, "; `proa login %s` gives it %s",
                 t->client->name, known ? "other credentials" : "credentials");
    }
    return r->status == 408 || r->status == 429 || r->status == 500 ||
           (r->status >= 502 && r->status <= 504);
}

static void not_trusted(const struct transfer *t, const char *detail, struct error *err)
{
    error_set(err, ERROR_DENIED, EPERM,
              "%s: its certificate is not trusted (%s): put the authority's certificate into "
              "/etc/containers/certs.d/%s/ca.crt",
              t->client->name, detail, t->client->name);
}

bool complaint_of_curl(const struct transfer *t, CURLcode result, struct error *err)
{
    char detail[QUOTE_MAX];
    const struct client *c = t->client;
    quote(t->curl_error[0] ? t->curl_error : curl_easy_strerror(result), detail, sizeof(detail));
    switch (result) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        not_trusted(t, detail, err);
        return false;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        error_set(err, ERROR_SYSTEM, ECONNREFUSED, "%s cannot be reached: %s", c->name, detail);
        return c->answered;
    case CURLE_SSL_CONNECT_ERROR:
        error_set(
            err, ERROR_SYSTEM, EPROTO,
            "%s does not speak https (%s): a registry without it needs --tls-verify=false, or "
            "\"insecure\" in registries.json",
            c->name, detail);
        return false;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        error_set(err, ERROR_SYSTEM, EPROTO, "%s: %s", c->name, detail);
        return false;
    case CURLE_OPERATION_TIMEDOUT:
        error_set(err, ERROR_SYSTEM, ETIMEDOUT, "%s is too slow: %s", c->name, detail);
        return true;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        error_set(err, ERROR_SYSTEM, ECONNRESET, "%s ends the connection too early: %s", c->name,
                  detail);
        return true;
    default:
        error_set(err, ERROR_SYSTEM, EIO, "%s: %s", c->name, detail);
        return false;
    }
}
