/* Instances: making, starting, stopping, changing and removing them. One header for the life cycle;
 * the use cases are in files of their own (create.c, start.c, stop.c, remove.c, ...). */
#pragma once

#include "engine/engine.h"
#include "engine/options.h"
#include "runtime/monitor/client.h"

/* Checks everything that can be checked and records the instance. *ret_id is owned. */
int engine_create(struct engine *e, const struct create_options *o, char **ret_id,
                  struct error *err) _must_check_;

/* Starts a created or stopped instance; already running is success. With attach (may be NULL) the
 * caller is attached before the first byte and *ret_attach is for monitor_attach(). */
int engine_start(struct engine *e, const char *reference, bool attach, int *ret_attach,
                 struct error *err) _must_check_;

/* Relays the caller's descriptors 0, 1, 2 until the instance ends or the detach keys are typed, and
 * finishes the instance (network, --rm) when it ended. Takes ownership of attach_fd. */
struct attach_options {
    bool forward_stdin, proxy_signals;
    const char *detach_keys; /* NULL: ctrl-p,ctrl-q */
};
int engine_attach_started(struct engine *e, const char *id, int attach_fd,
                          const struct attach_options *how, struct monitor_end *ret,
                          struct error *err) _must_check_;
/* The same for an instance that runs already. */
int engine_attach(struct engine *e, const char *reference, const struct attach_options *how,
                  struct monitor_end *ret, struct error *err) _must_check_;

/* Stop signal, then SIGKILL after timeout_s (-1: the instance's own, else 10). Not running: fine.
 */
int engine_stop(struct engine *e, const char *reference, int timeout_s,
                struct error *err) _must_check_;
/* signal: "KILL", "SIGTERM", "15"; NULL: KILL. ERROR_CONFLICT when it is not running. */
int engine_kill(struct engine *e, const char *reference, const char *signal,
                struct error *err) _must_check_;
int engine_restart(struct engine *e, const char *reference, int timeout_s,
                   struct error *err) _must_check_;
int engine_pause(struct engine *e, const char *reference, bool pause,
                 struct error *err) _must_check_;
/* force: kill a running one first. volumes: anonymous volumes go too. */
int engine_remove(struct engine *e, const char *reference, bool force, bool volumes,
                  struct error *err) _must_check_;
/* Other limits and another restart policy, from now on and for later starts: those that are given
 * in changes. */
int engine_update(struct engine *e, const char *reference, const struct create_options *changes,
                  struct error *err) _must_check_;
int engine_rename(struct engine *e, const char *reference, const char *name,
                  struct error *err) _must_check_;
/* Blocks until it is not running; gives its exit code. */
int engine_wait(struct engine *e, const char *reference, int *ret_code,
                struct error *err) _must_check_;
/* What the monitor calls at the end (`proa internal finish ID`); also after an attached run. */
int engine_finish(struct engine *e, const char *id, struct error *err);
/* Makes the spare machine that a start like it has ordered (engine/spare.h). Success also when
 * there is no use for one. */
int engine_spare_make(struct engine *e, const char *shape, struct error *err) _must_check_;
