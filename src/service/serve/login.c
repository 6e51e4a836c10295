/*
 * Who is asking. A name and its password are checked by a process of its own (proa-serve auth),
 * because a good hash takes a while; what comes back is a session, a random number that proa-serve
 * shows with every request. So what proa-serve may ask for is bounded by what its clients have
 * really shown.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "service/serve/server-internal.h"

#define LOGINS_MAX 8
#define SESSION_MS ((int64_t)600000)

static unsigned int offered(const struct serve_options *o)
{
    return SERVE_ROLE_PULL | (o->push ? SERVE_ROLE_PUSH : 0) | (o->remove ? SERVE_ROLE_DELETE : 0);
}

unsigned int login_role(struct server *s, const char *session)
{
    int64_t now = time_monotonic_ms();
    if (!s->options->users)
        return offered(s->options);
    if (!session)
        return s->options->anonymous ? SERVE_ROLE_PULL : 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (strcmp(s->sessions[i].id, session) == 0 && s->sessions[i].until_ms > now)
            return s->sessions[i].role & offered(s->options);
    return 0;
}

/* The one that ends first makes room. */
static struct session *free_session(struct server *s)
{
    struct session *best = &s->sessions[0];
    for (size_t i = 1; i < SESSIONS_MAX; i++)
        if (s->sessions[i].until_ms < best->until_ms)
            best = &s->sessions[i];
    return best;
}

static void checked(struct child *child, const char *text)
{
    struct call *c = child->context;
    struct server *s = child->server;
    _cleanup_json_ json_t *o = NULL;
    int64_t role = 0;
    s->logins--;
    if (json_parse(text, strlen(text), "proa-serve", &o, NULL) < 0 ||
        json_get_i64(o, "proa-serve", "role", &role, NULL) < 0 || role <= 0) {
        call_refuse_why(c, PROBLEM_UNAUTHORIZED, "the name or the password is wrong");
        call_answer(c);
        return;
    }
    struct session *session = free_session(s);
    random_hex(session->id, SERVE_ID_LEN / 2);
    session->role = (unsigned int)role;
    session->until_ms = time_monotonic_ms() + SESSION_MS;
    c->a.session = xstrdup(session->id);
    call_answer(c);
}

/* A memory file with the name and the secret, each ended by a NUL. */
static int pack_secret(const struct serve_request *q, struct error *err)
{
    _cleanup_close_ int fd = memfd_create("proa-login", MFD_CLOEXEC);
    const char *user = q->user ? q->user : "";
    if (fd < 0)
        return error_errno(err, errno, "create a memory file");
    int r = fd_write_all(fd, user, strlen(user) + 1);
    if (r == 0)
        r = fd_write_all(fd, q->secret, strlen(q->secret) + 1);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "fill a memory file") : TAKE_FD(fd);
}

enum call_state login_call(struct call *c)
{
    struct server *s = c->server;
    struct error err = ERROR_INIT;
    struct child *child;
    if (!s->options->users)
        return call_refuse_why(c, PROBLEM_UNAUTHORIZED, "this server knows no users");
    if (s->logins >= LOGINS_MAX)
        return call_refuse(c, PROBLEM_TOO_MANY);
    _cleanup_close_ int users = open(s->options->users, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (users < 0) {
        error_errno(&err, errno, "open %s", s->options->users);
        return call_failed(c, &err);
    }
    _cleanup_close_ int secret = pack_secret(&c->q, &err);
    char *const argv[] = {s->program, (char *)"auth", NULL};
    const struct child_spec spec = {.program = s->program,
                                    .argv = argv,
                                    .in = users,
                                    .extra = secret,
                                    .done = checked,
                                    .context = c};
    if (secret < 0 || child_start(s, &spec, &child, &err) < 0)
        return call_failed(c, &err);
    s->logins++;
    return CALL_LATER;
}

enum call_state check_call(struct call *c)
{
    (void)c;
    return CALL_DONE; /* the role has been checked, as for every request */
}
