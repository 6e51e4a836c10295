#include "engine/pipeline.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/process.h"

/* The child's verdict travels whole: struct error holds no pointers. */
struct verdict {
    int r;
    struct error err;
};

static _noreturn_ void run_writer(pipeline_half *writer, void *context, int data, int report)
{
    struct verdict v = {0};
    signal(SIGPIPE, SIG_IGN);
    v.r = writer(context, data, &v.err);
    (void)!write(report, &v, sizeof(v));
    _exit(v.r < 0);
}

int pipeline_run(pipeline_half *writer, pipeline_half *reader, void *context, struct error *err)
{
    int data[2], report[2], status;
    struct verdict v = {0};
    if (pipe2(data, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int data_read = data[0], data_write = data[1];
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int report_read = report[0], report_write = report[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, errno, "start a copy");
    if (pid == 0) {
        close(data_read);
        run_writer(writer, context, data_write, report_write);
    }
    data_write = close_fd(data_write);
    report_write = close_fd(report_write);
    int r = reader(context, data_read, err);
    data_read = close_fd(data_read);
    bool told = fd_read_full(report_read, &v, sizeof(v)) == sizeof(v);
    (void)!process_wait(pid, &status);
    if (!told)
        return error_set(err, ERROR_SYSTEM, EIO, "the sending half of the copy was killed");
    if (v.r < 0 && (v.r != -EPIPE || r == 0)) {
        if (err)
            *err = v.err;
        return v.r;
    }
    return r;
}
