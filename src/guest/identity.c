#include <fcntl.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "guest/guest.h"
#include "kernel/passwd.h"

/* The child is in the workload's root by now; names are those of its own files. */
static int look_up(const char *spec, struct passwd_user *ret, struct error *err)
{
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? error_errno(err, errno, "open the root")
                    : passwd_lookup(root, spec, ret, err);
}

static int add_groups(char *const *groups, struct passwd_user *u, struct error *err)
{
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? error_errno(err, errno, "open the root")
                    : passwd_add_groups(root, groups, u, err);
}

static void set_home(const struct guest *g, uint32_t uid)
{
    if (getenv("HOME"))
        return;
    if (uid == 0 && g->home) {
        setenv("HOME", g->home, 1);
        return;
    }
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *home = root < 0 ? NULL : passwd_home(root, uid);
    setenv("HOME", home && *home ? home : "/", 1);
}

static int enter_directory(const char *cwd, struct error *err)
{
    char now[4096];
    if (chdir(cwd) < 0)
        return error_errno(err, errno, "change to the working directory %s", cwd);
    /* "/proc/self/fd/N" of a directory that is the agent's own: "(unreachable)...". */
    if (syscall(SYS_getcwd, now, sizeof(now)) <= 0 || now[0] != '/')
        return error_set(err, ERROR_DENIED, EPERM,
                         "the working directory %s is outside the machine's root", cwd);
    return 0;
}

int guest_identity_apply(const struct guest *g, const struct guest_spawn *s, struct error *err)
{
    const struct oci_user *u = &s->process->user;
    const char *spec = s->user ? s->user : u->username;
    struct passwd_user found = {.uid = u->uid, .gid = u->gid};
    int r = spec ? look_up(spec, &found, err) : 0;
    if (r < 0)
        return r;
    set_home(g, found.uid);
    r = add_groups(u->groups, &found, err);
    if (r < 0) {
        passwd_user_done(&found);
        return r;
    }
    if (spec || u->groups)
        r = guest_credentials_apply(g, s->process, found.uid, found.gid, found.groups,
                                    found.n_groups, s->privileged, err);
    else
        r = guest_credentials_apply(g, s->process, u->uid, u->gid, u->additional_gids,
                                    u->n_additional_gids, s->privileged, err);
    passwd_user_done(&found);
    return r < 0 ? r : enter_directory(s->cwd, err);
}
