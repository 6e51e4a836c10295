#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guest/guest.h"

#define CAPABILITIES 64

static int drop_bounding(uint64_t keep)
{
    for (unsigned long cap = 0; cap < CAPABILITIES; cap++) {
        if (keep & (uint64_t)1 << cap)
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -errno;
    }
    return 0;
}

static int set_capabilities(const struct oci_capabilities *c)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(c->effective >> (32 * i));
        data[i].permitted = (uint32_t)(c->permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(c->inheritable >> (32 * i));
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return -errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long cap = 0; cap < CAPABILITIES; cap++)
        if (c->ambient & (uint64_t)1 << cap &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return -errno;
    return 0;
}

static int set_limits(const struct oci_process *p, struct error *err)
{
    for (size_t i = 0; i < p->n_rlimits; i++) {
        struct rlimit limit = {p->rlimits[i].soft, p->rlimits[i].hard};
        if (setrlimit((unsigned int)p->rlimits[i].resource, &limit) < 0)
            return error_errno(err, errno, "set resource limit %d", p->rlimits[i].resource);
    }
    return 0;
}

/* All that this kernel knows; what a privileged exec keeps. */
static uint64_t all_capabilities(void)
{
    uint64_t all = 0;
    for (unsigned long cap = 0; cap < CAPABILITIES; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0)
            all |= (uint64_t)1 << cap;
    return all;
}

int guest_credentials_apply(const struct oci_process *p, uid_t uid, gid_t gid, const gid_t *groups,
                            size_t n_groups, bool privileged, struct error *err)
{
    struct oci_capabilities caps = p->capabilities;
    int r = set_limits(p, err);
    if (r < 0)
        return r;
    if (privileged || !p->has_capabilities) {
        uint64_t all = all_capabilities();
        caps = (struct oci_capabilities){.bounding = all, .effective = all, .permitted = all};
    }
    if (uid != 0) {
        caps.permitted &= caps.ambient;
        caps.effective &= caps.ambient;
    }
    r = drop_bounding(caps.bounding);
    if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r == 0 && setgroups(n_groups, groups) < 0)
        r = -errno;
    if (r == 0 && (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
        r = -errno;
    if (r == 0)
        r = set_capabilities(&caps);
    if (r == 0 && p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    umask(p->user.has_umask ? (mode_t)p->user.umask : 0022);
    return r < 0 ? error_errno(err, r, "take the identity %u:%u", uid, gid) : 0;
}
