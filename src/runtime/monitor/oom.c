#include "runtime/monitor/oom.h"

#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "kernel/cgroup.h"

/* "oom_kill N", a line of memory.events (v2) and of memory.oom_control (v1). */
static bool counts_a_kill(const char *text)
{
    const char *line = strstr(text, "oom_kill ");
    return line && line[9] >= '1' && line[9] <= '9';
}

bool oom_killed(pid_t pid)
{
    _cleanup_(cgroup_done) struct cgroup of_process = CGROUP_INIT, own = CGROUP_INIT;
    _cleanup_free_ char *text = NULL;
    /* By name a second time: the process may be in the root of a hierarchy for which its instance
     * has no group, and what the whole host counts there is not its own. */
    if (cgroup_of_process(pid, &of_process, NULL) < 0 || !of_process.path || !*of_process.path ||
        cgroup_open(of_process.path, &own, NULL) < 0)
        return false;
    int dir = own.dirs[own.is_v2 ? CGROUP_UNIFIED : CGROUP_MEMORY];
    const char *file = own.is_v2 ? "memory.events" : "memory.oom_control";
    return dir >= 0 && file_read_kernel(dir, file, 4096, &text) == 0 && counts_a_kill(text);
}
