#include <grp.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guest/guest.h"
#include "kernel/caps.h"

static int set_limits(const struct oci_process *p, struct error *err)
{
    for (size_t i = 0; i < p->n_rlimits; i++) {
        struct rlimit limit = {p->rlimits[i].soft, p->rlimits[i].hard};
        if (setrlimit((unsigned int)p->rlimits[i].resource, &limit) < 0)
            return error_errno(err, errno, "set resource limit %d", p->rlimits[i].resource);
    }
    return 0;
}

/* With no_new_privs anybody may load a filter; else it is done while the right is still there. */
static int load_filter(const struct guest *g, struct error *err)
{
    struct sock_fprog program = {(unsigned short)g->n_filter, g->filter};
    if (g->filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return error_errno(err, errno, "load the seccomp filter");
    return 0;
}

int guest_credentials_apply(const struct guest *g, const struct oci_process *p, uid_t uid,
                            gid_t gid, const gid_t *groups, size_t n_groups, bool privileged,
                            struct error *err)
{
    struct oci_capabilities caps = p->capabilities;
    int r = set_limits(p, err);
    if (r < 0)
        return r;
    if (privileged || !p->has_capabilities) {
        uint64_t all = ((uint64_t)2 << caps_last()) - 1;
        caps = (struct oci_capabilities){.bounding = all, .effective = all, .permitted = all};
    }
    if (uid != 0) {
        caps.permitted &= caps.ambient;
        caps.effective &= caps.ambient;
    }
    if (!p->no_new_privileges && (r = load_filter(g, err)) < 0)
        return r;
    r = caps_bound(caps.bounding);
    if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r == 0 && setgroups(n_groups, groups) < 0)
        r = -errno;
    if (r == 0 && (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
        r = -errno;
    if (r == 0)
        r = caps_set(caps.effective, caps.permitted, caps.inheritable);
    if (r == 0)
        r = caps_ambient(caps.ambient);
    if (r == 0 && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    umask(p->user.has_umask ? (mode_t)p->user.umask : 0022);
    if (r < 0)
        return error_errno(err, r, "take the identity %u:%u", uid, gid);
    return p->no_new_privileges ? load_filter(g, err) : 0;
}
