#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "guest/guest.h"

#define TEXT_MAX      ((size_t)1 << 20)
#define PROCESSES_MAX 4096

static char *read_text(const char *path)
{
    char *text = NULL;
    return file_read_kernel(AT_FDCWD, path, TEXT_MAX, &text) < 0 ? xstrdup("") : text;
}

static void memory_stats(struct agent_stats *s)
{
    _cleanup_free_ char *info = read_text("/proc/meminfo");
    uint64_t total = text_number_after(info, "MemTotal:") * 1024;
    uint64_t available = text_number_after(info, "MemAvailable:") * 1024;
    s->memory_limit = total;
    s->memory_bytes = total > available ? total - available : 0;
}

static void cpu_stats(struct agent_stats *s)
{
    _cleanup_free_ char *text = read_text("/proc/stat");
    unsigned long long v[8] = {0};
    if (sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
               &v[4], &v[5], &v[6], &v[7]) >= 4)
        s->cpu_ns =
            (v[0] + v[1] + v[2] + v[5] + v[6]) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void network_stats(struct agent_stats *s)
{
    _cleanup_free_ char *text = read_text("/proc/net/dev");
    const char *line = strstr(text, "eth0:");
    unsigned long long rx, tx;
    if (line && sscanf(line + 5, "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &rx, &tx) == 2) {
        s->net_rx_bytes = rx;
        s->net_tx_bytes = tx;
    }
}

static void block_stats(struct agent_stats *s)
{
    _cleanup_free_ char *text = read_text("/proc/diskstats");
    for (char *line = text; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        unsigned long long read_sectors, written_sectors;
        char name[32];
        if (sscanf(line, " %*u %*u %31s %*u %*u %llu %*u %*u %*u %llu", name, &read_sectors,
                   &written_sectors) == 3 &&
            strncmp(name, "vd", 2) == 0) {
            s->block_read_bytes += read_sectors * 512;
            s->block_write_bytes += written_sectors * 512;
        }
    }
}

void guest_stats(struct agent_stats *ret)
{
    _cleanup_free_ char *pids = read_text(GUEST_CGROUP "/pids.current");
    _cleanup_free_ char *limit = read_text(GUEST_CGROUP "/pids.max");
    memset(ret, 0, sizeof(*ret));
    ret->pids = strtoull(pids, NULL, 10);
    ret->pids_limit = strtoull(limit, NULL, 10); /* "max" is 0: none */
    memory_stats(ret);
    cpu_stats(ret);
    network_stats(ret);
    block_stats(ret);
}

struct process_line {
    int pid, ppid;
    long tty;
    unsigned long long ticks, start;
    unsigned int uid;
    char comm[64];
};

static int read_process(const char *pid, struct process_line *p)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    _cleanup_free_ char *stat = read_text(path);
    snprintf(path, sizeof(path), "/proc/%s/status", pid);
    _cleanup_free_ char *status = read_text(path);
    char *open = strchr(stat, '('), *close = strrchr(stat, ')');
    unsigned long long user, system;
    if (!open || !close || close < open ||
        sscanf(close + 1,
               " %*c %d %*d %*d %ld %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
               "%*d %*d %llu",
               &p->ppid, &p->tty, &user, &system, &p->start) != 5)
        return -ESRCH;
    p->pid = (int)strtol(pid, NULL, 10);
    p->ticks = user + system;
    p->uid = (unsigned int)text_number_after(status, "Uid:");
    snprintf(p->comm, sizeof(p->comm), "[%.*s]", (int)MIN(close - open - 1, (ptrdiff_t)60),
             open + 1);
    return 0;
}

static char *command_line(const char *pid, const char *comm)
{
    char path[64];
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fd_read_to_end(fd, &text) < 0)
        buf_reset(&text);
    while (text.len > 0 && text.data[text.len - 1] == '\0')
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\0' || (unsigned char)text.data[i] < 0x20)
            text.data[i] = ' ';
    return text.len ? buf_take(&text) : xstrdup(comm);
}

static json_t *process_row(const char *pid, const struct process_line *p, time_t boot)
{
    char uid[16], pid_text[16], ppid[16], start[16], tty[16] = "?", used[24];
    long ticks = sysconf(_SC_CLK_TCK);
    time_t started = boot + (time_t)(p->start / (unsigned long long)ticks);
    unsigned long long seconds = p->ticks / (unsigned long long)ticks;
    struct tm tm;
    gmtime_r(&started, &tm);
    strftime(start, sizeof(start), "%H:%M", &tm);
    snprintf(uid, sizeof(uid), "%u", p->uid);
    snprintf(pid_text, sizeof(pid_text), "%d", p->pid);
    snprintf(ppid, sizeof(ppid), "%d", p->ppid);
    if (p->tty >> 8 == 136)
        snprintf(tty, sizeof(tty), "pts/%d", (int)(p->tty & 0xff));
    snprintf(used, sizeof(used), "%02llu:%02llu:%02llu", seconds / 3600, seconds / 60 % 60,
             seconds % 60);
    _cleanup_free_ char *command = command_line(pid, p->comm);
    json_t *cmd = json_string(command);
    if (!cmd) /* not UTF-8 */
        cmd = json_string(p->comm);
    return json_pack("[s,s,s,s,s,s,s,o]", uid, pid_text, ppid, "0", start, tty, used,
                     cmd ? cmd : json_string("?"));
}

/* The processes of the workload's cgroup: not the agent, nor the kernel's threads. */
char *guest_processes(const struct guest *g)
{
    static const char *const titles[] = {"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"};
    _cleanup_json_ json_t *o = json_object();
    json_t *names = json_array(), *rows = json_array();
    _cleanup_free_ char *stat = read_text("/proc/stat");
    _cleanup_free_ char *pids = read_text(GUEST_CGROUP "/cgroup.procs");
    time_t boot = (time_t)text_number_after(stat, "btime ");
    char *state = NULL;
    (void)g;
    for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
        json_array_append_new(names, json_string(titles[i]));
    for (char *pid = strtok_r(pids, "\n", &state); pid; pid = strtok_r(NULL, "\n", &state)) {
        struct process_line p = {0};
        if (json_array_size(rows) < PROCESSES_MAX && read_process(pid, &p) == 0)
            json_array_append_new(rows, process_row(pid, &p, boot));
    }
    json_object_set_new(o, "titles", names);
    json_object_set_new(o, "processes", rows);
    return json_to_text(o);
}
