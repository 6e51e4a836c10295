/* `top`: the processes of the control group, read from the host's /proc. Nothing is executed in the
 * container. The columns are those of `ps -ef`; the numbers are the host's, as Docker shows them.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "runtime/container/ops.h"

#define MAX_FILE 65536

/* The members of /proc/PID/stat that are used, after "PID (name) ". */
struct process_stat {
    int ppid, tty;
    unsigned long long user_ticks, system_ticks, start_ticks;
    char name[64];
};

static bool read_stat(int dir, struct process_stat *ret)
{
    _cleanup_free_ char *text = NULL;
    if (file_read_kernel(dir, "stat", MAX_FILE, &text) < 0)
        return false;
    char *open_paren = strchr(text, '('), *close_paren = strrchr(text, ')');
    if (!open_paren || !close_paren || close_paren < open_paren)
        return false;
    snprintf(ret->name, sizeof(ret->name), "%.*s", (int)(close_paren - open_paren - 1),
             open_paren + 1);
    return sscanf(close_paren + 1,
                  " %*c %d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d "
                  "%llu",
                  &ret->ppid, &ret->tty, &ret->user_ticks, &ret->system_ticks,
                  &ret->start_ticks) == 5;
}

/* Arguments with spaces between; the name in brackets for a process without any. Control
 * characters could drive the reader's terminal. */
static char *command(int dir, const char *name)
{
    _cleanup_close_ int fd = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t n = fd < 0 ? 0 : fd_read_full(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return xasprintf("[%s]", name);
    text[n] = '\0';
    while (n > 0 && text[n - 1] == '\0')
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (text[i] == '\0')
            text[i] = ' ';
        else if ((unsigned char)text[i] < 32 || (unsigned char)text[i] > 126)
            text[i] = '?';
    return xstrndup(text, (size_t)n);
}

static json_t *user_name(uid_t uid)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", (unsigned int)uid);
    return json_string(uid == 0 ? "root" : text);
}

static json_t *tty_name(int tty)
{
    unsigned int major = (unsigned int)tty >> 8 & 0xfff;
    unsigned int minor = ((unsigned int)tty & 0xff) | ((unsigned int)tty >> 12 & 0xfff00);
    if (major >= 136 && major <= 143)
        return json_sprintf("pts/%u", minor + (major - 136) * 256);
    return json_string(tty ? "tty" : "?");
}

static json_t *start_time(time_t started, time_t now)
{
    struct tm tm;
    char text[16];
    localtime_r(&started, &tm);
    strftime(text, sizeof(text), now - started < 24 * 60 * 60 ? "%H:%M" : "%b%d", &tm);
    return json_string(text);
}

static json_t *row(pid_t pid, double uptime)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d", (int)pid), *cmd = NULL;
    struct process_stat s;
    struct stat st;
    _cleanup_close_ int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fstat(dir, &st) < 0 || !read_stat(dir, &s))
        return NULL; /* it has just ended */
    double hz = (double)sysconf(_SC_CLK_TCK);
    unsigned long long seconds = (s.user_ticks + s.system_ticks) / (unsigned long long)hz;
    double age = uptime - (double)s.start_ticks / hz;
    double cpu = (double)(s.user_ticks + s.system_ticks) / hz;
    time_t now = time(NULL);
    cmd = command(dir, s.name);
    json_t *columns = json_array();
    json_array_append_new(columns, user_name(st.st_uid));
    json_array_append_new(columns, json_sprintf("%d", (int)pid));
    json_array_append_new(columns, json_sprintf("%d", s.ppid));
    json_array_append_new(columns, json_sprintf("%d", age > 0 ? (int)(cpu * 100 / age) : 0));
    json_array_append_new(columns, start_time(now - (time_t)age, now));
    json_array_append_new(columns, tty_name(s.tty));
    json_array_append_new(columns, json_sprintf("%02llu:%02llu:%02llu", seconds / 3600,
                                                seconds / 60 % 60, seconds % 60));
    json_array_append_new(columns, json_string(cmd));
    return columns;
}

int container_ops_processes(const struct runtime_target *t, char **ret_json, struct error *err)
{
    _cleanup_free_ pid_t *pids = NULL;
    struct timespec up;
    size_t n;
    int r = container_target_processes(t, &pids, &n, err);
    if (r < 0)
        return r;
    clock_gettime(CLOCK_BOOTTIME, &up);
    _cleanup_json_ json_t *o = json_pack("{s:[s,s,s,s,s,s,s,s], s:[]}", "titles", "UID", "PID",
                                         "PPID", "C", "STIME", "TTY", "TIME", "CMD", "processes");
    for (size_t i = 0; i < n; i++) {
        json_t *columns = row(pids[i], (double)up.tv_sec + (double)up.tv_nsec / 1e9);
        if (columns)
            json_array_append_new(json_object_get(o, "processes"), columns);
    }
    *ret_json = json_to_text(o);
    return 0;
}
