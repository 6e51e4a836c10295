/*
 * The program dnsmasq as a process of no privilege: a user id that owns nothing, no capability, a
 * port above 1024. Which of them is which is told by a mark, an argument that no other has.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/names/names.h"
#include "service/network/network-internal.h"

#define KEEPER_READY_MS 30000

static bool has_mark(pid_t pid, const char *mark)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/cmdline", (int)pid);
    char line[8192];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = fd_read_full(fd, line, sizeof(line) - 1);
    if (len <= 0)
        return false;
    line[len] = '\0';
    for (const char *arg = line; arg < line + len; arg += strlen(arg) + 1)
        if (strcmp(arg, mark) == 0)
            return true;
    return false;
}

pid_t dnsmasq_recorded(const char *pid_path, const char *mark)
{
    _cleanup_free_ char *text = NULL;
    uint32_t pid;
    if (file_read(AT_FDCWD, pid_path, 32, &text) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    if (parse_u32(text, &pid) < 0)
        return 0;
    if (has_mark((pid_t)pid, mark))
        return (pid_t)pid;
    waitpid((pid_t)pid, NULL, WNOHANG); /* it may have been a child of this very process */
    return 0;
}

static pid_t search(const char *mark, pid_t except, const uid_t uids[2])
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    struct dirent *entry;
    while (proc && !found && (entry = readdir(proc))) {
        struct stat st;
        uint32_t pid;
        if (parse_u32(entry->d_name, &pid) == 0 && (pid_t)pid != except &&
            fstatat(dirfd(proc), entry->d_name, &st, 0) == 0 &&
            (st.st_uid == uids[0] || st.st_uid == uids[1]) && has_mark((pid_t)pid, mark))
            found = (pid_t)pid;
    }
    if (proc)
        closedir(proc);
    return found;
}

pid_t dnsmasq_searched(const char *mark)
{
    return search(mark, 0, (const uid_t[]){DNSMASQ_UID, LEASE_UID});
}

void keepers_stop(const char *mark, pid_t except)
{
    pid_t pid;
    while ((pid = search(mark, except, (const uid_t[]){NAMES_KEEPER_UID, 0})) > 0)
        dnsmasq_stop(pid, mark);
}

int keeper_await(int ready, const char *complaint, struct error *err)
{
    char byte;
    struct pollfd p = {.fd = ready, .events = POLLIN};
    if (poll(&p, 1, KEEPER_READY_MS) == 1 && read(ready, &byte, 1) == 1)
        return 0;
    return error_set(err, ERROR_SYSTEM, EIO, "%s", complaint);
}

static const char *find_program(void)
{
    static const char *const places[] = {"/usr/sbin/dnsmasq", "/usr/bin/dnsmasq",
                                         "/usr/local/sbin/dnsmasq"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

char **dnsmasq_arguments(const char *name, struct in_addr address, uint16_t port)
{
    static const char *const fixed[] = {
        "--keep-in-foreground", "--conf-file=",      "--pid-file=",           "--user=", "--group=",
        "--no-hosts",           "--bind-interfaces", "--domain-needed", /* a bare name is an
                                                                           instance or nothing: it
                                                                           is not asked outside */
        "--bogus-priv",         "--cache-size=1000", "--dns-forward-max=300",
    };
    char **argv = strv_copy(NULL);
    strv_add(&argv, name);
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        strv_add(&argv, fixed[i]);
    strv_addf(&argv, "--port=%u", port);
    strv_addf(&argv, "--listen-address=%s", address_text(address).s);
    return argv;
}

/* Whether its socket is bound, in the form the kernel prints it. */
bool dnsmasq_listening(struct in_addr address, uint16_t port)
{
    char wanted[32];
    _cleanup_free_ char *table = NULL;
    snprintf(wanted, sizeof(wanted), ": %08X:%04X ", address.s_addr, port);
    return file_read_kernel(AT_FDCWD, "/proc/net/udp", (size_t)4 << 20, &table) == 0 &&
           strstr(table, wanted);
}

int dnsmasq_start(char *const *argv, const char *pid_path, pid_t *ret_pid, struct error *err)
{
    const char *program = find_program();
    if (!program)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "the dnsmasq program is missing; install the package dnsmasq-base");
    struct process_spec spec = {
        .path = program, .argv = argv, .new_session = true, .uid = DNSMASQ_UID};
    pid_t pid;
    int r = process_start(&spec, &pid, err);
    if (r < 0)
        return r;
    char text[16];
    int len = snprintf(text, sizeof(text), "%d", (int)pid);
    r = file_write_atomic(AT_FDCWD, pid_path, text, (size_t)len, 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", pid_path);
    *ret_pid = pid;
    return 0;
}

int dnsmasq_wait(pid_t pid, struct in_addr address, uint16_t port, struct error *err)
{
    int64_t end = time_monotonic_ms() + DNSMASQ_READY_MS;
    while (!dnsmasq_listening(address, port)) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return error_set(err, ERROR_SYSTEM, EIO,
                             "dnsmasq ended at once; is port %u/tcp of %s in use?", port,
                             address_text(address).s);
        if (time_monotonic_ms() > end)
            return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "dnsmasq is not ready after %d ms",
                             DNSMASQ_READY_MS);
        usleep(500);
    }
    return 0;
}

/* Waits until it is gone, so that its port is free and its files can go. */
void dnsmasq_stop(pid_t pid, const char *mark)
{
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || !has_mark(pid, mark))
        return; /* looked at again: from here on the descriptor means this very process */
    struct pollfd gone = {fd, POLLIN, 0};
    syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
    if (poll(&gone, 1, 1000) == 0) {
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        poll(&gone, 1, 1000);
    }
    waitpid(pid, NULL, WNOHANG); /* when it was this very command that started it */
}
