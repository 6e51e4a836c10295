/* What the session's files share: qga.c (the line to the agent), qga-task.c (requests), and what
 * each request does (qga-exec.c, qga-tree.c, qga-query.c). */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "runtime/vm/qga.h"
#include "wire/qga/qga.h"

#define QGA_TASKS_MAX (AGENT_STREAMS_MAX + 4) /* those of commands, and our own */
#define QGA_ASK_MS    30000                   /* an agent that has not answered then hangs */

/* How much of what is no answer is passed over: bytes between two tries to find the agent, more
 * than can have been left on the way; and answers to older numbers once it has been found. */
#define QGA_PASSED_MAX ((size_t)8 << 20)
#define QGA_LATE_MAX   64u

/* How often something in the guest is asked for its end or its output. */
#define QGA_PAUSE_FIRST_MS 5u
#define QGA_PAUSE_LAST_MS  200u

struct qga_task;

/* What comes next for a task: with the answer to its request, or a == NULL when it waited. Asks or
 * waits again, or ends the task. An error ends it, too. */
typedef int (*qga_step)(struct qga *q, struct qga_task *t, const struct qga_answer *a,
                        struct error *err);

/* A short command of our own inside the guest has ended. */
typedef int (*qga_helped)(struct qga *q, struct qga_task *t, const struct qga_status *s,
                          struct error *err);
/* Something that a task was waiting for is done: what now? */
typedef int (*qga_finish)(struct qga *q, struct qga_task *t, struct error *err);

/* A process that the agent runs for a command, its output in files of the guest's. */
struct qga_process {
    char folder[64];         /* in the guest; "": none, or gone */
    int64_t pid, handles[3]; /* of its stdin, stdout and stderr; -1: not open */
    char **argv;             /* of the shell that becomes it */
    bool gathers;            /* in is a file and no fifo */
    bool keep_errors;        /* stderr goes to t->text and not to the command */
    const char *script;
    qga_finish ready, written;    /* the folder is there; input has been written */
    int64_t feeder;               /* the process that writes input to the fifo; 0: none */
    size_t fed;                   /* how much */
    qga_finish finish;            /* NULL: nobody waits for its end */
    bool connected;               /* the shell has its files open */
    bool exited, quiet, empty[3]; /* quiet: a round that brought nothing */
    int code;
    unsigned int pause_ms;
};

struct qga_task {
    bool used;
    bool gone;       /* whoever asked is: ended in the next turn */
    uint32_t stream; /* 0: nobody's, or nobody's any more */
    enum agent_type type;
    qga_step step;
    struct buf request;    /* to be sent; empty: waits */
    int64_t not_before_ms; /* until then */
    int64_t give_up_ms;    /* how long the request may take */
    int64_t patience_ms;   /* until when the agent must have been found; 0: it has been */
    bool idle;             /* until whoever asked says something */
    qga_helped helped;
    int64_t helper;
    struct qga_process process;
    char *path;
    struct buf input; /* what came on channel 0 and is not written yet */
    bool input_closed;
    uint32_t credit[3];
    struct buf text; /* what is gathered for a message */
    json_t *info;
    struct agent_stats stats;
    int64_t until_ms;
};

enum qga_link_state {
    QGA_NONE, /* nothing has been heard yet */
    QGA_ANSWERS,
    QGA_SILENT,
    QGA_BROKEN,
};

struct qga {
    int fd;
    struct qga_hooks hooks;
    struct buf in, out;
    enum qga_link_state state;
    char why[120], shown[140];
    uint64_t number; /* of the sync that is on its way */
    int64_t sync_ms; /* when the next one is sent; 0: found */
    unsigned int sync_gap_ms;
    size_t passed;            /* bytes since the last try */
    unsigned int old;         /* answers to older numbers since it was found */
    struct qga_task *current; /* whose request is on its way */
    int64_t current_ms;       /* when it has taken too long */
    int64_t paused_ms;        /* since when; 0: not */
    bool held;                /* file systems, by us */
    bool late;                /* the clock, which is set when the agent is found */
    char version[32];
    struct qga_task tasks[QGA_TASKS_MAX];
    size_t turn; /* which task is asked first */
};

/* qga-task.c */
struct qga_task *qga_task_new(struct qga *q, uint32_t stream, enum agent_type type);
struct qga_task *qga_task_find(struct qga *q, uint32_t stream);
/* After qga_add*(&t->request): sent when it is its turn; step gets the answer. */
void qga_ask(struct qga_task *t, qga_step step);
void qga_wait(struct qga_task *t, unsigned int ms, qga_step step);
void qga_idle(struct qga_task *t, qga_step step); /* until something comes from whoever asked */
/* Ends it: what it left in the guest is put away first. */
void qga_task_end(struct qga *q, struct qga_task *t);
void qga_task_fail(struct qga *q, struct qga_task *t, const struct error *e);
void qga_task_free(struct qga_task *t); /* at once */
void qga_end_gone(struct qga *q);
/* ERROR_SYSTEM when the agent refused: what it says, after `what`. */
int qga_need(const struct qga_answer *a, const char *what, struct error *err) _must_check_;

void qga_emit(struct qga *q, const struct qga_task *t, enum agent_type type, const void *payload,
              size_t len);
void qga_emit_buf(struct qga *q, const struct qga_task *t, const struct buf *frame);

/* qga-help.c */
int qga_too_long(int r, struct error *err) _must_check_; /* what qga_add* gave, as an error */
void qga_wake(struct qga_task *t);                       /* does not wait any longer */
/* A request: "/bin/sh -c script sh arguments…". */
int qga_shell_add(struct qga_task *t, const char *script, char *const *arguments, bool capture,
                  struct error *err) _must_check_;
/* Runs that, and gives its end and its output to `helped`. */
int qga_help(struct qga_task *t, const char *script, char *const *arguments, qga_helped helped,
             struct error *err) _must_check_;
/* Makes t->process.folder in the guest, with the files in, out and err, of which those that are
 * asked for by bits (1u << 0…) are opened; then `ready` is called. */
int qga_folder_make(struct qga_task *t, unsigned int open, qga_finish ready,
                    struct error *err) _must_check_;
/* The next request that puts away what a process left; false: nothing is left. */
bool qga_process_sweep(struct qga_task *t);
/* Writes some of t->input to its file; `written` is called when that is done, or was refused. */
int qga_input_write(struct qga_task *t, qga_finish written, struct error *err) _must_check_;

/* qga-exec.c */
int qga_exec_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                   struct error *err) _must_check_;
/* Runs process.script with process.argv and relays until its end; as a qga_finish. */
int qga_process_run(struct qga *q, struct qga_task *t, struct error *err) _must_check_;
int qga_process_kill(struct qga *q, const struct qga_task *t, uint32_t signum,
                     struct error *err) _must_check_;

/* qga-tree.c */
int qga_tree_out_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                       struct error *err) _must_check_;
int qga_tree_in_begin(struct qga *q, struct qga_task *t, const struct agent_frame *f,
                      struct error *err) _must_check_;

/* qga-query.c */
int qga_query_begin(struct qga *q, struct qga_task *t, struct error *err) _must_check_;
/* Requests of the session's own. */
void qga_own_thaw(struct qga *q);
void qga_own_clock(struct qga *q);
