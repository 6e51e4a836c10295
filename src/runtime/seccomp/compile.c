/*
 * libseccomp turns the rules into a program for the machine's own architecture and those that the
 * profile lists. A call of any other one kills the thread, as libseccomp has it by default, and
 * with it runc and crun; a profile without a list (the default one, and Docker's files, which say
 * it otherwise) is for this machine's own architecture and its 32-bit one, and all others, x32
 * among them, fail with EPERM.
 *
 * A few instructions are put before it, for what it cannot do:
 *
 * - system calls newer than libseccomp have the action of the first rule without arguments that
 *   names them;
 * - where the profile denies by default, a 32-bit socketcall(SYS_SOCKET) is refused unless sockets
 *   are allowed whatever their arguments: the call has the address family in memory (C libraries
 *   use socket(2) directly), and would bring back the families that the profile denies;
 * - where the profile denies by default, calls that it cannot have known get ENOSYS, not EPERM, so
 *   that C libraries fall back: those above the highest that it names, as in runc, and all that
 *   libseccomp has no name for. Only numbers from 403 on are looked at (a 32-bit call with a 64-bit
 *   time is the first), which mean the same on every architecture; runc has a highest number for
 *   each, and so ENOSYS also for older calls where a profile names very few. x32 calls get the
 *   profile's default.
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
#define FIRST_COMMON    403 /* numbers from here on are the same wherever there is the call */
#define LARGE_PROFILE   32  /* names; libseccomp's tree is wrong for a filter without rules */
#define MAX_PREFIX      96

#define LOAD   (BPF_LD | BPF_W | BPF_ABS)
#define EQUAL  (BPF_JMP | BPF_JEQ | BPF_K)
#define RETURN (BPF_RET | BPF_K)

/* What libseccomp may have no name for yet. */
static const struct {
    const char *name;
    uint32_t number;
} newer[] = {
    {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
    {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
    {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
    {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
    {"file_setattr", 469},
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

/* More than one test of one argument: "any of them", as runc reads profiles. */
static bool repeats_argument(const struct oci_seccomp_rule *rule)
{
    unsigned int seen = 0;
    bool repeats = false;
    for (size_t i = 0; i < rule->n_args; i++) {
        repeats |= seen >> rule->args[i].index & 1;
        seen |= 1u << rule->args[i].index;
    }
    return repeats;
}

static int add_name(scmp_filter_ctx ctx, const struct oci_seccomp_rule *rule, const char *name,
                    uint32_t action, struct error *err)
{
    struct scmp_arg_cmp args[6];
    unsigned int n = (unsigned int)rule->n_args, step = repeats_argument(rule) ? 1 : n;
    int number = seccomp_syscall_resolve_name(name);
    int r = 0;
    /* Profiles name calls of other architectures and of kernels to come. */
    if (number == __NR_SCMP_ERROR)
        return 0;
    for (unsigned int i = 0; i < n; i++)
        args[i] = compare(&rule->args[i]);
    for (unsigned int i = 0; r == 0 && (i == 0 || i < n); i += step ? step : 1) {
        r = seccomp_rule_add_array(ctx, action, number, step, args + i);
        if (r == -EEXIST)
            r = 0;
    }
    return r < 0 ? error_errno(err, r, "seccomp: add a rule for %s", name) : 0;
}

static int rule_action(const struct oci_seccomp_rule *rule, uint32_t *ret, struct error *err)
{
    return action_value(rule->action, errno_of(rule->has_errno, rule->errno_ret), ret, err);
}

static int add_rules(scmp_filter_ctx ctx, const struct oci_seccomp *p, uint64_t caps,
                     uint32_t default_value, struct error *err)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct oci_seccomp_rule *rule = &p->rules[i];
        uint32_t action;
        if (!applies(rule, caps))
            continue;
        int r = rule_action(rule, &action, err);
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

/* The first rule for all calls of that name. */
static const struct oci_seccomp_rule *find_rule(const struct oci_seccomp *p, const char *name,
                                                uint64_t caps)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].n_args == 0 && applies(&p->rules[i], caps) &&
            strv_has(p->rules[i].names, name))
            return &p->rules[i];
    return NULL;
}

static bool allows_by_name(const struct oci_seccomp *p, const char *name, uint64_t caps)
{
    const struct oci_seccomp_rule *rule = find_rule(p, name, caps);
    return rule && rule->action == OCI_SECCOMP_ALLOW;
}

/* The highest number that libseccomp has a name for. */
static uint32_t last_known(void)
{
    for (int number = 1000; number > FIRST_COMMON; number--) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        bool known = name != NULL;
        free(name);
        if (known)
            return (uint32_t)number;
    }
    return FIRST_COMMON;
}

/* 0 when there is none of that name, or it is below the common ones. */
static uint32_t common_number(const char *name)
{
    int number = seccomp_syscall_resolve_name_arch(COMPAT_ARCH, name);
    for (size_t i = 0; i < ARRAY_SIZE(newer) && number == __NR_SCMP_ERROR; i++)
        if (strcmp(newer[i].name, name) == 0)
            return newer[i].number;
    return number >= FIRST_COMMON ? (uint32_t)number : 0;
}

/* The highest of the common numbers that the profile names, whatever for. */
static uint32_t last_named(const struct oci_seccomp *p)
{
    uint32_t last = FIRST_COMMON - 1;
    for (size_t i = 0; i < p->n_rules; i++)
        for (size_t n = 0; p->rules[i].names[n]; n++) {
            uint32_t number = common_number(p->rules[i].names[n]);
            last = MAX(last, number);
        }
    return last;
}

static bool has_architecture(const struct oci_seccomp *p, const char *name)
{
    return !p->architectures || strv_has(p->architectures, name);
}

/* One that lets calls pass by default has nothing to hide from socketcall or from calls that have
 * no name yet. One that asks a tracer leaves that to it. */
static bool denies_by_default(const struct oci_seccomp *p)
{
    return p->default_action == OCI_SECCOMP_ERRNO || p->default_action == OCI_SECCOMP_TRAP ||
           p->default_action == OCI_SECCOMP_KILL_THREAD ||
           p->default_action == OCI_SECCOMP_KILL_PROCESS;
}

/* A 32-bit call of socketcall(SYS_SOCKET). The number is loaded, before and after. */
static void put_socketcall(struct prefix *p)
{
    put(p, EQUAL, I386_SOCKETCALL, 0, 6);
    put(p, LOAD, offsetof(struct seccomp_data, arch), 0, 0);
    put(p, EQUAL, COMPAT_AUDIT, 0, 3);
    put(p, LOAD, offsetof(struct seccomp_data, args), 0, 0);
    put(p, EQUAL, SYS_SOCKET, 0, 1);
    put(p, RETURN, SECCOMP_RET_ERRNO | EPERM, 0, 0);
    put(p, LOAD, offsetof(struct seccomp_data, nr), 0, 0);
}

static int put_newer(struct prefix *p, const struct oci_seccomp *profile, uint64_t caps,
                     uint32_t default_value, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(newer); i++) {
        const struct oci_seccomp_rule *rule = find_rule(profile, newer[i].name, caps);
        uint32_t action;
        if (!rule || seccomp_syscall_resolve_name(newer[i].name) != __NR_SCMP_ERROR)
            continue;
        int r = rule_action(rule, &action, err);
        if (r < 0)
            return r;
        if (action != default_value) {
            put(p, EQUAL, newer[i].number, 0, 1);
            put(p, RETURN, action, 0, 0);
        }
    }
    return 0;
}

static int put_prefix(struct prefix *p, const struct oci_seccomp *profile, uint64_t caps,
                      uint32_t default_value, struct error *err)
{
    bool compat = has_architecture(profile, COMPAT_NAME), denies = denies_by_default(profile);
    /* Not one of the two architectures: libseccomp's part says what happens. */
    put(p, LOAD, offsetof(struct seccomp_data, arch), 0, 0);
    put(p, EQUAL, NATIVE_AUDIT, 1, 0);
    size_t other = p->n;
    put(p, EQUAL, compat ? COMPAT_AUDIT : NATIVE_AUDIT, 0, 0);
    put(p, LOAD, offsetof(struct seccomp_data, nr), 0, 0);
    if (denies && compat && COMPAT_AUDIT == AUDIT_ARCH_I386 &&
        !allows_by_name(profile, "socket", caps))
        put_socketcall(p);
    size_t x32 = p->n;
    put(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 0);
    int r = put_newer(p, profile, caps, default_value, err);
    if (denies) {
        put(p, BPF_JMP | BPF_JGT | BPF_K, MIN(last_known(), last_named(profile)), 0, 1);
        put(p, RETURN, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
    }
    p->insns[other].jf = (uint8_t)(p->n - other - 1);
    p->insns[x32].jt = (uint8_t)(p->n - x32 - 1);
    return r;
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

/* Of the architectures listed, only this machine's can ever occur. */
static int set_up(scmp_filter_ctx ctx, const struct oci_seccomp *p, struct error *err)
{
    size_t names = 0;
    int r = 0;
    if (!p->architectures)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    if (r == 0 && has_architecture(p, COMPAT_NAME))
        r = seccomp_arch_add(ctx, COMPAT_ARCH);
#if defined(__x86_64__)
    if (r == 0 && p->architectures && strv_has(p->architectures, "SCMP_ARCH_X32"))
        r = seccomp_arch_add(ctx, SCMP_ARCH_X32);
#endif
    if (r < 0)
        return error_errno(err, r, "seccomp: set up the filter");
    for (size_t i = 0; i < p->n_rules; i++)
        names += strv_len(p->rules[i].names);
    /* A tree instead of a list: fewer instructions for each call. Old libraries have none. */
    if (names > LARGE_PROFILE)
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
        (r = add_rules(ctx, profile, caps, value, err)) == 0 &&
        (r = put_prefix(&prefix, profile, caps, value, err)) == 0) {
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
