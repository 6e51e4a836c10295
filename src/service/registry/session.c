/*
 * A session with a registry: a proa-registry of our own behind a socket pair. It is given its
 * configuration in a memory file, of our environment only what names a proxy, and for its
 * complaints another memory file, which is read when it ends before it should.
 */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/fd_pass.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "service/registry/registry.h"
#include "wire/registry/protocol.h"

struct registry_session {
    int socket, complaints;
    pid_t pid;
    int64_t last_id;
    /* Ends of other requests that came while a call waited for its own. */
    struct registry_answer *kept;
    size_t n_kept;
};

static int add_credentials(const struct registry_options *o, const char *host,
                           const char *repository, json_t *config, struct error *err)
{
    _cleanup_(registry_credentials_done) struct registry_credentials c = {0};
    int r = registry_credentials_find(o, host, repository, &c, err);
    const struct {
        const char *key, *value;
    } members[] = {{"user", c.user}, {"password", c.password}, {"identity", c.identity}};
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++)
        if (members[i].value)
            json_object_set_new(config, members[i].key, json_string(members[i].value));
    return r;
}

static int make_config(const struct registry_options *o, const struct registry_endpoint *at,
                       const char *repository, char *const *scopes, int *ret_fd, struct error *err)
{
    _cleanup_json_ json_t *config =
        json_pack("{sssssssbsiso}", "name", at->host, "url", at->url, "repository",
                  repository ? repository : "", "verify", at->verify, "stall_s", (int)at->stall_s,
                  "scopes", json_from_strv(scopes));
    int r;
    if (!repository)
        json_object_del(config, "repository");
    if ((r = add_credentials(o, at->host, repository, config, err)) < 0 ||
        (r = registry_trust_add(o, at->host, config, err)) < 0)
        return r;
    _cleanup_free_ char *text = json_to_text(config);
    _cleanup_close_ int fd = memfd_create("proa-registry", MFD_CLOEXEC);
    if (fd < 0 || (r = fd_write_all(fd, text, strlen(text))) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        r = error_errno(err, r < 0 ? r : errno, "configure proa-registry");
    explicit_bzero(text, strlen(text));
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

static char **helper_environment(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    char **env = NULL;
    strv_add(&env, "LC_ALL=C.UTF-8");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (getenv(names[i]))
            strv_addf(&env, "%s=%s", names[i], getenv(names[i]));
    return env;
}

static int start_helper(struct registry_session *s, int config, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_strv_ char **env = helper_environment();
    int pair[2];
    int r = program_find("proa-registry", &path, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "start proa-registry");
    _cleanup_close_ int theirs = pair[1];
    s->socket = pair[0];
    char *argv[] = {path, NULL};
    const struct process_fd fds[] = {
        {config, STDIN_FILENO}, {s->complaints, STDERR_FILENO}, {theirs, REGISTRY_SOCKET_FD}};
    const struct process_spec spec = {
        .path = path, .argv = argv, .env = env, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    return process_start(&spec, &s->pid, err);
}

int registry_session_open(const struct registry_options *o, const struct registry_endpoint *at,
                          const char *repository, char *const *scopes,
                          struct registry_session **ret, struct error *err)
{
    _cleanup_session_ struct registry_session *s = xnew(struct registry_session);
    _cleanup_close_ int config = -EBADF;
    s->socket = -EBADF;
    s->complaints = memfd_create("proa-registry-stderr", MFD_CLOEXEC);
    if (s->complaints < 0)
        return error_errno(err, errno, "start proa-registry");
    int r = make_config(o, at, repository, scopes, &config, err);
    if (r < 0 || (r = start_helper(s, config, err)) < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

void registry_session_close(struct registry_session *s)
{
    int status;
    if (!s)
        return;
    s->socket = close_fd(s->socket); /* it ends */
    s->complaints = close_fd(s->complaints);
    if (s->pid > 0)
        (void)!process_wait(s->pid, &status);
    for (size_t i = 0; i < s->n_kept; i++)
        registry_answer_done(&s->kept[i]);
    free(s->kept);
    free(s);
}

int registry_session_fd(const struct registry_session *s)
{
    return s->socket;
}

/* It has ended by itself; what did it say? "KIND MESSAGE", or anything. */
static int helper_ended(struct registry_session *s, struct error *err)
{
    char text[512];
    ssize_t n = pread(s->complaints, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    char *space = strchr(text, ' ');
    if (!space)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-registry has ended without an answer");
    *space = '\0';
    return error_set(err, error_kind_from_name(text), EIO, "proa-registry: %s", space + 1);
}

int registry_session_send(struct registry_session *s, json_t *request, const int *fds, size_t n,
                          int64_t *ret_id, struct error *err)
{
    json_object_set_new(request, "id", json_integer(++s->last_id));
    _cleanup_free_ char *text = json_to_text(request);
    json_decref(request);
    *ret_id = s->last_id;
    int r = fd_pass_many(s->socket, text, strlen(text), fds, n);
    if (r == -EPIPE || r == -ECONNRESET)
        return helper_ended(s, err);
    return r < 0 ? error_errno(err, r, "ask proa-registry") : 0;
}

void registry_answer_done(struct registry_answer *a)
{
    json_decref(a->members);
    a->members = NULL;
}

static int read_failure(const json_t *o, struct registry_answer *a, struct error *err)
{
    const char *kind = NULL, *message = NULL;
    int64_t number = EIO;
    int r;
    if ((r = json_get_string(o, "answer", "error", &kind, err)) < 0 ||
        (r = json_get_string(o, "answer", "message", &message, err)) < 0 ||
        (r = json_get_i64(o, "answer", "errno", &number, err)) < 0)
        return r;
    if (kind)
        error_set(&a->failure, error_kind_from_name(kind),
                  number > 0 && number < 4096 ? (int)number : EIO, "%s",
                  message ? message : "it fails");
    a->ended = kind || json_object_get(o, "ok");
    return 0;
}

static int read_answer(json_t *o, struct registry_answer *a, struct error *err)
{
    int64_t received = 0;
    int r;
    a->id = -1;
    if ((r = json_get_i64(o, "answer", "id", &a->id, err)) < 0 ||
        (r = json_get_i64(o, "answer", "received", &received, err)) < 0 ||
        (r = json_get_i64(o, "answer", "bytes", &received, err)) < 0 ||
        (r = read_failure(o, a, err)) < 0)
        return r;
    a->received = received > 0 ? (uint64_t)received : 0;
    if (a->ended && !a->failure.code)
        a->members = json_incref(o);
    return 0;
}

static int receive(struct registry_session *s, struct registry_answer *ret, struct error *err)
{
    char text[REGISTRY_MESSAGE_MAX + 1];
    _cleanup_json_ json_t *o = NULL;
    ssize_t n;
    memset(ret, 0, sizeof(*ret));
    while ((n = recv(s->socket, text, sizeof(text), 0)) < 0 && errno == EINTR)
        ;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return helper_ended(s, err);
    if (n < 0)
        return error_errno(err, errno, "listen to proa-registry");
    int r = json_parse(text, (size_t)n, "proa-registry's answer", &o, err);
    return r < 0 ? r : read_answer(o, ret, err);
}

int registry_session_receive(struct registry_session *s, struct registry_answer *ret,
                             struct error *err)
{
    if (s->n_kept == 0)
        return receive(s, ret, err);
    *ret = s->kept[0];
    memmove(s->kept, s->kept + 1, --s->n_kept * sizeof(*s->kept));
    return 0;
}

static void keep(struct registry_session *s, struct registry_answer *a)
{
    s->kept = xreallocarray(s->kept, s->n_kept + 1, sizeof(*s->kept));
    s->kept[s->n_kept++] = *a;
    memset(a, 0, sizeof(*a));
}

int registry_session_call(struct registry_session *s, json_t *request, int fd, json_t **ret,
                          struct error *err)
{
    _cleanup_(registry_answer_done) struct registry_answer a = {0};
    int64_t id;
    int r = registry_session_send(s, request, &fd, fd >= 0 ? 1 : 0, &id, err);
    while (r == 0 && !(a.ended && a.id == id)) {
        if (a.ended)
            keep(s, &a);
        registry_answer_done(&a);
        r = receive(s, &a, err);
    }
    if (r < 0)
        return r;
    if (a.failure.code)
        return error_set(err, a.failure.kind, a.failure.code, "%s", a.failure.msg);
    if (ret)
        *ret = TAKE_PTR(a.members);
    return 0;
}

int registry_session_document(struct registry_session *s, json_t *request, char **ret_text,
                              size_t *ret_len, json_t **ret, struct error *err)
{
    _cleanup_json_ json_t *answer = NULL;
    struct stat st;
    _cleanup_close_ int fd = memfd_create("proa-document", MFD_CLOEXEC);
    if (fd < 0) {
        json_decref(request);
        return error_errno(err, errno, "receive a document");
    }
    int r = registry_session_call(s, request, fd, &answer, err);
    if (r < 0)
        return r;
    int64_t bytes = json_integer_value(json_object_get(answer, "bytes"));
    if (fstat(fd, &st) < 0 || bytes < 0 || bytes > st.st_size)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "proa-registry says more than it wrote");
    if ((size_t)bytes > JSON_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "a document of more than %zu bytes",
                         JSON_MAX_BYTES);
    _cleanup_free_ char *text = xcalloc((size_t)bytes + 1, 1);
    if (pread(fd, text, (size_t)bytes, 0) != bytes)
        return error_errno(err, EIO, "read a document");
    *ret_text = TAKE_PTR(text);
    *ret_len = (size_t)bytes;
    if (ret)
        *ret = TAKE_PTR(answer);
    return 0;
}
