/* Looking into instances: exec, logs, top, stats, cp. */
#pragma once

#include "engine/engine.h"
#include "runtime/runtime.h"

/* Relays stdio[0..2] unless detached. *ret_status is the process's exit code. */
int engine_exec(struct engine *e, const char *reference, const struct runtime_exec *x,
                const int stdio[3], int *ret_status, struct error *err) _must_check_;

struct log_options {
    bool follow, timestamps;
    int64_t tail;               /* entries from the end; -1: all */
    int64_t since_ns, until_ns; /* 0: not given */
};
/* Calls write() for each entry in order; stream is 1 or 2. A negative return of write ends it. */
int engine_logs(struct engine *e, const char *reference, const struct log_options *o,
                int (*write_entry)(void *context, int stream, int64_t time_ns, const char *text,
                                   size_t len),
                void *context, struct error *err) _must_check_;

/* JSON: {"titles":[...],"processes":[[...]]}; owned. */
int engine_top(struct engine *e, const char *reference, char **ret_json,
               struct error *err) _must_check_;

/* One reading; the caller takes the difference of two for CPU use. */
int engine_stats(struct engine *e, const char *reference, struct runtime_stats *ret,
                 struct error *err) _must_check_;

/* What the host spends on a machine: its control group's, which asks nobody inside. No network:
 * that is the same seen from either side. ERROR_UNSUPPORTED for a container, which has no other
 * side. */
int engine_stats_outside(struct engine *e, const char *reference, struct runtime_stats *ret,
                         struct error *err) _must_check_;

/* `cp`: exactly one of from and to names an instance ("NAME:PATH"); "-" is a tar stream on stdin or
 * stdout. Docker's rules for directories, "/." and renaming. follow: -L. */
int engine_copy(struct engine *e, const char *from, const char *to, bool follow,
                struct error *err) _must_check_;

/* A machine's screen: where it is seen (the path of a socket that speaks VNC; owned), and a picture
 * of it as PNG. ERROR_UNSUPPORTED: it has none. */
int engine_screen(struct engine *e, const char *reference, char **ret_socket,
                  struct error *err) _must_check_;
int engine_screenshot(struct engine *e, const char *reference, int out_fd,
                      struct error *err) _must_check_;
