/*
 * Receivers, hashers, checkers of passwords, makers of images: each is a process, started for one
 * job, whose output says how it went. An end of the output is the end of the job: the process is
 * killed then, whatever it still does, so that waiting for it cannot block the server.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "service/serve/server-internal.h"

#define OUTPUT_MAX 4096

int child_start(struct server *s, const struct child_spec *spec, struct child **ret,
                struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int out = ends[0], write_end = ends[1];
    const struct process_fd fds[] = {{spec->in, STDIN_FILENO},
                                     {write_end, STDOUT_FILENO},
                                     {STDERR_FILENO, STDERR_FILENO},
                                     {spec->extra, 3}};
    const struct process_spec process = {.path = spec->program,
                                         .argv = spec->argv,
                                         .fds = fds,
                                         .n_fds = spec->extra >= 0 ? 4 : 3,
                                         .new_session = true};
    pid_t pid;
    int r = process_start(&process, &pid, err);
    if (r < 0)
        return r;
    struct child *c = xnew(struct child);
    *c = (struct child){.next = s->children,
                        .server = s,
                        .pid = pid,
                        .out = TAKE_FD(out),
                        .text = BUF_INIT(OUTPUT_MAX),
                        .done = spec->done,
                        .context = spec->context};
    s->children = c;
    *ret = c;
    return 0;
}

static void release(struct child *c)
{
    for (struct child **at = &c->server->children; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    close_fd(c->out);
    buf_done(&c->text);
    free(c);
}

void child_end(struct child *c)
{
    if (c)
        release(c);
}

void child_read(struct child *c)
{
    char chunk[1024];
    ssize_t n = read(c->out, chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR)
        return;
    if (n > 0 && buf_add(&c->text, chunk, (size_t)n) == 0)
        return;
    c->done(c, c->text.data ? c->text.data : "");
    release(c);
}
