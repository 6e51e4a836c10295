/* Answers: what every one has, content of descriptors, and refusals. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "wire/serve/exchange.h"
#include "wire/serve/range.h"

#define PIECE ((size_t)64 << 10)

const char *exchange_header(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const char *exchange_argument(const struct exchange *x, const char *name)
{
    const char *value = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
    return value && *value ? value : NULL;
}

static void set_answer(struct exchange *x, unsigned int status, struct MHD_Response *answer)
{
    if (x->answer)
        MHD_destroy_response(x->answer);
    x->status = status;
    x->answer = answer;
    answer_header(x, "Docker-Distribution-API-Version", "registry/2.0");
    answer_header(x, "X-Content-Type-Options", "nosniff");
}

void answer_header(struct exchange *x, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *value = xvasprintf(fmt, ap);
    va_end(ap);
    if (x->answer)
        MHD_add_response_header(x->answer, name, value);
}

void answer_empty(struct exchange *x, unsigned int status)
{
    set_answer(x, status, MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

void answer_text(struct exchange *x, char *json)
{
    set_answer(x, 200, MHD_create_response_from_buffer(strlen(json), json, MHD_RESPMEM_MUST_FREE));
    answer_header(x, "Content-Type", "application/json");
    answer_header(x, "Cache-Control", "no-store");
}

/* A host name or address with a port, as a header has it: what can stand in a challenge. */
static bool host_ok(const char *host)
{
    return host && *host && strlen(host) <= 255 &&
           host[strspn(host,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")] ==
               '\0';
}

/* Clients that only know one way at a time: with names alone it is Basic; where some may do
 * without, it is Docker's token protocol, in which a client without a name gets a token as well. */
static void answer_challenge(struct exchange *x)
{
    const char *host = exchange_header(x, "Host"), *repository = x->route.repository;
    if (!exchange_policy.tokens || !host_ok(host)) {
        answer_header(x, "WWW-Authenticate", "Basic realm=\"proa\", charset=\"UTF-8\"");
        return;
    }
    answer_header(x, "WWW-Authenticate", "Bearer realm=\"%s://%s/token\",service=\"proa\"%s%s%s",
                  exchange_policy.tls ? "https" : "http", host,
                  *repository ? ",scope=\"repository:" : "", repository,
                  *repository ? ":pull,push\"" : "");
}

void answer_problem(struct exchange *x, enum serve_problem p, const char *message)
{
    char *text = serve_problem_json(p, message);
    set_answer(x, serve_problem_status(p),
               MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
    answer_header(x, "Content-Type", "application/json");
    if (p == PROBLEM_UNAUTHORIZED)
        answer_challenge(x);
    if (p == PROBLEM_TOO_MANY)
        answer_header(x, "Retry-After", "2");
}

/* --- content --- */

struct source {
    int fd;
    uint64_t skip; /* bytes of a pipe before the part that is wanted */
};

/* Up to len bytes of a pipe, as many as there are; a layer's writer is one. */
static ssize_t read_source(void *context, uint64_t position, char *out, size_t len)
{
    struct source *s = context;
    (void)position;
    while (s->skip > 0) {
        ssize_t n = read(s->fd, out, MIN(len, (size_t)MIN(s->skip, (uint64_t)PIECE)));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        s->skip -= (uint64_t)n;
    }
    for (;;) {
        ssize_t n = read(s->fd, out, len);
        if (n > 0)
            return n;
        if (n == 0 || errno != EINTR) /* less than was promised */
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
}

static void free_source(void *context)
{
    struct source *s = context;
    close_fd(s->fd);
    free(s);
}

/* A file is sent by the kernel, a pipe is read. Without descriptor (HEAD) only the size is told. */
static struct MHD_Response *content(int fd, uint64_t start, uint64_t length)
{
    if (fd >= 0 && lseek(fd, 0, SEEK_CUR) >= 0)
        return MHD_create_response_from_fd_at_offset64(length, fd, start);
    struct source *s = xnew(struct source);
    *s = (struct source){fd, start};
    return MHD_create_response_from_callback(length, PIECE, read_source, s, free_source);
}

void answer_fd(struct exchange *x, const char *type, uint64_t size, int fd, bool ranged)
{
    struct serve_range r = {0, size};
    enum serve_range_found found =
        ranged && !x->head ? serve_range_parse(exchange_header(x, "Range"), size, &r) : RANGE_NONE;
    if (found == RANGE_OUTSIDE) {
        close_fd(fd);
        answer_problem(x, PROBLEM_RANGE, NULL);
        answer_header(x, "Content-Range", "bytes */%llu", (unsigned long long)size);
        return;
    }
    set_answer(x, found == RANGE_FOUND ? 206 : 200, content(fd, r.start, r.length));
    answer_header(x, "Content-Type", "%s", type);
    if (ranged)
        answer_header(x, "Accept-Ranges", "bytes");
    if (found == RANGE_FOUND)
        answer_header(x, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)r.start,
                      (unsigned long long)(r.start + r.length - 1), (unsigned long long)size);
}
