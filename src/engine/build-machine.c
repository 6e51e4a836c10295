/*
 * RUN in a light machine. Its first process only waits, on a pipe that this process holds, so that
 * the machine is there still when the step's command, executed beside it by the agent, has ended:
 * its agent then sends what has changed. That archive becomes a read-only file system before
 * anything else looks at it, and from there on it is an upper directory as a container's.
 *
 * When this process is killed the pipe ends, and with it the machine.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "engine/build-internal.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"
#include "runtime/vm/kernel.h"
#include "runtime/vm/settings.h"

#define MEMORY_BYTES (1ull << 30)
#define DISK_BYTES   (40ull << 30)

static const char *const wait_command[] = {"/bin/sh", "-c", "read x", NULL};

struct machine {
    struct build_box *x;
    char *places; /* the layer of places: an EROFS file */
    struct runtime_target target;
    int hold; /* the end of its first process's stdin that keeps it waiting */
};

/* --- the bundle --- */

struct places {
    int dir;
    const char *file;
};

static int send_places(void *context, int fd, struct error *err)
{
    const struct places *p = context;
    return tree_send_changes(&p->dir, 1, 0, fd, err);
}

static int receive_places(void *context, int fd, struct error *err)
{
    const struct places *p = context;
    return image_build_erofs(fd, p->file, err);
}

static int make_places(struct machine *m, struct error *err)
{
    _cleanup_free_ char *path = path_join(m->x->bundle, "places");
    m->places = path_join(m->x->bundle, "places.erofs");
    int r = build_box_places(m->x, path, err);
    if (r < 0)
        return r;
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open %s", path);
    struct places p = {dir, m->places};
    return pipeline_run(send_places, receive_places, &p, err);
}

static int save_bundle(struct machine *m, struct error *err)
{
    struct build *b = m->x->stage->build;
    const struct build_root *root = &m->x->stage->root;
    _cleanup_(bundle_done) struct bundle bundle;
    bundle_init(&bundle);
    bundle.kind = RUNTIME_VM;
    bundle.id = xstrdup(b->id);
    bundle.n_layers = root->n_layers + 1;
    bundle.layers = xcalloc(bundle.n_layers, sizeof(*bundle.layers));
    bundle.layers[0].erofs = xstrdup(m->places);
    for (size_t i = 0; i < root->n_layers; i++)
        bundle.layers[i + 1].erofs = xstrdup(root->layers[i].erofs);
    bundle.disk = path_join(m->x->bundle, "disk.ext4");
    bundle.disk_bytes = DISK_BYTES;
    bundle.memory_bytes = MEMORY_BYTES;
    bundle.cpus = 1;
    bundle.ephemeral = true;
    if (strcmp(m->x->network, "default") == 0)
        bundle_add_network(&bundle, &b->port);
    struct vm_settings settings;
    int r = vm_settings_load(b->e->store->run, &settings, err);
    bundle.cold = r < 0 || !settings.warm;
    if (r == 0)
        r = vm_kernel_find(b->e->store->root, &bundle.kernel, &bundle.initramfs, err);
    return r < 0 ? r : bundle_save(&bundle, m->x->bundle, err);
}

static int make_bundle(struct machine *m, struct error *err)
{
    struct create_options o;
    int r;
    build_box_options(m->x, &o);
    o.kind = RUNTIME_VM;
    o.command = (char **)wait_command;
    if ((r = make_places(m, err)) < 0 || (r = save_bundle(m, err)) < 0)
        return r;
    return build_box_spec(m->x, &o, err);
}

/* --- its life --- */

static int start(struct machine *m, struct error *err)
{
    struct build *b = m->x->stage->build;
    struct runtime_started started = {0};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    m->hold = ends[1];
    _cleanup_close_ int input = ends[0];
    _cleanup_close_ int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct runtime_start s = {
        .id = b->id,
        .bundle = m->x->bundle,
        .run_dir = b->run_dir,
        .stdio = {input, nowhere, nowhere},
        .network_fd = -EBADF,
        .tap_fds = &b->port.fd,
        .n_tap_fds = strcmp(m->x->network, "default") == 0 ? 1 : 0,
    };
    int r = vm_start(&s, &started, err);
    m->target.pid = started.pid;
    return r < 0 ? error_prefix(err, "start a machine for the step") : 0;
}

struct verdict {
    int r, status;
    struct error err;
};

static _noreturn_ void execute(struct machine *m, const int stdio[3], int report)
{
    struct verdict v = {0};
    const struct runtime_exec x = {.argv = m->x->argv};
    signal(SIGPIPE, SIG_IGN);
    m->hold = close_fd(m->hold);
    v.r = vm_ops.exec(&m->target, &x, stdio, &v.status, &v.err);
    (void)!write(report, &v, sizeof(v));
    _exit(0);
}

/* In a child, because it relays what the command prints and this process has to look at it. */
static int run_command(struct machine *m, int *ret_status, struct error *err)
{
    struct build_relay relay = {m->x->stage->build, {-EBADF, -EBADF}};
    int stdio[3] = {-EBADF, -EBADF, -EBADF}, report[2], ignored;
    struct verdict v = {0};
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int report_read = report[0], report_write = report[1];
    int r = build_relay_open(&relay, stdio, err);
    pid_t pid = r == 0 ? fork() : -1;
    if (pid == 0)
        execute(m, stdio, report_write);
    if (r == 0 && pid < 0)
        r = error_errno(err, errno, "execute a step");
    report_write = close_fd(report_write);
    for (int i = 0; i < 3; i++)
        close_fd(stdio[i]);
    if (r == 0)
        r = build_relay_follow(&relay, pid, &m->target, &ignored, err);
    build_relay_close(&relay);
    if (r < 0)
        return r;
    if (fd_read_full(report_read, &v, sizeof(v)) != sizeof(v))
        return error_set(err, ERROR_SYSTEM, EIO, "the machine of the step was lost");
    if (v.r < 0 && err)
        *err = v.err;
    *ret_status = v.status;
    return v.r;
}

/* --- what has changed --- */

static int send_changes(void *context, int fd, struct error *err)
{
    const struct machine *m = context;
    return vm_ops.send_tree(&m->target, TREE_LAYER, fd, err);
}

static int receive_changes(void *context, int fd, struct error *err)
{
    struct machine *m = context;
    return image_build_archive(&m->x->stage->build->image, fd, &m->x->changes, err);
}

static void end(struct machine *m)
{
    struct error ignored = ERROR_INIT;
    int status;
    if (m->target.pid > 0) {
        (void)!vm_ops.kill_all(&m->target, &ignored);
        m->hold = close_fd(m->hold);
        (void)!process_wait(m->target.pid, &status);
    }
    m->hold = close_fd(m->hold);
    free(m->places);
}

int build_machine_run(struct build_box *x, int *ret_status, struct error *err)
{
    struct build *b = x->stage->build;
    _cleanup_(end) struct machine m = {
        .x = x,
        .hold = -EBADF,
        .target = {.id = b->id, .bundle = x->bundle, .run_dir = b->run_dir},
    };
    int r;
    if ((r = make_bundle(&m, err)) < 0 || (r = start(&m, err)) < 0 ||
        (r = run_command(&m, ret_status, err)) < 0 || *ret_status != 0)
        return r;
    return pipeline_run(send_changes, receive_changes, &m, err);
}
