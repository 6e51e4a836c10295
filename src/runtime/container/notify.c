#include "runtime/container/notify.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/fd_pass.h"
#include "base/json.h"
#include "wire/oci/state.h"

static char *document(pid_t pid, const char *metadata, const char *state)
{
    json_t *state_json = json_loads(state, 0, NULL);
    _cleanup_json_ json_t *o =
        json_pack("{s:s,s:[s],s:i,s:s*,s:o*}", "ociVersion", OCI_VERSION, "fds", "seccompFd", "pid",
                  (int)pid, "metadata", metadata, "state", state_json);
    return o ? json_to_text(o) : NULL;
}

int notify_send(const char *socket_path, int listener, pid_t pid, const char *metadata,
                const char *state, struct error *err)
{
    _cleanup_free_ char *text = document(pid, metadata, state);
    if (!text)
        return error_invalid(err, "linux.seccomp: \"listenerMetadata\" is no text");
    int r = fd_pass_to(socket_path, text, strlen(text), listener);
    return r < 0 ? error_errno(err, r, "send the seccomp listener to %s", socket_path) : 0;
}
