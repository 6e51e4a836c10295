/*
 * libseccomp turns the rules into a program for the machine's own architecture and its 32-bit one.
 * A few instructions are put before it, for what it cannot do:
 *
 * - a 32-bit socketcall(SYS_SOCKET) hides the address family in memory, so it is refused (C
 *   libraries use socket(2) directly); otherwise it would bring back the families that the profile
 *   denies;
 * - system calls newer than libseccomp: those that the profile allows by a name in `newer` are
 *   allowed, the others get ENOSYS, not EPERM, so that C libraries fall back.
 *
 * Calls of x32, where the profile does not list it, fail with EPERM as those of any other
 * architecture.
 */
#include "runtime/seccomp/compile.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"

#define I386_SOCKETCALL 102
#define X32_BIT         0x40000000
#define MAX_PREFIX      64

/* Numbers from 424 on are the same on every architecture. */
static const struct {
    const char *name;
    uint32_t number;
} newer[] = {
    {"cachestat", 451},   {"fchmodat2", 452},     {"map_shadow_stack", 453},
    {"futex_wake", 454},  {"futex_wait", 455},    {"futex_requeue", 456},
    {"mseal", 462},       {"setxattrat", 463},    {"getxattrat", 464},
    {"listxattrat", 465}, {"removexattrat", 466},
};

#if defined(__x86_64__)
#define NATIVE_AUDIT AUDIT_ARCH_X86_64
#define COMPAT_AUDIT AUDIT_ARCH_I386
#define COMPAT_ARCH  SCMP_ARCH_X86
#define COMPAT_NAME  "SCMP_ARCH_X86"
#define GO_ARCH      "amd64"
#elif defined(__aarch64__)
#define NATIVE_AUDIT AUDIT_ARCH_AARCH64
#define COMPAT_AUDIT AUDIT_ARCH_ARM
#define COMPAT_ARCH  SCMP_ARCH_ARM
#define COMPAT_NAME  "SCMP_ARCH_ARM"
#define GO_ARCH      "arm64"
#else
#error "the seccomp profile is not known for this architecture"
#endif

static int errno_of(bool has, uint32_t value)
{
    return has ? (int)value : EPERM;
}

static int action_value(enum oci_seccomp_action action, int errnum, uint32_t *ret,
                        struct error *err)
{
    switch (action) {
    case OCI_SECCOMP_KILL_THREAD:
        *ret = SCMP_ACT_KILL_THREAD;
        return 0;
    case OCI_SECCOMP_KILL_PROCESS:
        *ret = SCMP_ACT_KILL_PROCESS;
        return 0;
    case OCI_SECCOMP_TRAP:
        *ret = SCMP_ACT_TRAP;
        return 0;
    case OCI_SECCOMP_ERRNO:
        *ret = SCMP_ACT_ERRNO((uint32_t)errnum);
        return 0;
    case OCI_SECCOMP_TRACE:
        *ret = SCMP_ACT_TRACE((uint32_t)errnum);
        return 0;
    case OCI_SECCOMP_ALLOW:
        *ret = SCMP_ACT_ALLOW;
        return 0;
    case OCI_SECCOMP_LOG:
        *ret = SCMP_ACT_LOG;
        return 0;
    case OCI_SECCOMP_NOTIFY:
        *ret = SCMP_ACT_NOTIFY;
        return 0;
    }
    return error_invalid(err, "seccomp: unknown action %d", (int)action);
}

static struct scmp_arg_cmp compare(const struct oci_seccomp_arg *arg)
{
    static const enum scmp_compare ops[] = {
        [OCI_SECCOMP_NE] = SCMP_CMP_NE,
        [OCI_SECCOMP_LT] = SCMP_CMP_LT,
        [OCI_SECCOMP_LE] = SCMP_CMP_LE,
        [OCI_SECCOMP_EQ] = SCMP_CMP_EQ,
        [OCI_SECCOMP_GE] = SCMP_CMP_GE,
        [OCI_SECCOMP_GT] = SCMP_CMP_GT,
        [OCI_SECCOMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
    };
    return (struct scmp_arg_cmp){arg->index, ops[arg->op], arg->value, arg->value_two};
}

static bool applies(const struct oci_seccomp_rule *rule, uint64_t caps)
{
    return (rule->caps_needed & caps) == rule->caps_needed && !(rule->caps_excluded & caps) &&
           (!rule->arches_needed || strv_has(rule->arches_needed, GO_ARCH)) &&
           !(rule->arches_excluded && strv_has(rule->arches_excluded, GO_ARCH));
}

static int add_name(scmp_filter_ctx ctx, const struct oci_seccomp_rule *rule, const char *name,
                    uint32_t action, struct error *err)
{
    struct scmp_arg_cmp args[6];
    unsigned int n = (unsigned int)rule->n_args;
    int number = seccomp_syscall_resolve_name(name);
    /* Profiles name calls of other architectures and of kernels to come. */
    if (number == __NR_SCMP_ERROR)
        return 0;
    for (unsigned int i = 0; i < n; i++)
        args[i] = compare(&rule->args[i]);
    int r = seccomp_rule_add_array(ctx, action, number, n, args);
    /* More than one test of one argument: "any of them", as runc reads profiles. */
    if (r == -EINVAL && n > 1) {
        r = 0;
        for (unsigned int i = 0; i < n && r == 0; i++)
            r = seccomp_rule_add_array(ctx, action, number, 1, &args[i]);
    }
    if (r == -EEXIST)
        return 0;
    return r < 0 ? error_errno(err, r, "seccomp: add a rule for %s", name) : 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct oci_seccomp *p, uint64_t caps,
                     uint32_t default_value, struct error *err)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct oci_seccomp_rule *rule = &p->rules[i];
        uint32_t action;
        if (!applies(rule, caps))
            continue;
        int r =
            action_value(rule->action, errno_of(rule->has_errno, rule->errno_ret), &action, err);
        for (size_t n = 0; r == 0 && action != default_value && rule->names[n]; n++)
            r = add_name(ctx, rule, rule->names[n], action, err);
        if (r < 0)
            return r;
    }
    return 0;
}

struct prefix {
    struct sock_filter insns[MAX_PREFIX];
    unsigned short n;
};

static void put(struct prefix *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    p->insns[p->n++] = (struct sock_filter){code, yes, no, k};
}

static bool allows_by_name(const struct oci_seccomp *p, const char *name, uint64_t caps)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].action == OCI_SECCOMP_ALLOW && p->rules[i].n_args == 0 &&
            applies(&p->rules[i], caps) && strv_has(p->rules[i].names, name))
            return true;
    return false;
}

/* The highest number that libseccomp has a name for. */
static uint32_t last_known(void)
{
    for (int number = 1000; number > 424; number--) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        bool known = name != NULL;
        free(name);
        if (known)
            return (uint32_t)number;
    }
    return 424;
}

/* Profiles without a list are for this machine's own architecture and its 32-bit one. */
static bool has_architecture(const struct oci_seccomp *p, const char *name)
{
    return !p->architectures || strv_has(p->architectures, name);
}

static void put_prefix(struct prefix *p, const struct oci_seccomp *profile, uint64_t caps)
{
    bool compat = has_architecture(profile, COMPAT_NAME);
    const uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K;
    uint32_t last = last_known();
    /* Not one of the two architectures: libseccomp's part says what happens. */
    put(p, load, offsetof(struct seccomp_data, arch), 0, 0);
    put(p, equal, NATIVE_AUDIT, 1, 0);
    size_t other = p->n;
    put(p, equal, compat ? COMPAT_AUDIT : NATIVE_AUDIT, 0, 0);
    /* A 32-bit call of socketcall(SYS_SOCKET). */
    put(p, load, offsetof(struct seccomp_data, nr), 0, 0);
    if (compat && COMPAT_AUDIT == AUDIT_ARCH_I386 && !allows_by_name(profile, "socket", caps)) {
        put(p, equal, I386_SOCKETCALL, 0, 6);
        put(p, load, offsetof(struct seccomp_data, arch), 0, 0);
        put(p, equal, COMPAT_AUDIT, 0, 3);
        put(p, load, offsetof(struct seccomp_data, args), 0, 0);
        put(p, equal, SYS_SOCKET, 0, 1);
        put(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
        put(p, load, offsetof(struct seccomp_data, nr), 0, 0);
    }
    /* Calls that libseccomp does not know yet. */
    size_t x32 = p->n;
    put(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
        if (newer[i].number > last && allows_by_name(profile, newer[i].name, caps)) {
            put(p, equal, newer[i].number, 0, 1);
            put(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
        }
    put(p, BPF_JMP | BPF_JGT | BPF_K, last, 0, 1);
    put(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
    p->insns[other].jf = (uint8_t)(p->n - other - 1);
    p->insns[x32].jt = (uint8_t)(p->n - x32 - 1);
}

/* One that lets calls pass by default, or asks somebody, has nothing to hide from socketcall or
 * from calls that have no name yet. */
static bool denies_by_default(const struct oci_seccomp *p)
{
    return p->default_action == OCI_SECCOMP_ERRNO || p->default_action == OCI_SECCOMP_TRAP ||
           p->default_action == OCI_SECCOMP_KILL_THREAD ||
           p->default_action == OCI_SECCOMP_KILL_PROCESS;
}

static int export(scmp_filter_ctx ctx, struct buf *out)
{
    _cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return r;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return fd_read_to_end(fd, out);
}

/* Calls of an architecture that is not listed fail. Of those listed, only this machine's can ever
 * occur. */
static int set_up(scmp_filter_ctx ctx, const struct oci_seccomp *p, struct error *err)
{
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    if (r == 0 && has_architecture(p, COMPAT_NAME))
        r = seccomp_arch_add(ctx, COMPAT_ARCH);
#if defined(__x86_64__)
    if (r == 0 && p->architectures && strv_has(p->architectures, "SCMP_ARCH_X32"))
        r = seccomp_arch_add(ctx, SCMP_ARCH_X32);
#endif
    if (r < 0)
        return error_errno(err, r, "seccomp: set up the filter");
    /* A tree instead of a list: fewer instructions for each call. Old libraries have none. */
    (void)!seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return 0;
}

int seccomp_compile(const struct oci_seccomp *profile, uint64_t caps, struct buf *out,
                    struct error *err)
{
    struct prefix prefix = {.n = 0};
    uint32_t value;
    int r = action_value(profile->default_action,
                         errno_of(profile->has_default_errno, profile->default_errno), &value, err);
    if (r < 0)
        return r;
    scmp_filter_ctx ctx = seccomp_init(value);
    if (!ctx)
        return error_errno(err, -ENOMEM, "seccomp: make a filter");
    if ((r = set_up(ctx, profile, err)) == 0 &&
        (r = add_rules(ctx, profile, caps, value, err)) == 0) {
        if (denies_by_default(profile))
            put_prefix(&prefix, profile, caps);
        r = buf_add(out, prefix.insns, prefix.n * sizeof(prefix.insns[0]));
        if (r == 0)
            r = export(ctx, out);
        if (r < 0)
            (void)error_errno(err, r, "seccomp: write the program");
    }
    seccomp_release(ctx);
    if (r == 0 && out->len > SECCOMP_MAX_BYTES)
        r = error_set(err, ERROR_LIMIT, E2BIG,
                      "seccomp: the program is longer than the kernel takes");
    return r;
}
