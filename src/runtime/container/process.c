/*
 * From a privileged process inside the container's namespaces to its workload, in two steps that
 * may be apart: container_become (limits, ids, capabilities), and container_seal (the filter),
 * which is the last thing before the exec, so that a profile has to allow little more than that.
 *
 * The order matters: limits while they may still be set; the bounding set before the ids. Without
 * no_new_privs loading a filter needs CAP_SYS_ADMIN: then that one capability stays until the
 * filter is there. The death signal comes after the last change of credentials, because the kernel
 * forgets it at each. Until exec the process is not dumpable, so nothing inside can look at it.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "kernel/caps.h"
#include "runtime/container/internal.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool has_group(const struct passwd_user *u, uint32_t gid)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return true;
    return false;
}

static int add_configured_groups(const struct oci_user *oci, struct passwd_user *u,
                                 struct error *err)
{
    size_t max = u->n_groups + oci->n_additional_gids;
    if (max > PASSWD_MAX_GROUPS * 2)
        return error_set(err, ERROR_LIMIT, E2BIG, "too many supplementary groups");
    u->groups = xreallocarray(u->groups, max + 1, sizeof(*u->groups));
    for (size_t i = 0; i < oci->n_additional_gids; i++)
        if (!has_group(u, oci->additional_gids[i]))
            u->groups[u->n_groups++] = oci->additional_gids[i];
    return 0;
}

int container_user(int root, const struct oci_user *oci, const char *spec, struct passwd_user *ret,
                   struct error *err)
{
    if (!spec)
        spec = oci->username;
    if (spec) {
        int r = passwd_lookup(root, spec, ret, err);
        if (r < 0)
            return r;
    } else {
        *ret = (struct passwd_user){.uid = oci->uid, .gid = oci->gid};
        ret->home = passwd_home(root, oci->uid);
    }
    int r = passwd_add_groups(root, oci->groups, ret, err);
    if (r == 0)
        r = add_configured_groups(oci, ret, err);
    if (r < 0)
        passwd_user_done(ret);
    return r;
}

char **container_environment(char *const *env, const struct passwd_user *user)
{
    char **copy = strv_copy(env);
    if (!env_get(copy, "HOME"))
        strv_addf(&copy, "HOME=%s", user->home && user->home[0] == '/' ? user->home : "/");
    return copy;
}

int container_chdir(int root, const char *cwd, struct error *err)
{
    char now[4096];
    _cleanup_close_ int fd = path_open_in_root(root, cwd, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return error_errno(err, fd, "change to the working directory %s", cwd);
    if (fchdir(fd) < 0)
        return error_errno(err, errno, "change to the working directory %s", cwd);
    /* The kernel answers "(unreachable)..." for a directory that is not below the root. */
    long n = syscall(SYS_getcwd, now, sizeof(now));
    if (n <= 0 || now[0] != '/')
        return error_set(err, ERROR_DENIED, EPERM,
                         "the working directory %s is outside the container's root", cwd);
    return 0;
}

static int set_limits(const struct oci_process *p, struct error *err)
{
    for (size_t i = 0; i < p->n_rlimits; i++) {
        const struct oci_rlimit *limit = &p->rlimits[i];
        struct rlimit value = {limit->soft, limit->hard};
        if (setrlimit((__rlimit_resource_t)limit->resource, &value) < 0)
            return error_errno(err, errno, "set resource limit %d", limit->resource);
    }
    return 0;
}

static uint64_t bit(unsigned int cap)
{
    return UINT64_C(1) << cap;
}

/* In a user namespace that an ordinary user made nobody may change groups, whatever capability it
 * has: none can be added, and those that are there are not mapped. */
static bool is_denied_to_all(void)
{
    uint64_t effective = 0, permitted, inheritable;
    return caps_get(&effective, &permitted, &inheritable) == 0 && (effective & bit(CAP_SETGID));
}

static int set_groups(size_t n, const uint32_t *groups)
{
    if (syscall(SYS_setgroups, n, groups) == 0)
        return 0;
    int errnum = errno;
    return errnum == EPERM && n == 0 && is_denied_to_all() ? 0 : -errnum;
}

int container_namespace_root(bool keep_groups)
{
    int r = keep_groups ? 0 : set_groups(0, NULL);
    if (r == 0 && (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
        r = -errno;
    return r;
}

static int set_ids(const struct passwd_user *u, bool keep_groups, struct error *err)
{
    /* Raw calls: one thread, and nothing of the C library is to run hooks here. */
    int r = keep_groups ? 0 : set_groups(u->n_groups, u->groups);
    if (r < 0)
        return error_errno(err, r, "set the supplementary groups");
    if (syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0)
        return error_errno(err, errno, "become group %u", u->gid);
    if (syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
        return error_errno(err, errno, "become user %u", u->uid);
    return 0;
}

/* What this process has itself is the most it can give. */
static void wanted_capabilities(const struct container_process *p, struct caps *ret,
                                uint64_t *ret_own)
{
    uint64_t effective = 0, permitted = 0, inheritable = 0;
    (void)!caps_get(&effective, &permitted, &inheritable);
    *ret_own = permitted;
    if (p->all_capabilities) {
        *ret = (struct caps){UINT64_MAX, permitted, 0, permitted, 0};
    } else if (p->oci->has_capabilities) {
        const struct oci_capabilities *c = &p->oci->capabilities;
        *ret = (struct caps){c->bounding, c->effective & permitted, c->inheritable & permitted,
                             c->permitted & permitted, c->ambient & permitted};
    } else {
        *ret = (struct caps){0};
    }
    ret->effective &= ret->permitted;
    ret->ambient &= ret->permitted & ret->inheritable;
}

/* Pipes and the terminal were made by root: their user must be able to reopen /dev/stdout. What
 * comes from outside (a file, the caller's own terminal) keeps its owner. */
static void give_stdio(uint32_t uid)
{
    for (int fd = 0; fd < 3; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_uid != uid &&
            (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
            (void)!fchown(fd, uid, (gid_t)-1);
    }
}

/* With no_new_privs anybody may load a filter. */
static bool needs_admin(const struct container_process *p)
{
    return p->filter && !p->oci->no_new_privileges;
}

static int set_capabilities(const struct container_process *p, bool keep_admin, struct error *err)
{
    struct caps caps;
    uint64_t own, admin = keep_admin ? bit(CAP_SYS_ADMIN) : 0;
    wanted_capabilities(p, &caps, &own);
    admin &= own;
    int r = caps_set(caps.effective | admin, caps.permitted | admin, caps.inheritable);
    if (r == 0)
        r = caps_ambient(caps.ambient);
    return r < 0 ? error_errno(err, r, "set capabilities") : 0;
}

int container_seal(const struct container_process *p, struct error *err)
{
    if (!p->filter)
        return 0;
    int r = container_load_filter(p->filter, p->channel, err);
    if (r < 0)
        return r;
    return needs_admin(p) ? set_capabilities(p, false, err) : 0;
}

int container_become(const struct container_process *p, struct error *err)
{
    struct caps caps;
    uint64_t own;
    int r;
    wanted_capabilities(p, &caps, &own);
    process_default_signals();
    umask(p->oci->user.has_umask ? p->oci->user.umask : 022);
    if (p->user->uid != 0)
        give_stdio(p->user->uid);
    if ((r = container_host_settings(p->oci, err)) < 0 ||
        (r = container_memory_policy(p->linux_, err)) < 0 ||
        (r = container_personality(p->linux_, err)) < 0 || (r = set_limits(p->oci, err)) < 0)
        return r;
    if ((own & bit(CAP_SETPCAP)) && (r = caps_bound(caps.bounding)) < 0)
        return error_errno(err, r, "drop capabilities");
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return error_errno(err, errno, "keep capabilities");
    if ((r = set_ids(p->user, p->linux_->keep_groups, err)) < 0 ||
        (r = set_capabilities(p, needs_admin(p), err)) < 0)
        return r;
    /* Another user's id has made it what it was not. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_errno(err, errno, "hide the process");
    if (p->oci->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, errno, "set no_new_privs");
    return p->seal_later ? 0 : container_seal(p, err);
}

int container_session(int console, struct error *err)
{
    setsid();
    if (console < 0)
        return 0;
    if (ioctl(console, TIOCSCTTY, 0) < 0)
        return error_errno(err, errno, "take the terminal");
    for (int fd = 0; fd < 3; fd++)
        if (dup2(console, fd) < 0)
            return error_errno(err, errno, "use the terminal");
    return 0;
}

/* The words users know from Docker; clients look for them to tell 126 and 127 from other failures.
 */
static int execute_error(struct error *err, int errnum, const char *name)
{
    struct stat st;
    char text[80];
    bool in_path = !strchr(name, '/');
    if ((errnum == ENOENT || errnum == ENOTDIR) && in_path)
        return error_set(err, ERROR_COMMAND_NOT_FOUND, errnum,
                         "exec: \"%s\": executable file not found in $PATH", name);
    if (errnum == ENOENT || errnum == ENOTDIR)
        return error_set(err, ERROR_COMMAND_NOT_FOUND, errnum, "exec: \"%s\": %s", name,
                         error_text(errnum, text, sizeof(text)));
    if (errnum == EACCES && !in_path && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
        return error_set(err, ERROR_COMMAND_NOT_RUN, EISDIR,
                         "exec: \"%s\": is a directory: permission denied", name);
    if (errnum == ENOEXEC)
        return error_set(err, ERROR_COMMAND_NOT_RUN, errnum, "exec: \"%s\": exec format error",
                         name);
    return error_set(err, ERROR_COMMAND_NOT_RUN, errnum, "exec: \"%s\": %s", name,
                     error_text(errnum, text, sizeof(text)));
}

/* The first file of that name in PATH that can be executed; a refusal is remembered, as a shell
 * does. 0, or the errno of the best candidate. */
static int find_in_path(const char *name, const char *path, char **ret)
{
    _cleanup_strv_ char **dirs = strv_split(path, ':');
    int result = ENOENT;
    for (size_t i = 0; dirs[i]; i++) {
        struct stat st;
        _cleanup_free_ char *file = path_join(*dirs[i] ? dirs[i] : ".", name);
        if (stat(file, &st) < 0)
            continue;
        if (S_ISREG(st.st_mode) && access(file, X_OK) == 0) {
            *ret = TAKE_PTR(file);
            return 0;
        }
        result = EACCES;
    }
    return result;
}

int container_find_executable(const char *name, char *const *env, char **ret, struct error *err)
{
    struct stat st;
    const char *path = env_get(env, "PATH");
    int errnum = 0;
    if (!*name)
        errnum = ENOENT;
    else if (!strchr(name, '/'))
        errnum = find_in_path(name, path ? path : DEFAULT_PATH, ret);
    else if (stat(name, &st) < 0 || access(name, X_OK) < 0)
        errnum = errno;
    else if (S_ISDIR(st.st_mode))
        errnum = EACCES;
    else
        *ret = xstrdup(name);
    return errnum ? execute_error(err, errnum, name) : 0;
}

int container_execute(const char *file, char *const *argv, char *const *env, struct error *err)
{
    _cleanup_free_ char *found = NULL;
    int r = file ? 0 : container_find_executable(argv[0], env, &found, err);
    if (r < 0)
        return r;
    execve(file ? file : found, argv, env);
    return execute_error(err, errno, argv[0]);
}
