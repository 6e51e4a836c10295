#include "base/fd_pass.h"
#include "runtime/oci/container.h"

int oci_console_send(const char *path, int master, struct error *err)
{
    /* The bytes are only for people: the terminal's name, as runc has it. */
    static const char name[] = "/dev/ptmx";
    int r = fd_pass_to(path, name, sizeof(name) - 1, master);
    return r < 0 ? error_errno(err, r, "send the terminal to %s", path) : 0;
}
