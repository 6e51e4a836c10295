/* linux.seccomp, and what Docker's profile files have beyond it. */
#include "oci_parse.h"

#define SECCOMP HEAD "\"linux\":{\"seccomp\":{\"defaultAction\":"

static void test_everything(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c =
        parse(SECCOMP "\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
                      "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_RISCV64\"],"
                      "\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"listenerPath\":\"/l\","
                      "\"listenerMetadata\":\"m\",\"syscalls\":["
                      "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":5,"
                      "\"value\":18446744073709551615,\"valueTwo\":2,"
                      "\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
                      "{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_NOTIFY\"},"
                      "{\"names\":[\"kill\",\"tkill\"],\"action\":\"SCMP_ACT_ERRNO\","
                      "\"errnoRet\":0}]}}}");
    const struct oci_seccomp *s = c->linux_.seccomp;
    assert_int_equal(s->default_action, OCI_SECCOMP_ERRNO);
    assert_true(s->has_default_errno && s->default_errno == 38);
    assert_string_equal(s->architectures[1], "SCMP_ARCH_RISCV64");
    assert_string_equal(s->flags[0], "SECCOMP_FILTER_FLAG_LOG");
    assert_string_equal(s->listener_path, "/l");
    assert_string_equal(s->listener_metadata, "m");
    assert_int_equal(s->n_rules, 3);
    const struct oci_seccomp_arg *arg = s->rules[0].args;
    assert_true(arg->index == 5 && arg->op == OCI_SECCOMP_MASKED_EQ);
    assert_true(arg->value == UINT64_MAX && arg->value_two == 2);
    assert_int_equal(s->rules[1].action, OCI_SECCOMP_NOTIFY);
    assert_false(s->rules[1].has_errno);
    assert_true(s->rules[2].has_errno && s->rules[2].errno_ret == 0);
    assert_string_equal(s->rules[2].names[1], "tkill");
}

static void test_docker(void **state)
{
    (void)state;
    _cleanup_oci_config_ struct oci_config *c =
        parse(SECCOMP "\"SCMP_ACT_KILL_PROCESS\",\"syscalls\":[{\"names\":[\"bpf\"],"
                      "\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_BPF\"],"
                      "\"arches\":[\"amd64\"],\"minKernel\":\"4.8\"},"
                      "\"excludes\":{\"caps\":[\"CAP_CHOWN\"],\"arches\":[\"s390\"]}}]}}}");
    const struct oci_seccomp_rule *rule = c->linux_.seccomp->rules;
    assert_true(rule->caps_needed == UINT64_C(1) << 39 && rule->caps_excluded == 1);
    assert_string_equal(rule->arches_needed[0], "amd64");
    assert_string_equal(rule->arches_excluded[0], "s390");
}

#define RULE SECCOMP "\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"a\"],"

static void test_refused(void **state)
{
    (void)state;
    refused(HEAD "\"linux\":{\"seccomp\":{}}}", "linux.seccomp: \"defaultAction\"");
    refused(SECCOMP "\"SCMP_ACT_NOTIFY\",\"listenerPath\":\"/l\"}}}", "defaultAction");
    refused(SECCOMP "\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":4096}}}", "defaultErrnoRet");
    refused(SECCOMP "\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":4294967295}}}", "defaultErrnoRet");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_Z80\"]}}}",
            "linux.seccomp.architectures: unknown value \"SCMP_ARCH_Z80\"");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"flags\":[\"SECCOMP_FILTER_FLAG_NEW_LISTENER\"]}}}",
            "linux.seccomp.flags");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"listenerMetadata\":\"m\"}}}", "listenerPath");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"listenerPath\":\"\",\"listenerMetadata\":\"m\"}}}",
            "listenerPath");
    refused(RULE "\"action\":\"SCMP_ACT_NOTIFY\"}]}}}", "listenerPath");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/l\",\"syscalls\":["
                    "{\"names\":[\"mkdir\",\"write\"],\"action\":\"SCMP_ACT_NOTIFY\"}]}}}",
            "linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}}}",
            "linux.seccomp: \"defaultErrnoRet\"");
    refused(RULE "\"action\":\"SCMP_ACT_KILL\",\"errnoRet\":1}]}}}", "syscalls[0]: \"errnoRet\"");
    refused(RULE "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":4095}]}}}",
            "syscalls[0]: \"errnoRet\" is above 4094");
    refused(SECCOMP "\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":4095}}}",
            "\"defaultErrnoRet\" is above 4094");
    refused(RULE "\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":65536}]}}}", "above 65535");
    refused(RULE "\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,"
                 "\"op\":\"SCMP_CMP_EQ\"}]}]}}}",
            "args[0]: \"value\" is missing");
    refused(RULE "\"action\":\"SCMP_ACT_X\"}]}}}", "linux.seccomp.syscalls[0].action");
    refused(RULE "\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"op\":\"SCMP_CMP_EQ\"}]}]}}}", "index");
    refused(RULE "\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":6,"
                 "\"op\":\"SCMP_CMP_EQ\"}]}]}}}",
            "index");
    refused(RULE
            "\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"EQ\"}]}]}}}",
            "args[0].op");
    refused(RULE "\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,\"value\":-2,"
                 "\"op\":\"SCMP_CMP_EQ\"}]}]}}}",
            "\"value\"");
    refused(RULE "\"action\":\"SCMP_ACT_TRAP\",\"includes\":{\"caps\":[\"CAP_X\"]}}]}}}", "CAP_X");
    refused(SECCOMP "\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"action\":\"SCMP_ACT_TRAP\"}]}}}", "names");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_docker),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
