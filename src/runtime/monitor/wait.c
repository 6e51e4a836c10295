#include "runtime/monitor/client.h"
#include "wire/attach.h"

int monitor_wait_end(const char *run_dir, int *ret_code, struct error *err)
{
    static const struct attach_message hello = {.type = ATTACH_HELLO};
    unsigned char buffer[ATTACH_MAX_MESSAGE];
    struct attach_message m;
    int fd;
    int r = monitor_connect(run_dir, &fd, err);
    if (r < 0)
        return r;
    _cleanup_close_ int connection = fd;
    r = attach_send(connection, &hello, 0);
    while (r == 0) {
        r = attach_receive(connection, buffer, 0, &m);
        if (r == 0 && m.type == ATTACH_EXIT) {
            *ret_code = m.exit_code;
            return 0;
        }
        if (r == -EINTR)
            r = 0;
    }
    return error_errno(err, r, "wait for the end of the instance");
}
