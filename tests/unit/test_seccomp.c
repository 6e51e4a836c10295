/*
 * What a compiled profile does with a call: the instructions are run here, by an interpreter of the
 * few that a seccomp filter may be made of.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "check.h"
#include "runtime/seccomp/compile.h"

#define X32     0x40000000u
#define X86_64  AUDIT_ARCH_X86_64
#define I386    AUDIT_ARCH_I386
#define ARM64   AUDIT_ARCH_AARCH64
#define ALLOW   SECCOMP_RET_ALLOW
#define FAIL(e) (SECCOMP_RET_ERRNO | (uint32_t)(e))

/* Not the headers', which are this machine's. */
enum x86_64_number {
    READ = 0,
    WRITE = 1,
    OPEN = 2,
    SOCKET = 41,
    CLONE = 56,
    KILL = 62,
    CHDIR = 80,
    MKDIR = 83,
    RMDIR = 84,
    CREAT = 85,
    PTRACE = 101,
};
enum i386_number { READ_32 = 3, MKDIR_32 = 39, SOCKETCALL_32 = 102, SOCKET_32 = 359 };
enum common_number {
    CLOCK_GETTIME64 = 403,
    CLOCK_SETTIME64 = 404,
    IO_URING_SETUP = 425,
    PIDFD_OPEN = 434,
    CLONE3 = 435,
    FACCESSAT2 = 439,
    CACHESTAT = 451,
    STATMOUNT = 457,
    FILE_SETATTR = 469,
};

static uint32_t word_at(const struct seccomp_data *d, uint32_t offset)
{
    uint32_t value;
    assert_true(offset % 4 == 0 && offset <= sizeof(*d) - sizeof(value));
    memcpy(&value, (const char *)d + offset, sizeof(value));
    return value;
}

static bool jumps(uint16_t code, uint32_t a, uint32_t k)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ:
        return a == k;
    case BPF_JGT:
        return a > k;
    case BPF_JGE:
        return a >= k;
    case BPF_JSET:
        return (a & k) != 0;
    default:
        fail_msg("unknown jump %#x", code);
        return false;
    }
}

static uint32_t evaluate(const struct buf *program, const struct seccomp_data *d)
{
    const struct sock_filter *insns = (const struct sock_filter *)(const void *)program->data;
    size_t n = program->len / sizeof(*insns), steps = 0;
    uint32_t a = 0;
    for (size_t i = 0; i < n; i++, steps++) {
        const struct sock_filter *f = &insns[i];
        if (f->code == (BPF_RET | BPF_K))
            return f->k;
        if (f->code == (BPF_LD | BPF_W | BPF_ABS))
            a = word_at(d, f->k);
        else if (f->code == (BPF_ALU | BPF_AND | BPF_K))
            a &= f->k;
        else if (f->code == (BPF_JMP | BPF_JA))
            i += f->k;
        else if (BPF_CLASS(f->code) == BPF_JMP && BPF_SRC(f->code) == BPF_K)
            i += jumps(f->code, a, f->k) ? f->jt : f->jf;
        else
            fail_msg("unknown instruction %#x", f->code);
    }
    fail_msg("the program has no end");
    return 0;
}

static struct oci_seccomp_rule rules[16];
static struct oci_seccomp profile;
static struct buf program = BUF_INIT(SECCOMP_MAX_BYTES);

static void tear_down(void)
{
    buf_done(&program);
    for (size_t i = 0; i < profile.n_rules; i++)
        strv_free(rules[i].names);
    strv_free(profile.architectures);
    profile = (struct oci_seccomp){.rules = rules};
}

/* architectures: separated by commas, without their prefix; NULL: no list. */
static void begin(enum oci_seccomp_action default_action, const char *architectures)
{
    tear_down();
    profile.default_action = default_action;
    if (!architectures)
        return;
    _cleanup_strv_ char **names = strv_split(architectures, ',');
    profile.architectures = strv_copy(NULL);
    for (size_t i = 0; names[i]; i++)
        strv_addf(&profile.architectures, "SCMP_ARCH_%s", names[i]);
}

/* names: separated by commas. */
static struct oci_seccomp_rule *rule(enum oci_seccomp_action action, const char *names)
{
    assert_true(profile.n_rules < ARRAY_SIZE(rules));
    struct oci_seccomp_rule *r = &rules[profile.n_rules++];
    *r = (struct oci_seccomp_rule){.names = strv_split(names, ','), .action = action};
    return r;
}

static void rule_errno(enum oci_seccomp_action action, const char *names, uint32_t value)
{
    struct oci_seccomp_rule *r = rule(action, names);
    r->has_errno = true;
    r->errno_ret = value;
}

static void allow_if(const char *name, struct oci_seccomp_arg *args, size_t n)
{
    struct oci_seccomp_rule *r = rule(OCI_SECCOMP_ALLOW, name);
    r->args = args;
    r->n_args = n;
}

static void use(void)
{
    struct error err = ERROR_INIT;
    if (seccomp_compile(&profile, UINT64_MAX, &program, &err) < 0)
        fail_msg("%s", err.msg);
}

#define CALL(arch_, nr_, ...)                                                                      \
    evaluate(&program,                                                                             \
             &(struct seccomp_data){.nr = (int)(nr_), .arch = (arch_), .args = {__VA_ARGS__}})
#define GIVES(value, ...) assert_int_equal(CALL(__VA_ARGS__), value)

#define ALL_ARCHITECTURES "X86_64,X86,X32,AARCH64"

static void test_actions(void **state)
{
    (void)state;
    begin(OCI_SECCOMP_ALLOW, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_KILL_THREAD, "read");
    rule(OCI_SECCOMP_KILL_PROCESS, "write");
    rule(OCI_SECCOMP_TRAP, "socket");
    rule(OCI_SECCOMP_ERRNO, "clone");
    rule(OCI_SECCOMP_TRACE, "kill");
    rule(OCI_SECCOMP_NOTIFY, "mkdir");
    rule(OCI_SECCOMP_LOG, "ptrace,no_such_call");
    rule_errno(OCI_SECCOMP_ERRNO, "rmdir", 4094);
    rule_errno(OCI_SECCOMP_TRACE, "chdir", 77);
    rule_errno(OCI_SECCOMP_ERRNO, "creat", 0);
    use();
    GIVES(SECCOMP_RET_KILL_THREAD, X86_64, READ);
    GIVES(SECCOMP_RET_KILL_PROCESS, X86_64, WRITE);
    GIVES(SECCOMP_RET_TRAP, X86_64, SOCKET);
    GIVES(FAIL(EPERM), X86_64, CLONE);
    GIVES(SECCOMP_RET_TRACE | EPERM, X86_64, KILL);
    GIVES(SECCOMP_RET_USER_NOTIF, X86_64, MKDIR);
    GIVES(SECCOMP_RET_USER_NOTIF, I386, MKDIR_32);
    GIVES(SECCOMP_RET_LOG, X86_64, PTRACE);
    GIVES(FAIL(4094), X86_64, RMDIR);
    GIVES(SECCOMP_RET_TRACE | 77, X86_64, CHDIR);
    GIVES(FAIL(0), X86_64, CREAT);
    GIVES(ALLOW, X86_64, OPEN);
}

/* By default action: the values of calls that no rule names. */
static void test_default_actions(void **state)
{
    static const struct {
        enum oci_seccomp_action action;
        bool has_errno;
        uint32_t error, value, newer;
    } cases[] = {
        {OCI_SECCOMP_KILL_THREAD, false, 0, SECCOMP_RET_KILL_THREAD, FAIL(ENOSYS)},
        {OCI_SECCOMP_KILL_PROCESS, false, 0, SECCOMP_RET_KILL_PROCESS, FAIL(ENOSYS)},
        {OCI_SECCOMP_TRAP, false, 0, SECCOMP_RET_TRAP, FAIL(ENOSYS)},
        {OCI_SECCOMP_ERRNO, false, 0, FAIL(EPERM), FAIL(ENOSYS)},
        {OCI_SECCOMP_ERRNO, true, 13, FAIL(13), FAIL(ENOSYS)},
        {OCI_SECCOMP_ERRNO, true, 0, FAIL(0), FAIL(ENOSYS)},
        {OCI_SECCOMP_TRACE, false, 0, SECCOMP_RET_TRACE | EPERM, SECCOMP_RET_TRACE | EPERM},
        {OCI_SECCOMP_LOG, false, 0, SECCOMP_RET_LOG, SECCOMP_RET_LOG},
        {OCI_SECCOMP_ALLOW, false, 0, ALLOW, ALLOW},
    };
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        bool with_rules = i % 2 == 1;
        begin(cases[i / 2].action, "X86_64");
        profile.has_default_errno = cases[i / 2].has_errno;
        profile.default_errno = cases[i / 2].error;
        if (with_rules) {
            rule(OCI_SECCOMP_KILL_PROCESS, "mkdir");
            rule(OCI_SECCOMP_ALLOW, "read");
        }
        use();
        GIVES(cases[i / 2].value, X86_64, PTRACE);
        GIVES(cases[i / 2].newer, X86_64, 999);
        GIVES(with_rules ? ALLOW : cases[i / 2].value, X86_64, READ);
        GIVES(with_rules ? SECCOMP_RET_KILL_PROCESS : cases[i / 2].value, X86_64, MKDIR);
    }
}

static void deny_but_mkdir(const char *architectures)
{
    begin(OCI_SECCOMP_ERRNO, architectures);
    rule(OCI_SECCOMP_ALLOW, "mkdir");
    use();
}

/* What a profile lists is filtered by name and the rest is killed; without a list, refused. */
static void test_architectures(void **state)
{
    (void)state;
    deny_but_mkdir(ALL_ARCHITECTURES);
    GIVES(ALLOW, X86_64, MKDIR);
    GIVES(ALLOW, I386, MKDIR_32);
    GIVES(ALLOW, X86_64, X32 | MKDIR);
    GIVES(FAIL(EPERM), X86_64, X32 | PTRACE);
    GIVES(FAIL(EPERM), I386, MKDIR);
    GIVES(SECCOMP_RET_KILL_THREAD, ARM64, MKDIR);

    deny_but_mkdir("X86");
    GIVES(ALLOW, X86_64, MKDIR);
    GIVES(ALLOW, I386, MKDIR_32);
    GIVES(SECCOMP_RET_KILL_THREAD, X86_64, X32 | MKDIR);
    GIVES(SECCOMP_RET_KILL_THREAD, X86_64, X32 | CLONE3);

    deny_but_mkdir("X86_64,X32");
    GIVES(ALLOW, X86_64, X32 | MKDIR);
    GIVES(SECCOMP_RET_KILL_THREAD, I386, MKDIR_32);
    GIVES(SECCOMP_RET_KILL_THREAD, I386, SOCKETCALL_32, 1);
    GIVES(SECCOMP_RET_KILL_THREAD, I386, 999);

    deny_but_mkdir(NULL);
    GIVES(ALLOW, I386, MKDIR_32);
    GIVES(FAIL(EPERM), X86_64, X32 | MKDIR);
    GIVES(FAIL(EPERM), ARM64, MKDIR);
}

/* This machine's own is always there, and is alone when the profile lists no other of it. */
static void test_own_architecture(void **state)
{
    static const char *const lists[] = {"", "X86_64", "S390X"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        begin(OCI_SECCOMP_ALLOW, lists[i]);
        rule(OCI_SECCOMP_ERRNO, "mkdir");
        use();
        GIVES(FAIL(EPERM), X86_64, MKDIR);
        GIVES(ALLOW, X86_64, READ);
        GIVES(SECCOMP_RET_KILL_THREAD, I386, READ_32);
        GIVES(SECCOMP_RET_KILL_THREAD, X86_64, X32 | READ);
        GIVES(SECCOMP_RET_KILL_THREAD, AUDIT_ARCH_S390X, READ);
    }
}

/* All 64 bits are compared. */
static void test_comparisons(void **state)
{
    static struct {
        struct oci_seccomp_arg arg;
        uint64_t holds, fails;
    } cases[] = {
        {{2, OCI_SECCOMP_EQ, 0x100000002, 0}, 0x100000002, 2},
        {{2, OCI_SECCOMP_NE, 0x100000002, 0}, 2, 0x100000002},
        {{2, OCI_SECCOMP_LT, 0x100000002, 0}, 0x100000001, 0x100000002},
        {{2, OCI_SECCOMP_LE, 0x100000002, 0}, 0x100000002, 0x100000003},
        {{2, OCI_SECCOMP_GT, 0x100000002, 0}, 0x200000000, 0x100000002},
        {{2, OCI_SECCOMP_GE, 0x100000002, 0}, 0x100000002, 0xffffffff},
        {{2, OCI_SECCOMP_MASKED_EQ, 0x7e020000, 0}, 0x11, 0x10000000},
        {{2, OCI_SECCOMP_MASKED_EQ, 0x100000003, 0x100000001}, 0x1fffffffd, 0xfffffffd},
        {{2, OCI_SECCOMP_EQ, UINT64_MAX, 0}, UINT64_MAX, UINT32_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
        allow_if("ptrace", &cases[i].arg, 1);
        use();
        GIVES(ALLOW, X86_64, PTRACE, 0, 0, cases[i].holds);
        GIVES(FAIL(EPERM), X86_64, PTRACE, 0, 0, cases[i].fails);
    }
}

static void test_several_comparisons(void **state)
{
    struct oci_seccomp_arg both[] = {{0, OCI_SECCOMP_EQ, 1, 0}, {1, OCI_SECCOMP_EQ, 2, 0}},
                           any[] = {{1, OCI_SECCOMP_EQ, 9, 0},
                                    {0, OCI_SECCOMP_EQ, 5, 0},
                                    {1, OCI_SECCOMP_EQ, 15, 0}},
                           one = {0, OCI_SECCOMP_EQ, 1, 0}, two = {0, OCI_SECCOMP_EQ, 2, 0};
    (void)state;
    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    allow_if("ptrace", both, ARRAY_SIZE(both));
    allow_if("kill", any, ARRAY_SIZE(any));
    allow_if("mkdir", &one, 1);
    allow_if("mkdir", &two, 1);
    use();
    GIVES(ALLOW, X86_64, PTRACE, 1, 2);
    GIVES(FAIL(EPERM), X86_64, PTRACE, 1, 3);
    GIVES(FAIL(EPERM), X86_64, PTRACE, 3, 2);
    /* One argument twice: any of the three. */
    GIVES(ALLOW, X86_64, KILL, 1, 9);
    GIVES(ALLOW, X86_64, KILL, 5, 1);
    GIVES(ALLOW, X86_64, KILL, 1, 15);
    GIVES(FAIL(EPERM), X86_64, KILL, 1, 1);
    GIVES(ALLOW, X86_64, MKDIR, 1);
    GIVES(ALLOW, X86_64, MKDIR, 2);
    GIVES(FAIL(EPERM), X86_64, MKDIR, 3);
}

/* Rules that say again what was said, and names that nobody knows, do nothing. */
static void test_redundant_rules(void **state)
{
    (void)state;
    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ERRNO, "mkdir");
    rule(OCI_SECCOMP_ALLOW, "read,read");
    rule(OCI_SECCOMP_ALLOW, "read,,nothing");
    rule_errno(OCI_SECCOMP_ERRNO, "write", EPERM);
    use();
    GIVES(FAIL(EPERM), X86_64, MKDIR);
    GIVES(ALLOW, X86_64, READ);
    GIVES(FAIL(EPERM), X86_64, WRITE);
}

static void some_sockets(const char *architectures)
{
    static struct oci_seccomp_arg not_alg = {0, OCI_SECCOMP_NE, 38, 0};
    begin(OCI_SECCOMP_ERRNO, architectures);
    rule(OCI_SECCOMP_ALLOW, "socketcall,connect");
    allow_if("socket", &not_alg, 1);
    use();
}

static void test_socketcall(void **state)
{
    (void)state;
    some_sockets(ALL_ARCHITECTURES);
    GIVES(FAIL(EPERM), I386, SOCKETCALL_32, 1);
    GIVES(ALLOW, I386, SOCKETCALL_32, 3);
    GIVES(ALLOW, I386, SOCKET_32, 2);
    GIVES(FAIL(EPERM), I386, SOCKET_32, 38);
    GIVES(ALLOW, X86_64, SOCKET, 2);
    GIVES(FAIL(EPERM), X86_64, SOCKET, 38);

    some_sockets("X86_64");
    GIVES(SECCOMP_RET_KILL_THREAD, I386, SOCKETCALL_32, 1);
    GIVES(ALLOW, X86_64, SOCKET, 2);

    some_sockets(NULL);
    GIVES(FAIL(EPERM), I386, SOCKETCALL_32, 1);

    /* The same number is another call elsewhere. */
    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ALLOW, "getuid");
    use();
    GIVES(ALLOW, X86_64, SOCKETCALL_32, 1);

    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ALLOW, "socketcall,socket");
    use();
    GIVES(ALLOW, I386, SOCKETCALL_32, 1);
}

/* C libraries that try clone3 and faccessat2 first must fall back. */
static void test_old_profile(void **state)
{
    (void)state;
    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ALLOW, "read,clone,pidfd_open");
    use();
    GIVES(ALLOW, X86_64, PIDFD_OPEN);
    GIVES(FAIL(ENOSYS), X86_64, CLONE3);
    GIVES(FAIL(ENOSYS), I386, CLONE3);
    GIVES(FAIL(ENOSYS), X86_64, FACCESSAT2);
    GIVES(FAIL(ENOSYS), X86_64, CACHESTAT);
    GIVES(FAIL(EPERM), X86_64, IO_URING_SETUP);
    GIVES(FAIL(EPERM), I386, CLOCK_SETTIME64);
    GIVES(FAIL(EPERM), X86_64, PTRACE);
    GIVES(FAIL(EPERM), X86_64, X32 | CLONE3);

    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ALLOW, "read,clone,clock_gettime64");
    use();
    GIVES(ALLOW, I386, CLOCK_GETTIME64);
    GIVES(FAIL(ENOSYS), I386, CLOCK_SETTIME64);
    GIVES(FAIL(EPERM), I386, MKDIR_32);
}

static void test_new_profile(void **state)
{
    (void)state;
    begin(OCI_SECCOMP_ERRNO, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ALLOW, "cachestat");
    rule(OCI_SECCOMP_NOTIFY, "statmount");
    rule(OCI_SECCOMP_KILL_PROCESS, "file_setattr");
    use();
    GIVES(ALLOW, X86_64, CACHESTAT);
    GIVES(ALLOW, I386, CACHESTAT);
    GIVES(SECCOMP_RET_USER_NOTIF, X86_64, STATMOUNT);
    GIVES(SECCOMP_RET_KILL_PROCESS, I386, FILE_SETATTR);
    GIVES(FAIL(EPERM), X86_64, CLONE3);
    GIVES(FAIL(ENOSYS), X86_64, FILE_SETATTR + 1);

    /* One that takes calls away, takes new ones away too. */
    begin(OCI_SECCOMP_ALLOW, ALL_ARCHITECTURES);
    rule(OCI_SECCOMP_ERRNO, "cachestat,statmount");
    use();
    GIVES(FAIL(EPERM), X86_64, CACHESTAT);
    GIVES(FAIL(EPERM), I386, STATMOUNT);
    GIVES(ALLOW, X86_64, FILE_SETATTR);
}

static void test_default_profile(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    tear_down();
    assert_int_equal(seccomp_compile(&seccomp_default_profile, 0, &program, &err), 0);
    GIVES(ALLOW, X86_64, READ);
    GIVES(ALLOW, I386, READ_32);
    GIVES(ALLOW, X86_64, SOCKET, 2);
    GIVES(FAIL(EPERM), X86_64, SOCKET, 38);
    GIVES(FAIL(EPERM), X86_64, SOCKET, UINT64_C(38) | UINT64_C(1) << 32);
    GIVES(FAIL(EPERM), I386, SOCKETCALL_32, 1);
    GIVES(FAIL(EPERM), X86_64, CLONE, 0x10000000);
    GIVES(FAIL(ENOSYS), X86_64, CLONE3);
    GIVES(ALLOW, X86_64, CACHESTAT);
    GIVES(FAIL(ENOSYS), X86_64, STATMOUNT);
    GIVES(FAIL(EPERM), X86_64, X32 | READ);
    GIVES(FAIL(EPERM), ARM64, READ);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actions),         cmocka_unit_test(test_default_actions),
        cmocka_unit_test(test_architectures),   cmocka_unit_test(test_own_architecture),
        cmocka_unit_test(test_comparisons),     cmocka_unit_test(test_several_comparisons),
        cmocka_unit_test(test_redundant_rules), cmocka_unit_test(test_socketcall),
        cmocka_unit_test(test_old_profile),     cmocka_unit_test(test_new_profile),
        cmocka_unit_test(test_default_profile),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tear_down();
    return failed;
}
