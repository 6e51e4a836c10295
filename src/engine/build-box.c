/*
 * The container of RUN: started as any other, with the same profile, but straight by this process:
 * there is nobody to attach to it, to restart it or to find it by a name. One id serves a whole
 * build, one step after another, and so does its place on the network.
 *
 * RUN/instances/ID with its lock is there before anything else is, and goes last: should this
 * process be killed, the next command finds it unlocked, without a row in the store, and removes
 * control group, network and bundle (repair.c). The container dies with this process by itself.
 *
 * The places that something is mounted on are made in a layer below all others, so that a step
 * leaves none of them in what it has changed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"
#include "kernel/ns.h"

#define HOSTNAME   "build"
#define READ_BYTES ((size_t)65536)

/* --- a run directory that is locked from its first moment --- */

static int lock_run_dir(struct build *b, const char *path, int *ret_lock, struct error *err)
{
    _cleanup_free_ char *fresh = xasprintf("%s/instances/new-%d", b->e->store->run, (int)getpid());
    _cleanup_free_ char *file = path_join(fresh, "lock");
    (void)!path_remove_tree(AT_FDCWD, fresh); /* of a process that had our number */
    if (mkdir(fresh, 0700) < 0)
        return error_errno(err, errno, "create %s", fresh);
    _cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || rename(fresh, path) < 0) {
        int r = error_errno(err, errno, "lock %s", fresh);
        (void)!path_remove_tree(AT_FDCWD, fresh);
        return r;
    }
    *ret_lock = TAKE_FD(fd);
    return 0;
}

static int begin(struct build *b, struct error *err)
{
    if (b->run_dir)
        return 0;
    random_hex(b->id, 32);
    _cleanup_free_ char *path = engine_run_dir(b->e, b->id);
    int r = lock_run_dir(b, path, &b->run_lock, err);
    if (r == 0)
        b->run_dir = TAKE_PTR(path);
    return r;
}

static void remove_bundle(struct build *b)
{
    struct error ignored = ERROR_INIT;
    _cleanup_free_ char *bundle = engine_bundle_dir(b->e, b->id);
    struct runtime_target target = {.id = b->id, .bundle = bundle, .run_dir = b->run_dir};
    (void)!runtime_ops(b->o->vm ? RUNTIME_VM : RUNTIME_CONTAINER)->clean(&target, &ignored);
    (void)!bundle_remove(b->e, bundle, &ignored);
}

void build_box_end(struct build *b)
{
    if (!b->run_dir)
        return;
    remove_bundle(b);
    if (b->has_port) {
        (void)!network_detach(b->e->store, b->id, NULL);
        (void)!network_release(b->e->store, b->id, NULL);
        network_port_done(&b->port);
    }
    (void)!path_remove_tree(AT_FDCWD, b->run_dir);
    b->run_lock = close_fd(b->run_lock);
    free(b->run_dir);
    b->run_dir = NULL;
}

static int join_network(struct build_box *x, struct error *err)
{
    struct build *b = x->stage->build;
    char name[32];
    if (strcmp(x->network, "default") != 0 || b->has_port)
        return 0;
    snprintf(name, sizeof(name), "build-%.12s", b->id);
    struct network_request request = {.instance_id = b->id,
                                      .instance_name = name,
                                      .network = NETWORK_DEFAULT,
                                      .machine = b->o->vm};
    int r = network_attach(b->e->store, &request, &b->port, err);
    b->has_port = r == 0;
    return r;
}

/* --- the bundle --- */

static char *hosts_text(const struct build_box *x)
{
    const struct build *b = x->stage->build;
    return hosts_extend(xstrdup("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
                                "127.0.1.1\t" HOSTNAME "\n"),
                        b->o->add_hosts);
}

static char *resolv_text(const struct build_box *x)
{
    char *host = NULL;
    if (strcmp(x->network, "default") == 0)
        return network_resolv_conf(&x->stage->build->port, 1);
    if (strcmp(x->network, "host") == 0 &&
        file_read(AT_FDCWD, "/etc/resolv.conf", 65536, &host) == 0)
        return host;
    return xstrdup("");
}

static int write_file(const struct build_box *x, const char *name, const char *text,
                      char **ret_path, struct error *err)
{
    *ret_path = path_join(x->bundle, name);
    int r = file_write_atomic(AT_FDCWD, *ret_path, text, strlen(text), 0644);
    return r < 0 ? error_errno(err, r, "write %s", *ret_path) : 0;
}

/* A place for target in the layer of places: as what source is. */
static int make_place(const char *places, const char *target, const char *source, struct error *err)
{
    struct stat st;
    _cleanup_free_ char *path = path_join(places, target);
    bool file = source && stat(source, &st) == 0 && !S_ISDIR(st.st_mode);
    char *slash = strrchr(path, '/');
    if (file)
        *slash = '\0';
    int r = path_make_dirs(path, 0755);
    if (r == 0 && file) {
        *slash = '/';
        r = mknod(path, S_IFREG | 0644, 0) < 0 && errno != EEXIST ? -errno : 0;
    }
    return r < 0 ? error_errno(err, r, "make a place for %s", target) : 0;
}

int build_box_places(const struct build_box *x, const char *places, struct error *err)
{
    static const char *const usual[] = {"proc", "sys", "dev", "etc"};
    static const char *const files[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
    int r = mkdir(places, 0755) < 0 ? error_errno(err, errno, "create %s", places) : 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(usual); i++)
        r = make_place(places, usual[i], NULL, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
        r = make_place(places, files[i], "/dev/null", err);
    for (size_t i = 0; r == 0 && i < x->mounts.n; i++)
        r = make_place(places, x->mounts.list[i].target, x->mounts.list[i].source, err);
    return r;
}

static int save_bundle(struct build_box *x, const struct create_options *o, const char *places,
                       struct error *err)
{
    struct build *b = x->stage->build;
    _cleanup_(bundle_done) struct bundle bundle;
    _cleanup_strv_ char **layers = NULL;
    bundle_init(&bundle);
    int r = build_root_layers(b, &x->stage->root, &layers, err);
    if (r < 0 || (r = seccomp_filter_write(b->e, o, x->bundle, &bundle.seccomp_filter, err)) < 0)
        return r;
    bundle.id = xstrdup(b->id);
    bundle.n_layers = strv_len(layers) + 1;
    bundle.layers = xcalloc(bundle.n_layers, sizeof(*bundle.layers));
    bundle.layers[0].mount = xstrdup(places);
    for (size_t i = 0; layers[i]; i++)
        bundle.layers[i + 1].mount = xstrdup(layers[i]);
    bundle.upper = path_join(x->bundle, "upper");
    bundle.work = path_join(x->bundle, "work");
    bundle.ephemeral = true;
    return bundle_save(&bundle, x->bundle, err);
}

int build_box_spec(struct build_box *x, const struct create_options *o, struct error *err)
{
    struct build *b = x->stage->build;
    const struct image image = {.id = NULL};
    const struct instance_record record = {.id = b->id};
    _cleanup_free_ char *hosts = NULL, *hostname = NULL, *resolv = NULL;
    _cleanup_free_ char *hosts_content = hosts_text(x), *resolv_content = resolv_text(x);
    int r;
    if ((r = write_file(x, "hosts", hosts_content, &hosts, err)) < 0 ||
        (r = write_file(x, "hostname", HOSTNAME "\n", &hostname, err)) < 0 ||
        (r = write_file(x, "resolv.conf", resolv_content, &resolv, err)) < 0)
        return r;
    const struct spec_files files = {hosts, hostname, resolv};
    return spec_write(b->e, o, &image, &x->mounts, &record, &files, err);
}

/* Borrows all of it. */
void build_box_options(const struct build_box *x, struct create_options *ret)
{
    const char *workdir = build_setting(x->stage, "WorkingDir");
    create_options_init(ret);
    ret->command = (char **)x->argv;
    ret->entrypoint = (char *)"";
    ret->env = (char **)x->env;
    ret->user = (char *)build_setting(x->stage, "User");
    ret->working_dir = (char *)(workdir ? workdir : "/");
    ret->hostname = (char *)HOSTNAME;
    ret->networks = (char **)x->networks;
    ret->ulimits = (char **)x->stage->build->o->ulimits;
}

static int make_bundle(struct build_box *x, struct error *err)
{
    _cleanup_free_ char *places = path_join(x->bundle, "places");
    struct create_options o;
    int r;
    build_box_options(x, &o);
    if ((r = build_box_places(x, places, err)) < 0 || (r = save_bundle(x, &o, places, err)) < 0)
        return r;
    return build_box_spec(x, &o, err);
}

/* --- running --- */

int build_relay_open(struct build_relay *relay, int stdio[3], struct error *err)
{
    int ends[2];
    stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (stdio[0] < 0)
        return error_errno(err, errno, "open /dev/null");
    for (int i = 0; i < 2; i++) {
        if (pipe2(ends, O_CLOEXEC) < 0)
            return error_errno(err, errno, "make a pipe");
        relay->fds[i] = ends[0];
        stdio[i + 1] = ends[1];
    }
    return 0;
}

void build_relay_close(struct build_relay *relay)
{
    for (int i = 0; i < 2; i++)
        relay->fds[i] = close_fd(relay->fds[i]);
}

static void pass_on(struct build_relay *relay, int which)
{
    char data[READ_BYTES];
    const struct build_report *report = &relay->b->o->report;
    ssize_t n = read(relay->fds[which], data, sizeof(data));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0)
        relay->fds[which] = close_fd(relay->fds[which]);
    else if (report->output)
        report->output(report->context, which + 1, data, (size_t)n);
}

/* Until the process has ended and what it wrote is read. What a container's left running is gone by
 * then: the kernel ends a process namespace with its first process. */
int build_relay_follow(struct build_relay *relay, pid_t pid, const struct runtime_target *target,
                       int *ret_status, struct error *err)
{
    const struct runtime_ops *ops = runtime_ops(relay->b->o->vm ? RUNTIME_VM : RUNTIME_CONTAINER);
    _cleanup_close_ int pidfd = ns_pidfd(pid);
    bool alive = pidfd >= 0;
    int wait_status = 0, r = 0;
    while (relay->fds[0] >= 0 || relay->fds[1] >= 0 || alive) {
        struct pollfd p[3] = {{relay->fds[0], POLLIN, 0},
                              {relay->fds[1], POLLIN, 0},
                              {alive ? pidfd : -1, POLLIN, 0}};
        (void)poll(p, 3, -1);
        if (r == 0 && (r = build_interrupted(err)) < 0)
            (void)!ops->kill_all(target, NULL);
        for (int i = 0; i < 2; i++)
            if (p[i].fd >= 0 && p[i].revents)
                pass_on(relay, i);
        if (alive && p[2].revents)
            alive = false;
    }
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    *ret_status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    return r;
}

static int start(struct build_box *x, int *ret_status, struct error *err)
{
    struct build *b = x->stage->build;
    struct build_relay relay = {b, {-EBADF, -EBADF}};
    struct runtime_started started = {0};
    struct runtime_start s = {
        .id = b->id,
        .bundle = x->bundle,
        .run_dir = b->run_dir,
        .stdio = {-EBADF, -EBADF, -EBADF},
        .network_fd = strcmp(x->network, "default") == 0 ? b->port.fd : -EBADF,
    };
    const struct runtime_target target = {.id = b->id, .bundle = x->bundle, .run_dir = b->run_dir};
    int r = build_relay_open(&relay, s.stdio, err);
    if (r == 0)
        r = container_start(&s, &started, err);
    for (int i = 0; i < 3; i++)
        s.stdio[i] = close_fd(s.stdio[i]);
    if (r == 0)
        r = build_relay_follow(&relay, started.pid, &target, ret_status, err);
    build_relay_close(&relay);
    return r;
}

static int run_container(struct build_box *x, int *ret_status, struct error *err)
{
    _cleanup_free_ char *upper = path_join(x->bundle, "upper");
    int r = make_bundle(x, err);
    if (r == 0)
        r = start(x, ret_status, err);
    if (r < 0 || *ret_status != 0)
        return r;
    x->changes = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return x->changes < 0 ? error_errno(err, errno, "open %s", upper) : 0;
}

int build_box_run(struct build_box *x, int *ret_status, struct error *err)
{
    struct build *b = x->stage->build;
    int r = begin(b, err);
    if (r < 0)
        return r;
    x->bundle = engine_bundle_dir(b->e, b->id);
    if ((r = join_network(x, err)) < 0 || (r = bundle_make(x->bundle, err)) < 0)
        return r;
    return b->o->vm ? build_machine_run(x, ret_status, err) : run_container(x, ret_status, err);
}

void build_box_done(struct build_box *x)
{
    x->changes = close_fd(x->changes);
    if (x->bundle)
        remove_bundle(x->stage->build);
    spec_mounts_done(&x->mounts);
    free(x->bundle);
    x->bundle = NULL;
}
