#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/text.h"
#include "wire/serve/exchange.h"
#include "wire/serve/packet.h"

#define CHANNEL 3

struct exchange_policy exchange_policy;

/* The other half reads one message after the other: when its queue is full, it is waited for. */
static int send_request(const char *text, int reply)
{
    int r;
    while ((r = packet_send(CHANNEL, text, reply)) == -EAGAIN) {
        struct pollfd p = {CHANNEL, POLLOUT, 0};
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return -errno;
    }
    return r;
}

static int exchange_message(const char *request, char *text, size_t size, int *ret_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    _cleanup_close_ int here = pair[0], there = pair[1];
    int r = send_request(request, there);
    there = close_fd(there);
    return r < 0 ? r : (int)packet_receive(here, text, size, ret_fd);
}

enum serve_problem ask(const struct serve_request *q, struct serve_reply *a, int *ret_fd)
{
    char text[SERVE_MESSAGE_MAX + 1];
    int fd = -EBADF;
    _cleanup_free_ char *request = serve_request_encode(q);
    memset(a, 0, sizeof(*a));
    int n = exchange_message(request, text, sizeof(text), &fd);
    if (n <= 0 || serve_reply_decode(text, (size_t)n, a, NULL) < 0)
        a->problem = PROBLEM_INTERNAL;
    if (ret_fd && a->problem == PROBLEM_NONE)
        *ret_fd = fd;
    else
        close_fd(fd);
    return a->problem;
}

/* --- who is asking --- */

/* Sessions of the Authorization headers that were seen lately. Each request carries the header, and
 * a password's hash is slow to compute. */
#define CACHE_SIZE 64
#define CACHE_MS   ((int64_t)300000)

static struct {
    char *header;
    char session[SERVE_ID_LEN + 1];
    int64_t until_ms;
} cache[CACHE_SIZE];
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

static bool cache_find(const char *header, char session[static SERVE_ID_LEN + 1])
{
    int64_t now = time_monotonic_ms();
    bool found = false;
    pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; !found && i < CACHE_SIZE; i++) {
        found = cache[i].header && cache[i].until_ms > now && strcmp(cache[i].header, header) == 0;
        if (found)
            memcpy(session, cache[i].session, SERVE_ID_LEN + 1);
    }
    pthread_mutex_unlock(&cache_lock);
    return found;
}

/* session NULL: forgets the header. */
static void cache_put(const char *header, const char *session)
{
    size_t oldest = 0;
    pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; i < CACHE_SIZE; i++) {
        if (cache[i].header && strcmp(cache[i].header, header) == 0)
            cache[i].until_ms = 0;
        if (cache[i].until_ms < cache[oldest].until_ms)
            oldest = i;
    }
    if (session) {
        xreplace(&cache[oldest].header, header);
        snprintf(cache[oldest].session, sizeof(cache[oldest].session), "%s", session);
        cache[oldest].until_ms = time_monotonic_ms() + CACHE_MS;
    }
    pthread_mutex_unlock(&cache_lock);
}

static bool is_text(const char *s)
{
    _cleanup_json_ json_t *o = json_string(s);
    return o && *s;
}

/* "Basic BASE64(name:secret)" or "Bearer secret"; user and secret are owned by the caller. */
static bool read_header(const char *header, char **user, char **secret)
{
    _cleanup_free_ char *plain = NULL;
    size_t len;
    if (strncasecmp(header, "bearer ", 7) == 0) {
        *secret = xstrdup(header + 7);
        return is_text(*secret);
    }
    if (strncasecmp(header, "basic ", 6) != 0 || base64_decode(header + 6, &plain, &len) < 0 ||
        strlen(plain) != len)
        return false;
    char *colon = strchr(plain, ':');
    if (!colon)
        return false;
    *colon = '\0';
    *user = xstrdup(plain);
    *secret = xstrdup(colon + 1);
    return is_text(*user) && is_text(*secret);
}

/* What /token gave may be shown once as it is; when the other half does not know it, it may still
 * be a token of the file. */
static bool shows_session(struct exchange *x, const char *header)
{
    if (x->session_shown || strncasecmp(header, "bearer ", 7) != 0 || !serve_id_ok(header + 7))
        return false;
    x->session_shown = true;
    snprintf(x->session, sizeof(x->session), "%s", header + 7);
    return true;
}

enum serve_problem exchange_login(struct exchange *x)
{
    const char *header = exchange_header(x, "Authorization");
    _cleanup_free_ char *user = NULL, *secret = NULL;
    _cleanup_(serve_reply_done) struct serve_reply a = {0};
    if (!header || cache_find(header, x->session) || shows_session(x, header))
        return PROBLEM_NONE;
    if (exchange_policy.tokens && strcasecmp(header, "bearer " EXCHANGE_ANONYMOUS) == 0)
        return PROBLEM_NONE;
    if (strlen(header) > 2 * SERVE_SECRET_MAX || !read_header(header, &user, &secret))
        return PROBLEM_UNAUTHORIZED;
    struct serve_request q = {.op = SERVE_LOGIN, .user = user, .secret = secret};
    enum serve_problem p = ask(&q, &a, NULL);
    if (p == PROBLEM_NONE && a.session) {
        cache_put(header, a.session);
        snprintf(x->session, sizeof(x->session), "%s", a.session);
    }
    xreplace(&x->message, a.message);
    return p;
}

enum serve_problem exchange_ask(struct exchange *x, struct serve_request *q, struct serve_reply *a,
                                int *ret_fd)
{
    enum serve_problem p = PROBLEM_NONE;
    if (x->route.repository[0])
        q->repository = x->route.repository;
    for (int attempt = 0; attempt < 2; attempt++) {
        q->session = x->session[0] ? x->session : NULL;
        p = ask(q, a, ret_fd);
        if (p != PROBLEM_UNAUTHORIZED || !x->session[0] || attempt > 0)
            break;
        /* The session has run out: show the name and the secret again. */
        serve_reply_done(a);
        cache_put(exchange_header(x, "Authorization"), NULL);
        x->session[0] = '\0';
        if ((p = exchange_login(x)) != PROBLEM_NONE)
            break;
    }
    if (p != PROBLEM_NONE && a->message)
        xreplace(&x->message, a->message);
    return p;
}
