/*
 * checkpoint: CRIU writes what the container's processes are into a directory, from which restore.c
 * makes them again. The container ends with it, and is deleted, unless it is to go on.
 *
 * CRIU stops the processes through the container's freezer, so that none is born unseen; a
 * container that was paused stays paused.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "runtime/container/ops.h"
#include "runtime/oci/criu/external.h"

#define LOG_FILE           "dump.log"
#define SAVES_NO_NEW_PRIVS 319u

int oci_image_make(const char *path, struct error *err)
{
    if (path && mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "make the directory %s", path);
    return 0;
}

/* The host's number of the group that is 0 in a new user namespace of the container's; -1: none. */
static gid_t group_of_root(const struct oci_config *config)
{
    const struct oci_namespace *ns = oci_config_namespace(config, CLONE_NEWUSER);
    const struct oci_linux *l = &config->linux_;
    for (size_t i = 0; ns && !ns->path && i < l->n_gid_maps; i++)
        if (l->gid_maps[i].container_id == 0)
            return l->gid_maps[i].host_id;
    return (gid_t)-1;
}

int oci_image_open(const char *path, int *ret, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open the image %s", path);
    *ret = fd;
    return 0;
}

int oci_image_admit(const struct oci_config *config, int image, struct error *err)
{
    gid_t group = group_of_root(config);
    struct stat st;
    if (group == (gid_t)-1)
        return 0;
    if (fstat(image, &st) < 0 || fchown(image, (uid_t)-1, group) < 0 ||
        fchmod(image, (st.st_mode & 0700) | 0010) < 0)
        return error_errno(err, errno, "let the container's user namespace read the image");
    return 0;
}

static int check_container(const struct oci_container *c, struct error *err)
{
    enum oci_status status = oci_container_status(c);
    if (status != OCI_RUNNING && status != OCI_PAUSED)
        return error_set(err, ERROR_CONFLICT, ESRCH, "container cannot be checkpointed in %s state",
                         oci_status_name(status));
    if (geteuid() != 0)
        return error_set(err, ERROR_DENIED, EPERM, "checkpoint needs root");
    if (!oci_config_namespace(c->config, CLONE_NEWNS))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a container without a mount namespace cannot be checkpointed");
    return 0;
}

/* What an older CRIU would lose without a word. Restored, the container could gain privileges that
 * its configuration denies it. */
static int check_program(const struct oci_container *c, struct error *err)
{
    unsigned int version = 0;
    if (!c->config->process.no_new_privileges)
        return 0;
    int r = criu_version("checkpoint", &version, err);
    if (r == 0 && version < SAVES_NO_NEW_PRIVS)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "checkpoint: the container has noNewPrivileges, which criu %u.%u does not "
                         "save (%u.%u does)",
                         version / 100, version % 100, SAVES_NO_NEW_PRIVS / 100,
                         SAVES_NO_NEW_PRIVS % 100);
    return r;
}

static int check_parent(const struct oci_checkpoint *o, int image, struct error *err)
{
    struct stat st;
    if (!o->parent_path)
        return 0;
    if (o->parent_path[0] == '/')
        return error_invalid(err, "--parent-path must be relative to --image-path");
    if (fstatat(image, o->parent_path, &st, 0) < 0)
        return error_errno(err, errno, "--parent-path %s", o->parent_path);
    return S_ISDIR(st.st_mode) ? 0 : error_errno(err, ENOTDIR, "--parent-path %s", o->parent_path);
}

static bool is_frozen_v1(const struct cgroup *g)
{
    _cleanup_free_ char *state = NULL;
    return file_read_kernel(g->dirs[CGROUP_FREEZER], "freezer.state", 64, &state) == 0 &&
           strncmp(state, "THAWED", 6) != 0;
}

/* The directory through which the group is frozen: that which has frozen it already, because CRIU
 * thaws it for a moment. NULL: CRIU stops each process by itself. */
static char *freezer(const struct oci_container *c)
{
    _cleanup_(cgroup_done) struct cgroup g = CGROUP_INIT;
    struct runtime_target t = oci_container_target(c);
    if (!c->cgroup_path || container_target_cgroup(&t, &g, NULL) < 0)
        return NULL;
    bool by_v1 = g.dirs[CGROUP_FREEZER] >= 0 && (g.dirs[CGROUP_UNIFIED] < 0 || is_frozen_v1(&g));
    if (!by_v1 && g.dirs[CGROUP_UNIFIED] < 0)
        return NULL;
    const char *hierarchy = by_v1 ? "freezer/" : g.is_v2 ? "" : "unified/";
    return xasprintf("/sys/fs/cgroup/%s%s", hierarchy, g.path);
}

static int run(struct oci_container *c, const struct oci_checkpoint *o, char *const *external,
               struct error *err)
{
    _cleanup_free_ char *frozen = freezer(c);
    struct criu_request q = {
        .type = o->pre_dump ? CRIU_PRE_DUMP : CRIU_DUMP,
        .pid = c->pid,
        .log_file = LOG_FILE,
        .parent = o->parent_path,
        .freezer = frozen,
        .leave_running = o->leave_running || o->pre_dump,
        .external_sockets = o->common.external_sockets,
        .tcp_established = o->common.tcp_established,
        .tcp_skip_in_flight = o->tcp_skip_in_flight,
        .shell_job = o->common.shell_job,
        .file_locks = o->common.file_locks,
        .auto_dedup = o->common.auto_dedup,
        .track_memory = o->pre_dump || o->parent_path,
        .orphan_terminal = true,
        .cgroups = o->common.cgroups,
        .empty_namespaces = o->common.empty_namespaces,
        .external = external,
    };
    const struct criu_call call = {
        .action = "checkpoint",
        .image_path = o->common.image_path,
        .work_path = o->common.work_path,
        .stdio = {-EBADF, -EBADF, STDERR_FILENO},
    };
    struct criu_answer answer;
    return criu_run(&call, &q, &answer, err);
}

int oci_container_checkpoint(struct oci_container *c, const struct oci_checkpoint *o,
                             struct error *err)
{
    _cleanup_strv_ char **external = strv_copy(NULL);
    _cleanup_close_ int image = -EBADF;
    int r = check_container(c, err);
    if (r < 0 || (r = check_program(c, err)) < 0)
        return r;
    if ((r = oci_image_make(o->common.image_path, err)) < 0 ||
        (r = oci_image_make(o->common.work_path, err)) < 0 ||
        (r = oci_image_open(o->common.image_path, &image, err)) < 0 ||
        (r = check_parent(o, image, err)) < 0)
        return r;
    if ((r = criu_mounts_of(c, &external, err)) < 0 ||
        (r = criu_namespaces_of(c, &external, err)) < 0)
        return r;
    if (!o->pre_dump && (r = criu_descriptors_of(c, image, &external, err)) < 0)
        return r;
    if ((r = run(c, o, external, err)) < 0 || o->leave_running || o->pre_dump)
        return r;
    return oci_container_delete(c, true, err);
}
