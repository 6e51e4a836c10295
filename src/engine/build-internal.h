/*
 * Shared by the files of the build (build*.c). The order of things:
 *
 *   build.c            context, Containerfile, the stages that are needed, the image at the end
 *   build-stage.c      a stage: FROM, then its steps one by one; history; ONBUILD
 *   build-scope.c      what $NAME is worth
 *   build-settings.c   steps that only change the image's configuration
 *   build-copy.c       COPY and ADD: sources, destination; build-entries.c walks and digests them,
 *                      build-tar.c writes them as a layer
 *   build-run.c        RUN: a container of its own; build-mounts.c: what --mount asks for
 *   build-root.c       the private mount namespace and what is mounted in it
 *   build-key.c        keys of the cache
 */
#pragma once

#include <jansson.h>

#include "base/sha256.h"
#include "engine/build.h"
#include "engine/engine-internal.h"
#include "service/image/build.h"
#include "service/network/network.h"
#include "wire/containerfile/containerfile.h"
#include "wire/containerfile/pattern.h"

/* Something to copy from: the context, a stage, an image. */
struct build_root {
    char *name; /* of an image: as COPY --from says it; NULL for the others */
    struct image_layer *layers;
    size_t n_layers;
    char *path; /* where it is mounted in our namespace; NULL: it is not */
    int fd;     /* its top; -EBADF: it is not mounted */
};

struct build_stage {
    struct build *build;
    const struct containerfile_stage *def;
    size_t index;
    bool needed, done;
    json_t *image;    /* the whole configuration */
    json_t *settings; /* its "config"; borrowed */
    json_t *history;  /* borrowed */
    struct build_root root;
    size_t n_base;   /* layers that it began with */
    char **args;     /* NAME=VALUE of its ARGs */
    char **declared; /* NAMEs of its ARGs */
    bool cmd_set;    /* CMD was given in this stage */
};

struct build {
    struct engine *e;
    const struct build_options *o;
    struct image_build image;
    struct containerfile file;
    char **global_args;        /* NAME=VALUE of the ARGs before the first FROM, and the platform */
    bool *args_used;           /* of o->build_args */
    struct build_root context; /* fd -EBADF: there is none */
    struct ignore ignore;
    struct build_stage *stages; /* as many as the file has */
    struct build_root *images;  /* that COPY --from and --mount name */
    size_t n_images;
    char *mounts; /* the directory of our mounts; NULL: there is no namespace yet */
    unsigned int n_mounts;
    char id[65];   /* of the container that RUN steps run in, one after another */
    char *run_dir; /* RUN/instances/ID; NULL: no step has run yet */
    int run_lock;
    struct network_port port; /* made at the first step that wants a network */
    bool has_port;
    unsigned int step, n_steps;
    int64_t created_ns; /* of what is made now */
    int64_t newest_ns;  /* times of files are clamped to it; INT64_MAX: not */
};

/* build.c */
void build_say(struct build *b, const char *fmt, ...) _printf_(2, 3);
int build_interrupted(struct error *err) _must_check_;

/* build-stage.c */
int build_stage_run(struct build_stage *s, struct error *err) _must_check_;
void build_stage_done(struct build_stage *s);
/* The stage that a COPY --from or FROM means, before index; NULL when it names none. */
struct build_stage *build_find_stage(struct build *b, const char *name, size_t before);
/* A step has made this layer (taken; diff_id NULL: nothing). */
void build_stage_add(struct build_stage *s, struct image_layer *layer, const char *created_by,
                     int64_t created_ns);
/* A step that changed the configuration only. */
void build_stage_note(struct build_stage *s, const char *created_by);
int build_image_find(struct build *b, const char *name, struct image **ret,
                     struct error *err) _must_check_;

/* build-scope.c */
struct containerfile_scope build_scope(struct build_stage *s);
struct containerfile_scope build_global_scope(struct build *b);
int build_global_init(struct build *b, struct error *err) _must_check_;
int build_arg(struct build *b, struct build_stage *s, const struct containerfile_step *step,
              struct error *err) _must_check_;
int build_expand(struct build_stage *s, const char *word, char **ret,
                 struct error *err) _must_check_;
/* The environment of a RUN: ENV, and ARGs that ENV does not hide; with the proxies of --build-arg,
 * which are in no key. Owned. */
char **build_environment(const struct build_stage *s, bool proxies);

/* build-settings.c */
int build_settings_apply(struct build_stage *s, const struct containerfile_step *step,
                         struct error *err) _must_check_;
const char *build_setting(const struct build_stage *s, const char *name); /* NULL when absent */
char **build_setting_list(const struct build_stage *s, const char *name); /* owned, may be NULL */
/* The command in words: a list as it is, a text through the SHELL. Owned. */
char **build_command(const struct build_stage *s, const struct containerfile_step *step);
/* A path of the image, made absolute by WORKDIR. Owned. */
char *build_path(const struct build_stage *s, const char *path);

/* build-root.c */
int build_namespace(struct build *b, struct error *err) _must_check_;
/* A new directory (or file) to mount on. Owned. */
int build_mount_point(struct build *b, bool directory, char **ret, struct error *err) _must_check_;
/* Mounts the root's layers, read-only, unless they are mounted. */
int build_root_open(struct build *b, struct build_root *r, struct error *err) _must_check_;
void build_root_close(struct build_root *r); /* unmounts; the layers stay */
void build_root_done(struct build_root *r);
void build_root_copy_layers(struct build_root *to, const struct image_layer *layers, size_t n);
/* Mounts of the layers on their own, bottom first: an owned vector of paths. */
int build_root_layers(struct build *b, struct build_root *r, char ***ret,
                      struct error *err) _must_check_;
/* Where COPY --from=NAME and --mount=from=NAME lead to; borrowed. */
int build_root_from(struct build_stage *s, const char *name, struct build_root **ret,
                    struct error *err) _must_check_;

/* build-key.c: begin, add, end. The layers below and the epoch are in every key. */
void build_key_begin(struct sha256 *h, const struct build_stage *s, const char *what);
void build_key_add_list(struct sha256 *h, char *const *list);
void build_key_add_layers(struct sha256 *h, const struct build_root *r);
struct build_key {
    char text[2 * SHA256_SIZE + 1];
};
struct build_key build_key_end(struct sha256 *h);

/* Looks the key up (unless --no-cache); 1: it was there, and the step is done. */
int build_key_use(struct build_stage *s, const struct build_key *key, const char *created_by,
                  struct error *err) _must_check_;

/* build-copy.c */
int build_copy(struct build_stage *s, const struct containerfile_step *step,
               struct error *err) _must_check_;
int build_workdir(struct build_stage *s, const struct containerfile_step *step,
                  struct error *err) _must_check_;

/* build-run.c */
int build_run(struct build_stage *s, const struct containerfile_step *step,
              struct error *err) _must_check_;

/* build-box.c: the container that RUN steps run in */
struct build_box {
    struct build_stage *stage;
    char *const *argv, *const *env;
    const char *network; /* "default", "none", "host" */
    char *networks[2];   /* the same as a list */
    struct spec_mounts mounts;
    char *bundle;
    int changes; /* what it changed, as an upper directory: -EBADF until it has run with status 0 */
};
/* Runs it to its end: *ret_status is its exit code. */
int build_box_run(struct build_box *x, int *ret_status, struct error *err) _must_check_;
void build_box_done(struct build_box *x);
void build_box_end(struct build *b); /* no step will run any more */
/* For build-machine.c: the directory of places at path, config.json, and following a process that
 * writes to two pipes until it ends. */
int build_box_places(const struct build_box *x, const char *path, struct error *err) _must_check_;
int build_box_spec(struct build_box *x, const struct create_options *o,
                   struct error *err) _must_check_;
void build_box_options(const struct build_box *x, struct create_options *ret);
struct build_relay {
    struct build *b;
    int fds[2]; /* the ends of its stdout and stderr that we read */
};
int build_relay_open(struct build_relay *relay, int stdio[3], struct error *err) _must_check_;
int build_relay_follow(struct build_relay *relay, pid_t pid, const struct runtime_target *target,
                       int *ret_status, struct error *err) _must_check_;
void build_relay_close(struct build_relay *relay);

/* build-machine.c: the same in a light machine */
int build_machine_run(struct build_box *x, int *ret_status, struct error *err) _must_check_;

/* build-squash.c */
int build_squash(struct build_stage *s, struct error *err) _must_check_;

/* build-mounts.c: RUN --mount */
struct build_mounts {
    struct build_mount *list;
    size_t n;
};
int build_mounts_parse(struct build_stage *s, const struct containerfile_step *step,
                       struct build_mounts *ret, struct error *err) _must_check_;
int build_mounts_key(struct build_stage *s, const struct build_mounts *m, struct sha256 *h,
                     struct error *err) _must_check_;
/* Makes what is to be mounted; secrets that are variables go into *env. */
int build_mounts_make(struct build_stage *s, struct build_mounts *m, struct spec_mounts *to,
                      char ***env, struct error *err) _must_check_;
void build_mounts_done(struct build_mounts *m);
/* build-masks.c: whiteouts for what .dockerignore leaves out of a directory of the context, open at
 * fd: *ret is a directory to lay over it, owned, or NULL when there are none. */
int build_masks(struct build *b, int fd, const char *source, char **ret,
                struct error *err) _must_check_;
/* A file with these contents to mount; *ret_path is owned. */
int build_mount_text(struct build *b, const char *text, size_t len, mode_t mode, uint32_t uid,
                     uint32_t gid, char **ret_path, struct error *err) _must_check_;
void build_mounts_add(struct spec_mounts *to, const char *type, const char *source,
                      const char *target, const char *data, bool read_only);

/* build-context.c */
/* Whether path (without a leading slash), or a directory above it, is left out by .dockerignore;
 * *ret_matched (owned, may be NULL) is for what is in it (wire/containerfile/pattern.h). */
bool build_is_excluded(const struct build *b, const char *path, bool **ret_matched);
bool build_is_archive(int fd); /* by its first bytes: tar, or compressed */
/* The Containerfile and what messages call it; *ret_name is owned. */
int build_context_open(struct build *b, struct buf *ret_text, char **ret_name,
                       struct error *err) _must_check_;
