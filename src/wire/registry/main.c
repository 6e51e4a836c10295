/*
 * proa-registry: everything that speaks HTTP and TLS, in a process without privilege. It is started
 * by proa for one session with one registry (protocol.h), is given descriptors for whatever it
 * reads and writes, and leaves when proa closes the socket. An error that ends it is one line on
 * stderr, "KIND MESSAGE".
 */
#include <sys/stat.h>

#include "base/fd.h"
#include "wire/registry/client.h"
#include "wire/registry/protocol.h"

static int run(struct error *err)
{
    struct client c = {.socket = REGISTRY_SOCKET_FD};
    struct buf config = BUF_INIT(REGISTRY_CONFIG_MAX);
    struct stat st;
    if (fstat(c.socket, &st) < 0 || !S_ISSOCK(st.st_mode))
        return error_invalid(err, "this program is started by proa");
    int r = fd_read_to_end(STDIN_FILENO, &config);
    if (r < 0)
        return error_errno(err, r, "read the configuration");
    /* Before no file of root's can be opened any more. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "curl cannot start");
    r = registry_confine(err);
    if (r == 0)
        r = client_configure(&c, config.data ? config.data : "", config.len, err);
    buf_done(&config);
    /* The end of the process is the end of what is left of it. */
    return r == 0 ? client_run(&c, err) : r;
}

int main(void)
{
    struct error err = ERROR_INIT;
    if (run(&err) == 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
