/*
 * What a server sends, as it comes. Nothing is kept without a bound: headers, the text of an answer
 * that is no success, and the bytes of a body, of which never more is written than was announced by
 * who asked for it.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/registry/client.h"
#include "wire/registry/link.h"

#define HEADERS_MAX    ((size_t)64 << 10)
#define TEXT_CUT_BYTES ((size_t)64 << 10)
#define TELL_MS        100
#define RETRY_MAX_S    86400

void response_reset(struct response *r)
{
    free(r->location);
    free(r->type);
    free(r->digest);
    free(r->next);
    auth_challenge_done(&r->challenge);
    buf_done(&r->text);
    *r = (struct response){.length = -1, .range_start = -1, .text = BUF_INIT(TEXT_CUT_BYTES)};
}

static void set_text(char **to, const char *value)
{
    xreplace(to, value);
}

static void take_location(struct transfer *t, const char *value)
{
    set_text(&t->response.location, value);
}

static void take_type(struct transfer *t, const char *value)
{
    set_text(&t->response.type, value);
    t->response.type[strcspn(value, "; ")] = '\0';
}

static void take_digest(struct transfer *t, const char *value)
{
    set_text(&t->response.digest, value);
}

static void take_link(struct transfer *t, const char *value)
{
    free(t->response.next);
    t->response.next = link_next(value);
}

static void take_challenge(struct transfer *t, const char *value)
{
    struct error err = ERROR_INIT;
    if (t->response.status == 401 && auth_challenge_add(&t->response.challenge, value, &err) < 0)
        t->failure = err;
}

static void take_length(struct transfer *t, const char *value)
{
    uint64_t n;
    t->response.length = parse_u64(value, INT64_MAX, &n) == 0 ? (int64_t)n : -1;
}

/* "bytes 100-199/200" */
static void take_range(struct transfer *t, const char *value)
{
    uint64_t n;
    char number[24];
    size_t digits = strspn(value + strcspn(value, "0123456789"), "0123456789");
    if (digits == 0 || digits >= sizeof(number))
        return;
    snprintf(number, sizeof(number), "%.*s", (int)digits, value + strcspn(value, "0123456789"));
    if (parse_u64(number, INT64_MAX, &n) == 0)
        t->response.range_start = (int64_t)n;
}

/* Seconds, or a date. */
static void take_retry_after(struct transfer *t, const char *value)
{
    uint64_t seconds = 0;
    time_t at;
    if (parse_u64(value, UINT64_MAX, &seconds) < 0 && (at = curl_getdate(value, NULL)) > 0)
        seconds = at > time(NULL) ? (uint64_t)(at - time(NULL)) : 0;
    t->response.retry_after_s = MIN(seconds, (uint64_t)RETRY_MAX_S);
}

static const struct {
    const char *name;
    void (*take)(struct transfer *t, const char *value);
} headers[] = {
    {"location", take_location},
    {"content-type", take_type},
    {"docker-content-digest", take_digest},
    {"link", take_link},
    {"www-authenticate", take_challenge},
    {"content-length", take_length},
    {"content-range", take_range},
    {"retry-after", take_retry_after},
};

size_t receive_header(char *data, size_t size, size_t n, void *context)
{
    struct transfer *t = context;
    size_t len = size * n, all = t->response.header_bytes + len;
    t->client->answered = true;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        response_reset(&t->response);
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->response.status);
    }
    t->response.header_bytes = all;
    if (all > HEADERS_MAX) {
        error_set(&t->failure, ERROR_LIMIT, EFBIG, "%s: sends more than %zu bytes of headers",
                  t->client->name, HEADERS_MAX);
        return 0;
    }
    _cleanup_free_ char *line = xstrndup(data, len);
    char *colon = strchr(line, ':');
    if (!colon)
        return len;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    value[strcspn(value, "\r\n")] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        if (strcasecmp(headers[i].name, line) == 0)
            headers[i].take(t, value);
    return t->failure.code ? 0 : len;
}

/* The first bytes of a body that goes to a descriptor: is it the part that was asked for? */
static int begin_body(struct transfer *t)
{
    const struct response *r = &t->response;
    const char *name = t->client->name;
    bool part = r->status == 206;
    if (part && (t->asked == 0 || r->range_start != (int64_t)t->asked))
        return error_set(&t->failure, ERROR_CORRUPT, EBADMSG,
                         "%s: sends another part of it than was asked for", name);
    t->skip = part ? 0 : t->asked;
    uint64_t wanted = t->size - (part ? t->asked : 0);
    if (t->exact && r->length >= 0 && (uint64_t)r->length != wanted)
        return error_set(&t->failure, ERROR_CORRUPT, EBADMSG,
                         "%s: offers %lld bytes where the manifest says %llu", name,
                         (long long)r->length, (unsigned long long)wanted);
    return 0;
}

static int too_much(struct transfer *t)
{
    return error_set(&t->failure, t->exact ? ERROR_CORRUPT : ERROR_LIMIT, EFBIG,
                     "%s: sends more than the %s %llu bytes", t->client->name,
                     t->exact ? "announced" : "allowed", (unsigned long long)t->max);
}

static int write_body(struct transfer *t, const char *data, size_t len)
{
    size_t left_out = (size_t)MIN((uint64_t)len, t->skip);
    t->skip -= left_out;
    data += left_out;
    len -= left_out;
    if (len > t->max - MIN(t->offset, t->max))
        return too_much(t);
    while (len > 0) {
        ssize_t n = pwrite(t->body, data, len, (off_t)t->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(&t->failure, errno, "write what %s sends", t->client->name);
        data += n;
        len -= (size_t)n;
        t->offset += (uint64_t)n;
    }
    if (t->wake >= 0)
        (void)!write(t->wake, "", 1); /* a full pipe wakes as well */
    return 0;
}

static void tell(struct transfer *t)
{
    int64_t now = time_monotonic_ms();
    if (now - t->told_ms < TELL_MS)
        return;
    t->told_ms = now;
    client_answer(t, json_pack("{sIsI}", "id", t->id, "received", (json_int_t)t->offset));
}

/* The text of a refusal, or of a small answer that stays here. */
static bool keep_text(struct transfer *t, const char *data, size_t len)
{
    if (buf_add(&t->response.text, data, len) == 0)
        return true;
    t->response.text_cut = true;
    if (t->response.status / 100 == 2)
        too_much(t);
    return false;
}

size_t receive_body(char *data, size_t size, size_t n, void *context)
{
    struct transfer *t = context;
    size_t len = size * n;
    if (t->response.status / 100 != 2 || t->body < 0 || t->uploads)
        return keep_text(t, data, len) ? len : 0;
    if (!t->response.body_started) {
        t->response.body_started = true;
        if (begin_body(t) < 0)
            return 0;
    }
    if (write_body(t, data, len) < 0)
        return 0;
    if (t->op && t->exact)
        tell(t);
    return len;
}

size_t send_body(char *data, size_t size, size_t n, void *context)
{
    struct transfer *t = context;
    size_t len = (size_t)MIN((uint64_t)(size * n), t->size - t->sent);
    ssize_t got = pread(t->body, data, len, (off_t)t->sent);
    if (got < 0 || (got == 0 && len > 0)) {
        error_errno(&t->failure, got < 0 ? errno : EIO, "read what is sent to %s", t->client->name);
        return CURL_READFUNC_ABORT;
    }
    t->sent += (uint64_t)got;
    int64_t now = time_monotonic_ms();
    if (now - t->told_ms >= TELL_MS) {
        t->told_ms = now;
        client_answer(t, json_pack("{sIsI}", "id", t->id, "received", (json_int_t)t->sent));
    }
    return (size_t)got;
}

int seek_body(void *context, curl_off_t offset, int origin)
{
    struct transfer *t = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->size)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}
