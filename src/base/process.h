/* Starting helper programs: no shell, no inherited descriptors beyond those named. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* A descriptor to give to the child under another number. */
struct process_fd {
    int from; /* in the caller; -EBADF means /dev/null */
    int to;   /* in the child */
};

struct process_spec {
    const char *path; /* absolute, or looked up in PATH */
    char *const *argv;
    char *const *env;             /* NULL: a minimal one with PATH only */
    const struct process_fd *fds; /* 0, 1 and 2 default to /dev/null when not named */
    size_t n_fds;
    bool new_session; /* setsid, so that a terminal's signals do not reach it */
    uid_t uid;        /* 0 keeps; otherwise uid, gid = uid, no groups, no_new_privs */
};

/* Every signal to its default, none blocked, as a new program expects it: also those that libc
 * hides from signal(2) and leaves ignored in what it spawns. For the child between fork and exec.
 */
void process_default_signals(void);

/* Starts; gives the pid. Failure to exec is reported here, not by exit status. */
int process_start(const struct process_spec *spec, pid_t *ret_pid, struct error *err) _must_check_;

/* Waits; gives the exit code, or 128 + signal. */
int process_wait(pid_t pid, int *ret_status) _must_check_;

/* "TERM", "SIGTERM", "15" or "RTMIN+3". ERROR_INVALID for anything else. */
int signal_parse(const char *text, int *ret, struct error *err) _must_check_;

/* When a process began, in clock ticks since boot (proc_pid_stat(5), field 22): with its number, a
 * name that no later process has. 0 or -errno. */
int process_start_ticks(pid_t pid, uint64_t *ret) _must_check_;

/* Whether it is root and its user namespace the first one: root of another is, on the host, whoever
 * made that. */
bool process_is_host_root(void);
/* Who the user that is root in this user namespace is outside (itself in the first one), and how
 * many users there are in it. 0 or -errno. */
int process_outside_user(uid_t *ret, uint32_t *ret_users) _must_check_;
/* Whether root is the only user there is: nobody without subordinate ids has others. */
bool process_is_only_user(void);

/* Where the output of a program goes. Past out's maximum the program is ended with -EFBIG; of err
 * the last bytes are kept. */
struct process_capture {
    struct buf *out; /* NULL: thrown away */
    struct buf *err;
    void (*progress)(void *context); /* after each piece of output; may be NULL */
    void *context;
};

/* Runs to the end, with stdout and stderr captured; spec->fds names the others, at most six. */
int process_capture(const struct process_spec *spec, const struct process_capture *c,
                    int *ret_status, struct error *err) _must_check_;

/* Runs to the end with stdin at in_fd (or -EBADF) and collects stdout. A non-zero exit is an error
 * that quotes the last line of stderr. out may be NULL. */
int process_run(const char *path, char *const *argv, int in_fd, struct buf *out,
                struct error *err) _must_check_;
