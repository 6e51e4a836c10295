/* Shared between the engine's use cases; never leaves this folder. */
#pragma once

#include "engine/engine.h"
#include "engine/instance.h"
#include "engine/lifecycle.h"
#include "engine/options.h"
#include "runtime/runtime.h"
#include "service/image/image.h"
#include "service/store/instance.h"

/* An instance that a use case works on: record, options, directories, and the operation lock. */
struct subject {
    struct instance_record record;
    struct create_options options;
    char *bundle;  /* ROOT/instances/ID */
    char *run_dir; /* RUN/instances/ID */
    bool made;     /* the bundle directory was missing and has been made */
    int lock;      /* flock on the bundle directory: one change at a time; -EBADF: not taken */
    struct runtime_target target; /* borrows the strings above; pid set by subject_status */
    struct monitor_status status;
};

enum subject_lock {
    SUBJECT_UNLOCKED, /* only looking */
    SUBJECT_LOCKED,   /* changing: waits for others */
    SUBJECT_TRY,      /* changing if nobody else does: -EWOULDBLOCK otherwise */
    SUBJECT_MOVED,    /* as SUBJECT_LOCKED; also what another host has not confirmed to have */
};

int subject_open(struct engine *e, const char *reference, enum subject_lock lock,
                 struct subject *ret, struct error *err) _must_check_;
int subject_from_record(struct engine *e, struct instance_record *record, enum subject_lock lock,
                        struct subject *ret, struct error *err) _must_check_; /* takes the record */
void subject_done(struct subject *s);
void subject_unlock(struct subject *s);
#define _cleanup_subject_ _cleanup_(subject_done)
#define SUBJECT_INIT                                                                               \
    {                                                                                              \
        .lock = -EBADF                                                                             \
    }

/* Reads the monitor's status anew into s->status and s->target.pid. */
int subject_status(struct subject *s, struct error *err) _must_check_;
enum instance_state subject_state(const struct subject *s); /* by the last subject_status */
/* lifecycle_check by a status read anew: 1 go ahead, 0 nothing to do, -errno. */
int subject_may(struct subject *s, enum verb verb, struct error *err) _must_check_;
bool subject_paused(const struct subject *s);
#define SUBJECT_WHY_MAX 80
/* Paused by itself: a machine whose host has no room for what it writes. */
bool subject_halted(const struct subject *s, char why[static SUBJECT_WHY_MAX]);
/* stop.c: of a running instance, with its lock held. */
int subject_pause(struct subject *s, struct error *err) _must_check_;
int subject_unpause(struct subject *s, struct error *err) _must_check_;
/* Of a container that runs. */
int subject_open_network(const struct subject *s, int *ret_fd, struct error *err) _must_check_;
const struct runtime_ops *subject_ops(const struct subject *s);

/* RUN/instances/ID exists from before the monitor starts until the end has been finished: this is
 * what repair looks for. */
char *engine_run_dir(const struct engine *e, const char *id);
char *engine_bundle_dir(const struct engine *e, const char *id);

/* Makes the bundle directory and its parts; what is there is kept. */
int bundle_make(const char *bundle, struct error *err) _must_check_;

/* One more interface of the bundle, for a port. */
struct network_port;
void bundle_add_network(struct bundle *b, const struct network_port *p);
void bundle_describe_network(struct bundle_network *n, const struct network_port *p);

/* Takes a bundle whose row is gone away, whole. */
int bundle_remove(struct engine *e, const char *bundle, struct error *err) _must_check_;

/* The end of an instance, with its lock held: network, leftovers, run directory, --rm. */
int finish_locked(struct engine *e, struct subject *s, struct error *err);
/* Kills a running instance at once and finishes it, with its lock held. */
int end_instance(struct engine *e, struct subject *s, struct error *err) _must_check_;
/* Kills what is in an instance's control group, as far as there is one. */
void end_group(const struct engine *e, const char *id);
/* Deletes the record and everything of a stopped instance. */
int remove_locked(struct engine *e, struct subject *s, bool volumes,
                  struct error *err) _must_check_;

/* spec.c: the OCI configuration from image and options, into BUNDLE/config.json. */
struct spec_mount {
    char *type;   /* "bind", "volume", "tmpfs" */
    char *name;   /* volume name or NULL */
    char *source; /* host path or NULL */
    char *target; /* absolute, normalized */
    char *data;   /* extra tmpfs options or NULL */
    bool read_only, anonymous, copy_up;
};
struct spec_mounts {
    struct spec_mount *list;
    size_t n;
};
void spec_mounts_done(struct spec_mounts *m);
/* Parses -v, --mount, --tmpfs and the image's volumes; checks host paths; creates nothing. */
int spec_mounts_parse(const struct create_options *o, const struct image *image,
                      struct spec_mounts *ret, struct error *err) _must_check_;

struct spec_files {
    const char *hosts, *hostname, *resolv_conf; /* paths of the engine's own files */
};
int spec_write(struct engine *e, const struct create_options *o, const struct image *image,
               const struct spec_mounts *mounts, const struct instance_record *record,
               const struct spec_files *files, struct error *err) _must_check_;
/* The whole command line: entrypoint and arguments. Owned. ERROR_INVALID when there is none. */
int spec_argv(const struct create_options *o, const struct image *image, char ***ret,
              struct error *err) _must_check_;

/* export.c: the first n_layers of an image and, unless NULL, an upper directory on top; read-only.
 */
int image_open_root(struct engine *e, const struct image *image, size_t n_layers, const char *upper,
                    int *ret_fd, struct error *err) _must_check_;
/* ERROR_UNSUPPORTED for a machine that does not run: nobody else reads its disk. */
int subject_needs_agent(const struct subject *s, struct error *err) _must_check_;
/* The same, and for one that boots a disk at all: its files are not Proa's to read. */
int subject_needs_tree(const struct subject *s, struct error *err) _must_check_;

/* snapshot-disk.c: the machine's disk and what it stands on, into the bundle; the writable file is
 * made here when it stands on something, by the runtime when it does not. */
int machine_disk(struct engine *e, const struct subject *s, struct bundle *b,
                 struct error *err) _must_check_;
/* One of any machine's disks, the first one before the others. *ret_lower may be NULL; both owned.
 */
int machine_chain(struct engine *e, const struct subject *s, unsigned int disk, char **ret_file,
                  char ***ret_lower, struct error *err) _must_check_;
/* The memory that it is to go on from; owned, NULL: it boots. */
char *machine_memory(const struct subject *s);

/* create.c: what can be checked of options without making anything; fills in what the kind wants.
 */
int create_check(struct engine *e, struct create_options *o, const struct image *image,
                 struct error *err) _must_check_;
/* migrate-row.c: whether the bundle's instance has moved away, which is final, and to which other
 * host (owned; NULL: to a state directory of this one); and arrivals whose command was killed. */
bool bundle_has_moved(const char *bundle);
char *bundle_moved_to(const char *bundle);
int repair_arrivals(struct engine *e, struct error *err) _must_check_;
/* What is on its way here may still run where it comes from. */
int check_arrived(struct engine *e, const struct subject *s, struct error *err) _must_check_;

/* create.c: engine_create with one more thing done in the transaction that makes the row. */
typedef int (*create_hook)(struct engine *e, const char *id, void *context, struct error *err);
int create_instance(struct engine *e, const struct create_options *o, create_hook hook,
                    void *context, char **ret_id, struct error *err) _must_check_;

/* seccomp.c: puts the compiled filter for the options into the bundle; *ret is its path, owned, or
 * NULL when the instance is unconfined. */
int seccomp_filter_write(struct engine *e, const struct create_options *o, const char *bundle,
                         char **ret, struct error *err) _must_check_;

/* info.c: bytes on disk below a directory, holes not counted. */
uint64_t path_disk_use(const char *path);

/* connect.c: takes ports down that the options do not name; with the lock held. */
int connect_repair(struct engine *e, struct subject *s, struct error *err) _must_check_;
/* The same file's, of an instance that runs: lines of its hosts file that begin with an address
 * that has gone go; addresses come with its names; whom it asks for names is as its networks say.
 */
int hosts_edit(const struct subject *s, char *const *gone, const char *more,
               struct error *err) _must_check_;
int hosts_add(const struct subject *s, char *const *gone, char *const *addresses,
              struct error *err) _must_check_;
/* Lines of a hosts file for these addresses; owned. */
char *hosts_lines(const struct subject *s, char *const *addresses);
/* Adds the addresses that a port has to the list. */
struct network_member;
void port_addresses(const struct network_port *p, char ***list);
void member_addresses(const struct network_member *m, char ***list);
int resolver_update(struct engine *e, const struct subject *s, struct error *err) _must_check_;
/* start-network.c: text (taken) with the lines of --add-host; owned. */
char *hosts_extend(char *text, char *const *add_hosts);

/* repair.c */
int repair_all(struct engine *e, struct error *err);
bool instance_is_alive(void *engine, const char *id);
void engine_notice(struct engine *e, const char *fmt, ...) _printf_(2, 3);

/* create.c: whether limits and the restart policy make sense together. */
int check_limits(const struct create_options *o, struct error *err) _must_check_;
int check_restart(const struct create_options *o, struct error *err) _must_check_;

/* names.c */
void random_name(char *out, size_t size);
int check_instance_name(const char *name, struct error *err) _must_check_;
