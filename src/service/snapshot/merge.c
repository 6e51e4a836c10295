#include <fcntl.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "service/snapshot/snapshot.h"
#include "wire/disk/merge.h"

#define OUT   4 /* numbers in proa-disk (wire/disk/main.c) */
#define FIRST 5

static int wait_for(pid_t pid, int messages, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    int status = 0;
    int r = process_wait(pid, &status);
    if (r < 0)
        return error_errno(err, r, "wait for proa-disk");
    (void)!lseek(messages, 0, SEEK_SET);
    (void)!fd_read_to_end(messages, &text);
    return status ? program_failed("proa-disk", &text, status, err) : 0;
}

int snapshot_merge(const int *fds, size_t n, bool raw, int out, struct error *err)
{
    _cleanup_free_ char *path = NULL, *layers = xasprintf("%zu", n - raw);
    _cleanup_close_ int messages = memfd_create("proa-disk", MFD_CLOEXEC);
    struct process_fd given[3 + DISK_LAYERS_MAX] = {{messages, STDERR_FILENO}, {out, OUT}};
    size_t n_given = 2;
    pid_t pid;
    if (n - raw == 0 || n - raw > DISK_LAYERS_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "a chain of %zu files", n);
    if (raw)
        given[n_given++] = (struct process_fd){fds[0], STDIN_FILENO};
    for (size_t i = raw; i < n; i++)
        given[n_given++] = (struct process_fd){fds[i], FIRST + (int)(i - raw)};
    char *const argv[] = {(char *)"proa-disk",          (char *)"merge",
                          (char *)"--layers",           layers,
                          raw ? (char *)"--raw" : NULL, NULL};
    int r = program_find("proa-disk", &path, err);
    const struct process_spec spec = {.path = path, .argv = argv, .fds = given, .n_fds = n_given};
    if (r == 0)
        r = process_start(&spec, &pid, err);
    return r < 0 ? r : wait_for(pid, messages, err);
}
