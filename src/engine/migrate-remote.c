/*
 * Moving to another host. All that is said goes one way, as a parcel; where it asks a question the
 * other side answers with one line:
 *
 *   head, question 1    the machine and its token: may it come?
 *   parts of its disks  before it stands still; then the rest, and its memory
 *   question 2          is all of it there, and kept?
 *   (the byte)
 *   question 3          it has left: let it go on. An end instead: it has not
 *
 * "ok", "no WHY" (nothing has changed there), "moved WHY" (it is there, and does not run). When the
 * third answer does not come, what is left here stays until it has been asked again: then the head
 * says "moved", and question 1 is the third.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/migrate-internal.h"
#include "engine/parcel.h"

struct remote {
    struct destination base;
    const struct migrate_target *to;
    char *host, *port;
    pid_t pid;
    int fd, messages;
    struct parcel_writer w;
    uint64_t asked;
    size_t n_levels; /* of its disks' chains, that have been sent */
};

static struct remote *remote_of(struct destination *d)
{
    return (struct remote *)d;
}

/* "tls://HOST[:PORT][/]", HOST a name, an IPv4 address, or an IPv6 one in brackets. */
static int parse_to(struct remote *m, struct error *err)
{
    const char *text = m->to->to + strlen("tls://");
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '/')
        len--;
    _cleanup_free_ char *all = xstrndup(text, len);
    char *end = all[0] == '[' ? strchr(all, ']') : strchrnul(all, ':');
    const char *port = NULL, *host = all[0] == '[' ? all + 1 : all;
    if (end && *end) {
        port = *end == ']' ? (end[1] == ':' ? end + 2 : end[1] ? "" : NULL) : end + 1;
        *end = '\0';
    }
    if (!end || !*host || strlen(host) > 253 || strpbrk(host, "/ %@") || host[0] == '-' ||
        (port && (!*port || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port))))
        return error_invalid(err, "--to \"%.100s\": tls://HOST or tls://HOST:PORT", m->to->to);
    m->host = xstrdup(host);
    m->port = xstrdup(port ? port : MIGRATE_PORT);
    return 0;
}

/* What the other side said before it went counts more than that nothing can be written to it. */
static int lost(struct remote *m, struct error *err)
{
    char line[PARCEL_ANSWER_MAX];
    struct error ignored = ERROR_INIT;
    int r = -EPIPE;
    if (m->fd >= 0 && parcel_line(m->fd, line, sizeof(line), &ignored) == 0)
        r = error_set(err, ERROR_SYSTEM, EPIPE, "%s: %s", m->host,
                      strncmp(line, "no ", 3) == 0 ? line + 3 : line);
    else
        r = parcel_why(&m->pid, m->messages, err);
    m->fd = close_fd(m->fd);
    return r;
}

/* The answer, or why there is none. */
static int ask(struct remote *m, char *line, size_t size, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = parcel_add(&m->w, PARCEL_SYNC, ++m->asked, NULL, 0, &why);
    if (r == 0)
        r = parcel_line(m->fd, line, size, &why);
    return r < 0 ? lost(m, err) : 0;
}

static int ask_plain(struct remote *m, struct error *err)
{
    char line[PARCEL_ANSWER_MAX];
    int r = ask(m, line, sizeof(line), err);
    if (r == 0 && strcmp(line, "ok") != 0)
        r = error_set(err, ERROR_CONFLICT, EBUSY, "%s: %s", m->host,
                      strncmp(line, "no ", 3) == 0 ? line + 3 : line);
    return r;
}

static int send_head(struct remote *m, const char *what, struct error *err)
{
    const struct subject *s = m->base.s;
    char token[65];
    struct parcel_head h = {.what = (char *)what, .runs = m->base.runs, .instance = s->record};
    int r = moving_token(s->bundle, token, err);
    if (r == 0)
        r = arrival_ports_of(m->base.from, s->record.id, &h.ports, err);
    if (r < 0)
        return r;
    h.token = token;
    _cleanup_free_ char *text = parcel_head_text(&h);
    arrival_ports_free(h.ports);
    if (strlen(text) > PARCEL_HEAD_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "its options are too long");
    r = parcel_begin(&m->w, m->fd, err);
    return r < 0 ? r : parcel_add(&m->w, PARCEL_HEAD, 0, text, strlen(text), err);
}

static int begin_as(struct remote *m, const char *what, struct error *err)
{
    int r = parcel_tls_check(&m->to->tls, err);
    if (r == 0)
        r = parse_to(m, err);
    if (r == 0)
        r = parcel_dial(m->host, m->port, &m->to->tls, &m->pid, &m->fd, &m->messages, err);
    return r < 0 ? r : send_head(m, what, err);
}

static int begin(struct destination *d, struct error *err)
{
    const struct subject *s = d->s;
    if (s->record.kind != RUNTIME_VM)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s is a container: only machines can be moved", s->record.name);
    int r = machine_may_leave(&s->options, s->record.name, false, err);
    if (r == 0)
        r = begin_as(remote_of(d), "machine", err);
    return r < 0 ? r : ask_plain(remote_of(d), err);
}

static bool copies(const struct destination *d)
{
    (void)d;
    return true;
}

static int send_file(struct remote *m, const char *name, const char *path, struct error *err)
{
    struct error why = ERROR_INIT;
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    m->base.copied += (uint64_t)st.st_blocks * 512;
    int r = parcel_add_file(&m->w, name, fd, &why);
    return r == -EPIPE || r == -ECONNRESET ? lost(m, err)
           : r < 0                         ? error_set(err, why.kind, -r, "%s", why.msg)
                                           : 0;
}

static int send_level(struct remote *m, const struct snapshot_level *level, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && level->files[i]; i++) {
        _cleanup_free_ char *name = parcel_part_name(m->n_levels, level->files[i]);
        _cleanup_free_ char *path = path_join(level->dir, level->files[i]);
        r = send_file(m, name, path, err);
    }
    m->n_levels++;
    return r;
}

static int disks(struct destination *d, const struct snapshot_level *levels, struct error *err)
{
    struct remote *m = remote_of(d);
    int r = 0;
    while (r == 0 && levels[m->n_levels].dir)
        r = send_level(m, &levels[m->n_levels], err);
    return r;
}

static int rest(struct destination *d, struct error *err)
{
    return d->s->options.firmware ? parcel_add_state(&remote_of(d)->w, d->s->bundle, err) : 0;
}

static int memory(struct destination *d, const char *file, struct error *err)
{
    return send_file(remote_of(d), MACHINE_MEMORY, file, err);
}

static int ready(struct destination *d, struct error *err)
{
    return ask_plain(remote_of(d), err);
}

/* The last answer. */
static int conclude(struct remote *m, bool *ret_told, struct error *err)
{
    char line[PARCEL_ANSWER_MAX];
    struct error why = ERROR_INIT;
    int r = ask(m, line, sizeof(line), &why);
    if (r == 0 && strcmp(line, "ok") == 0) {
        *ret_told = true;
        return 0;
    }
    if (r == 0 && strncmp(line, "moved ", 6) == 0) {
        *ret_told = true;
        return error_set(err, ERROR_SYSTEM, EIO, "%s: %s", m->host, line + 6);
    }
    return error_set(
        err, ERROR_SYSTEM, EPIPE,
        "it has left, and %s has not said that it knows (%s): proa migrate again tells "
        "it",
        m->host, r < 0 ? why.msg : line);
}

static int finish(struct destination *d, bool *ret_told, struct error *err)
{
    return conclude(remote_of(d), ret_told, err);
}

/* It stays: the end of the parcel says so. */
static void undo(struct destination *d)
{
    struct remote *m = remote_of(d);
    struct error ignored = ERROR_INIT;
    if (m->fd >= 0)
        (void)!parcel_finish(&m->w, &ignored);
}

static void done(struct destination *d)
{
    struct remote *m = remote_of(d);
    int status;
    m->fd = close_fd(m->fd); /* proa-parcel sees the end, and goes */
    if (m->pid > 0)
        waitpid(m->pid, &status, 0);
    close_fd(m->messages);
    free(m->host);
    free(m->port);
    free(m);
}

struct destination *remote_destination(const struct migrate_target *to)
{
    static const struct destination_ops ops = {.begin = begin,
                                               .copies = copies,
                                               .disks = disks,
                                               .rest = rest,
                                               .memory = memory,
                                               .ready = ready,
                                               .finish = finish,
                                               .undo = undo,
                                               .done = done};
    struct remote *m = xnew(struct remote);
    *m = (struct remote){.base.ops = &ops, .to = to, .fd = -EBADF, .messages = -EBADF};
    return &m->base;
}

int remote_remind(struct engine *e, struct subject *s, const struct migrate_target *to,
                  struct error *err)
{
    struct destination *d = remote_destination(to);
    bool told = false;
    d->from = e;
    d->s = s;
    int r = clean_here(s, err); /* before it goes on there */
    if (r == 0)
        r = begin_as(remote_of(d), "moved", err);
    if (r == 0)
        r = conclude(remote_of(d), &told, err);
    d->ops->done(d);
    if (!told)
        return r;
    int removed = remove_locked(e, s, false, err);
    return r < 0 ? r : removed;
}
