#include "runtime/monitor/oom.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "kernel/cgroup.h"

/* "oom_kill N", a line of memory.events (v2) and of memory.oom_control (v1). A restarted instance
 * finds its group with the count of the runs before. */
static bool counts_a_kill(const char *text)
{
    static unsigned long before;
    const char *line = strstr(text, "oom_kill ");
    unsigned long count = line ? strtoul(line + 9, NULL, 10) : 0;
    bool more = count > 0 && count != before;
    before = count;
    return more;
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
