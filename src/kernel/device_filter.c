/*
 * The device program, written as raw BPF instructions.
 *
 * r3 holds the accesses asked for that no rule has decided yet. Rules are tried from the last to
 * the first: one that denies any of them ends with 0, one that allows takes its kinds away and ends
 * with 1 when none is left. So the last rule that names a kind of access decides it, which is what
 * writing the rules one after the other to a v1 group means, too.
 */
#include "kernel/device_filter.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"

#define MAX_RULES      400
#define INSNS_PER_RULE 8
#define INSN(c, d, s, o, i)                                                                        \
    ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (short)(o), .imm = (i)})

struct program {
    struct bpf_insn *insns;
    size_t n;
};

static void put(struct program *p, struct bpf_insn insn)
{
    p->insns[p->n++] = insn;
}

/* r2 type, r3 accesses, r4 major, r5 minor */
static void put_start(struct program *p)
{
    const struct bpf_insn start[] = {
        INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),
        INSN(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0),
        INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff),
        INSN(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16),
        INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0),
        INSN(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0),
    };
    for (size_t i = 0; i < ARRAY_SIZE(start); i++)
        put(p, start[i]);
}

static int rule_mask(const struct device_rule *rule)
{
    return (rule->read ? BPF_DEVCG_ACC_READ : 0) | (rule->write ? BPF_DEVCG_ACC_WRITE : 0) |
           (rule->mknod ? BPF_DEVCG_ACC_MKNOD : 0);
}

#define ALL_KINDS (BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD)

static void put_return(struct program *p, int value)
{
    put(p, INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value));
    put(p, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

/* Jumps whose distance is not known yet have offset 0 and are set to the rule's end. */
static void put_rule(struct program *p, const struct device_rule *rule)
{
    size_t start = p->n;
    if (rule->type != 'a')
        put(p, INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
                    rule->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK));
    if (rule->major >= 0)
        put(p, INSN(BPF_JMP32 | BPF_JNE | BPF_K, 4, 0, 0, (int)rule->major));
    if (rule->minor >= 0)
        put(p, INSN(BPF_JMP32 | BPF_JNE | BPF_K, 5, 0, 0, (int)rule->minor));
    size_t conditions_end = p->n;
    if (rule->allow && rule_mask(rule) == ALL_KINDS) {
        put_return(p, 1); /* the usual rule: nothing to keep count of */
    } else if (rule->allow) {
        put(p, INSN(BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, ~rule_mask(rule)));
        put(p, INSN(BPF_JMP | BPF_JNE | BPF_K, 3, 0, 2, 0));
        put_return(p, 1);
    } else {
        put(p, INSN(BPF_JMP | BPF_JSET | BPF_K, 3, 0, 1, rule_mask(rule)));
        put(p, INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0));
        put_return(p, 0);
    }
    for (size_t i = start; i < conditions_end; i++)
        p->insns[i].off = (short)(p->n - i - 1);
}

static bool covers(const struct device_rule *later, const struct device_rule *rule)
{
    return (later->type == 'a' || later->type == rule->type) &&
           (later->major < 0 || later->major == rule->major) &&
           (later->minor < 0 || later->minor == rule->minor) &&
           (rule_mask(rule) & ~rule_mask(later)) == 0;
}

/* A rule that a later one decides entirely has no say. Loading takes the kernel 50 microseconds
 * for each rule, and configurations repeat the default ones. */
static bool is_covered(const struct device_rule *rules, size_t n, size_t at)
{
    for (size_t i = at + 1; i < n; i++)
        if (covers(&rules[i], &rules[at]))
            return true;
    return false;
}

static int load(const struct program *p)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uint64_t)(uintptr_t)p->insns;
    attr.insn_cnt = (uint32_t)p->n;
    attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
    memcpy(attr.prog_name, "proa_devices", sizeof("proa_devices"));
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    return fd < 0 ? -errno : (int)fd;
}

int device_filter_attach(int cgroup_fd, const struct device_rule *rules, size_t n)
{
    union bpf_attr attr;
    if (n > MAX_RULES)
        return -E2BIG;
    _cleanup_free_ struct bpf_insn *insns = xcalloc(n * INSNS_PER_RULE + 8, sizeof(*insns));
    struct program p = {insns, 0};
    put_start(&p);
    for (size_t i = n; i-- > 0;)
        if (!is_covered(rules, n, i))
            put_rule(&p, &rules[i]);
    put_return(&p, 0);
    _cleanup_close_ int fd = load(&p);
    if (fd < 0)
        return fd;
    memset(&attr, 0, sizeof(attr));
    attr.target_fd = (uint32_t)cgroup_fd;
    attr.attach_bpf_fd = (uint32_t)fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

static int add_number(struct buf *line, int64_t number, char after)
{
    return number < 0 ? buf_addf(line, "*%c", after)
                      : buf_addf(line, "%lld%c", (long long)number, after);
}

static int write_rule_v1(int cgroup_fd, const struct device_rule *rule)
{
    _cleanup_buf_ struct buf line = BUF_INIT(64);
    bool all = rule->type == 'a';
    int r = buf_addf(&line, "%c%s", rule->type, all ? "" : " ");
    if (r == 0 && !all)
        r = add_number(&line, rule->major, ':');
    if (r == 0 && !all)
        r = add_number(&line, rule->minor, ' ');
    if (r == 0 && !all)
        r = buf_addf(&line, "%s%s%s", rule->read ? "r" : "", rule->write ? "w" : "",
                     rule->mknod ? "m" : "");
    if (r < 0)
        return r;
    return file_write_kernel(cgroup_fd, rule->allow ? "devices.allow" : "devices.deny", line.data);
}

int device_filter_write_v1(int cgroup_fd, const struct device_rule *rules, size_t n)
{
    int r = file_write_kernel(cgroup_fd, "devices.deny", "a");
    for (size_t i = 0; i < n && r == 0; i++)
        r = write_rule_v1(cgroup_fd, &rules[i]);
    return r;
}

bool device_filter_is_open(const struct device_rule *rules, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        const struct device_rule *rule = &rules[i];
        if (!rule->allow)
            return false;
        if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 && rule->read && rule->write &&
            rule->mknod)
            return true;
    }
    return false;
}
