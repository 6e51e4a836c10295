/*
 * Hooks (runtime-spec, config.md "POSIX-platform Hooks"): programs of the configuration's that are
 * given the container's state on standard input at named moments.
 *
 * Each runs to its end before the next; one that fails, or takes longer than its timeout, fails the
 * whole, unless the moment is past and it can only be told. The state comes from a sealed memory
 * file, so that a hook that does not read it holds up nobody. What it says on standard error is
 * kept for the message.
 */
#include "runtime/container/hooks.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "kernel/ns.h"

#define MAX_SAID     4096
#define MAX_WARNINGS ((size_t)1 << 16)

static int memory_file(const char *name, const char *text)
{
    _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = text ? fd_write_all(fd, text, strlen(text)) : 0;
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : TAKE_FD(fd);
}

static _noreturn_ void child(const struct oci_hook *h, int in, int said)
{
    char *const nothing[] = {NULL};
    char *const name[] = {h->path, NULL};
    process_default_signals();
    if (dup2(in, 0) < 0 || dup2(said, 1) < 0 || dup2(said, 2) < 0)
        _exit(127);
    fd_close_others(NULL, 0);
    execve(h->path, h->args ? h->args : name, h->env ? h->env : (char *const *)nothing);
    dprintf(2, "%s", strerror(errno));
    _exit(127);
}

/* The last line of what it said, for the message. */
static char *last_line(int said)
{
    char text[MAX_SAID + 1];
    off_t end = lseek(said, 0, SEEK_END);
    ssize_t n = pread(said, text, MAX_SAID, end > MAX_SAID ? end - MAX_SAID : 0);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    if (n <= 0)
        return NULL;
    text[n] = '\0';
    const char *line = strrchr(text, '\n');
    return xstrdup(line ? line + 1 : text);
}

static int wait_hook(pid_t pid, const struct oci_hook *h, int *ret_status)
{
    _cleanup_close_ int pidfd = ns_pidfd(pid);
    int64_t ms = h->timeout_s > INT32_MAX / 1000 ? INT32_MAX : h->timeout_s * 1000;
    int r = pidfd < 0 || h->timeout_s <= 0 ? 0 : ns_pidfd_wait(pidfd, (int)ms);
    if (r == -ETIMEDOUT)
        (void)!ns_pidfd_signal(pidfd, SIGKILL);
    int waited = process_wait(pid, ret_status);
    return r < 0 ? r : waited;
}

static int run_one(const struct oci_hook *h, const char *what, const char *state, struct error *err)
{
    _cleanup_close_ int in = memory_file("state", state), said = memory_file("said", NULL);
    int status = 0;
    if (in < 0 || said < 0)
        return error_errno(err, in < 0 ? in : said, "make a file for the hook");
    pid_t pid = fork();
    if (pid == 0)
        child(h, in, said);
    if (pid < 0)
        return error_errno(err, errno, "start the %s hook %s", what, h->path);
    int r = wait_hook(pid, h, &status);
    if (r == -ETIMEDOUT)
        return error_set(err, ERROR_LIMIT, ETIMEDOUT,
                         "the %s hook %s took longer than its %lld seconds", what, h->path,
                         (long long)h->timeout_s);
    if (r < 0)
        return error_errno(err, r, "wait for the %s hook %s", what, h->path);
    if (status == 0)
        return 0;
    _cleanup_free_ char *line = last_line(said);
    return error_set(err, ERROR_SYSTEM, ECANCELED, "the %s hook %s failed with status %d%s%s", what,
                     h->path, status, line ? ": " : "", line ? line : "");
}

int hooks_run(const struct oci_hook_list *hooks, const char *what, const char *state,
              struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < hooks->n && r == 0; i++)
        r = run_one(&hooks->items[i], what, state, err);
    return r;
}

char *hooks_run_all(const struct oci_hook_list *hooks, const char *what, const char *state)
{
    _cleanup_buf_ struct buf said = BUF_INIT(MAX_WARNINGS);
    for (size_t i = 0; i < hooks->n; i++) {
        struct error err = ERROR_INIT;
        if (run_one(&hooks->items[i], what, state, &err) < 0)
            (void)!buf_addf(&said, "%s%s", said.len > 0 ? "; " : "", err.msg);
    }
    return said.len > 0 ? buf_take(&said) : NULL;
}
