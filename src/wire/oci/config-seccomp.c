/* linux.seccomp, and the superset of it that Docker's profile files are written in. */
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

/* The kernel takes 4095 and cuts what is above down to it, but libseccomp refuses it
 * (db_action_valid, "< MAX_ERRNO"), so a filter with it cannot be compiled; no error has the
 * number. What a tracer is told are 16 bits. */
#define MAX_ERRNO 4094
#define MAX_TRACE UINT16_MAX

static const struct oci_word actions[] = {
    {"SCMP_ACT_KILL", OCI_SECCOMP_KILL_THREAD},
    {"SCMP_ACT_KILL_THREAD", OCI_SECCOMP_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", OCI_SECCOMP_KILL_PROCESS},
    {"SCMP_ACT_TRAP", OCI_SECCOMP_TRAP},
    {"SCMP_ACT_ERRNO", OCI_SECCOMP_ERRNO},
    {"SCMP_ACT_TRACE", OCI_SECCOMP_TRACE},
    {"SCMP_ACT_ALLOW", OCI_SECCOMP_ALLOW},
    {"SCMP_ACT_LOG", OCI_SECCOMP_LOG},
    {"SCMP_ACT_NOTIFY", OCI_SECCOMP_NOTIFY},
};

static const struct oci_word operators[] = {
    {"SCMP_CMP_NE", OCI_SECCOMP_NE},
    {"SCMP_CMP_LT", OCI_SECCOMP_LT},
    {"SCMP_CMP_LE", OCI_SECCOMP_LE},
    {"SCMP_CMP_EQ", OCI_SECCOMP_EQ},
    {"SCMP_CMP_GE", OCI_SECCOMP_GE},
    {"SCMP_CMP_GT", OCI_SECCOMP_GT},
    {"SCMP_CMP_MASKED_EQ", OCI_SECCOMP_MASKED_EQ},
};

/* The filter's compiler knows which of them this machine can run. */
static const struct oci_word architectures[] = {
    {"SCMP_ARCH_AARCH64", 0},     {"SCMP_ARCH_ARM", 0},    {"SCMP_ARCH_LOONGARCH64", 0},
    {"SCMP_ARCH_M68K", 0},        {"SCMP_ARCH_MIPS", 0},   {"SCMP_ARCH_MIPS64", 0},
    {"SCMP_ARCH_MIPS64N32", 0},   {"SCMP_ARCH_MIPSEL", 0}, {"SCMP_ARCH_MIPSEL64", 0},
    {"SCMP_ARCH_MIPSEL64N32", 0}, {"SCMP_ARCH_PARISC", 0}, {"SCMP_ARCH_PARISC64", 0},
    {"SCMP_ARCH_PPC", 0},         {"SCMP_ARCH_PPC64", 0},  {"SCMP_ARCH_PPC64LE", 0},
    {"SCMP_ARCH_RISCV64", 0},     {"SCMP_ARCH_S390", 0},   {"SCMP_ARCH_S390X", 0},
    {"SCMP_ARCH_SH", 0},          {"SCMP_ARCH_SHEB", 0},   {"SCMP_ARCH_X32", 0},
    {"SCMP_ARCH_X86", 0},         {"SCMP_ARCH_X86_64", 0},
};

static const struct oci_word flags[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", 0},
    {"SECCOMP_FILTER_FLAG_LOG", 0},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 0},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0},
};

const struct oci_words oci_seccomp_actions = OCI_WORDS(actions);
const struct oci_words oci_seccomp_operators = OCI_WORDS(operators);
const struct oci_words oci_seccomp_architectures = OCI_WORDS(architectures);
const struct oci_words oci_seccomp_flags = OCI_WORDS(flags);

/* A word that must be there. */
static int read_word(const json_t *o, const char *where, const char *key,
                     const struct oci_words *words, int64_t *ret, struct error *err)
{
    const char *name = NULL;
    char full[128];
    int r;
    if ((r = json_get_string(o, where, key, &name, err)) < 0 ||
        (r = oci_require(name, where, key, err)) < 0)
        return r;
    snprintf(full, sizeof(full), "%s.%s", where, key);
    return oci_word(words->items, words->n, name, full, ret, err);
}

static int read_action(const json_t *o, const char *where, const char *key,
                       enum oci_seccomp_action *ret, struct error *err)
{
    int64_t value;
    int r = read_word(o, where, key, &oci_seccomp_actions, &value, err);
    if (r == 0)
        *ret = (enum oci_seccomp_action)value;
    return r;
}

/* An error number beside an action that returns none is a mistake that runtimes must refuse. */
static int read_errno(const json_t *o, const char *where, const char *key,
                      enum oci_seccomp_action action, bool *has, uint32_t *ret, struct error *err)
{
    int64_t value = OCI_UNSET;
    int64_t most = action == OCI_SECCOMP_TRACE ? MAX_TRACE : MAX_ERRNO;
    int r = oci_number(o, where, key, 0, most, &value, err);
    *has = r == 0 && value != OCI_UNSET;
    *ret = *has ? (uint32_t)value : 0;
    if (*has && action != OCI_SECCOMP_ERRNO && action != OCI_SECCOMP_TRACE)
        return error_invalid(err, "%s: \"%s\" is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE", where,
                             key);
    return r;
}

static int read_arg(const json_t *o, const char *where, void *item, struct error *err)
{
    static const char *const keys[] = {"index", "value", NULL};
    struct oci_seccomp_arg *arg = item;
    int64_t op, index = 0, value = 0, value_two = 0;
    int r;
    /* -1 is what the largest value has become (config.c). */
    if ((r = oci_number(o, where, "index", 0, 5, &index, err)) < 0 ||
        (r = oci_number(o, where, "value", -1, INT64_MAX, &value, err)) < 0 ||
        (r = oci_number(o, where, "valueTwo", -1, INT64_MAX, &value_two, err)) < 0 ||
        (r = oci_require_members(o, where, keys, err)) < 0 ||
        (r = read_word(o, where, "op", &oci_seccomp_operators, &op, err)) < 0)
        return r;
    *arg = (struct oci_seccomp_arg){
        .index = (uint32_t)index,
        .op = (enum oci_seccomp_op)op,
        .value = (uint64_t)value,
        .value_two = (uint64_t)value_two,
    };
    return 0;
}

/* "includes" and "excludes" of Docker's profiles. A kernel version condition (minKernel) always
 * holds here: the oldest kernel that Proa runs on is newer than any that occurs. */
static int read_conditions(const json_t *o, const char *where, const char *key, uint64_t *caps,
                           char ***arches, struct error *err)
{
    _cleanup_strv_ char **names = NULL;
    json_t *group;
    int r = json_get_object(o, where, key, &group, err);
    if (r < 0 || !group)
        return r;
    if ((r = oci_field_strv(group, where, "arches", arches, err)) < 0 ||
        (r = oci_field_strv(group, where, "caps", &names, err)) < 0)
        return r;
    for (size_t i = 0; names && names[i]; i++) {
        unsigned int cap;
        if (oci_capability_from_name(names[i], &cap) < 0)
            return error_invalid(err, "%s: unknown capability \"%s\"", where, names[i]);
        *caps |= UINT64_C(1) << cap;
    }
    return 0;
}

static int read_rule(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("names", STRV, struct oci_seccomp_rule, names),
    };
    struct oci_seccomp_rule *rule = item;
    int r;
    if ((r = OCI_FIELDS(o, where, fields, rule, err)) < 0 ||
        (r = read_action(o, where, "action", &rule->action, err)) < 0 ||
        (r = read_errno(o, where, "errnoRet", rule->action, &rule->has_errno, &rule->errno_ret,
                        err)) < 0 ||
        (r = oci_items(o, where, "args", sizeof(*rule->args), read_arg, (void **)&rule->args,
                       &rule->n_args, err)) < 0 ||
        (r = read_conditions(o, where, "includes", &rule->caps_needed, &rule->arches_needed, err)) <
            0 ||
        (r = read_conditions(o, where, "excludes", &rule->caps_excluded, &rule->arches_excluded,
                             err)) < 0)
        return r;
    if (!rule->names || !rule->names[0])
        return error_invalid(err, "%s: \"names\" is empty", where);
    if (rule->n_args > 6)
        return error_invalid(err, "%s: more than 6 args", where);
    return 0;
}

/* Nobody could answer for a call that whoever sends the listener away needs before it has arrived:
 * write(), as in runc, and so all calls by default. */
static int check_notify(const char *where, const struct oci_seccomp *s, struct error *err)
{
    bool notifies = false;
    for (size_t i = 0; i < s->n_rules; i++)
        if (s->rules[i].action == OCI_SECCOMP_NOTIFY) {
            notifies = true;
            if (strv_has(s->rules[i].names, "write"))
                return error_invalid(err, "%s.syscalls[%zu]: SCMP_ACT_NOTIFY cannot be for write",
                                     where, i);
        }
    if (s->default_action == OCI_SECCOMP_NOTIFY)
        return error_invalid(err, "%s: \"defaultAction\" cannot be SCMP_ACT_NOTIFY", where);
    bool listens = s->listener_path && *s->listener_path;
    if (notifies && !listens)
        return error_invalid(err, "%s: SCMP_ACT_NOTIFY needs \"listenerPath\"", where);
    if (s->listener_metadata && *s->listener_metadata && !listens)
        return error_invalid(err, "%s: \"listenerMetadata\" needs \"listenerPath\"", where);
    return 0;
}

static int check_words(const char *where, const char *key, char *const *names,
                       const struct oci_words *words, struct error *err)
{
    char full[96];
    int64_t ignored;
    int r = 0;
    snprintf(full, sizeof(full), "%s.%s", where, key);
    for (size_t i = 0; names && names[i] && r == 0; i++)
        r = oci_word(words->items, words->n, names[i], full, &ignored, err);
    return r;
}

static int read_seccomp(const json_t *o, const char *where, struct oci_seccomp *s,
                        struct error *err)
{
    static const struct field fields[] = {
        FIELD("architectures", STRV, struct oci_seccomp, architectures),
        FIELD("flags", STRV, struct oci_seccomp, flags),
        FIELD("listenerPath", STRING, struct oci_seccomp, listener_path),
        FIELD("listenerMetadata", STRING, struct oci_seccomp, listener_metadata),
    };
    int r;
    if ((r = OCI_FIELDS(o, where, fields, s, err)) < 0 ||
        (r = check_words(where, "architectures", s->architectures, &oci_seccomp_architectures,
                         err)) < 0 ||
        (r = check_words(where, "flags", s->flags, &oci_seccomp_flags, err)) < 0 ||
        (r = read_action(o, where, "defaultAction", &s->default_action, err)) < 0 ||
        (r = read_errno(o, where, "defaultErrnoRet", s->default_action, &s->has_default_errno,
                        &s->default_errno, err)) < 0)
        return r;
    r = oci_items(o, where, "syscalls", sizeof(*s->rules), read_rule, (void **)&s->rules,
                  &s->n_rules, err);
    return r < 0 ? r : check_notify(where, s, err);
}

int oci_seccomp_from_json(const json_t *o, const char *where, struct oci_seccomp **ret,
                          struct error *err)
{
    struct oci_seccomp *s = xnew(struct oci_seccomp);
    int r = read_seccomp(o, where, s, err);
    if (r < 0)
        oci_seccomp_free(s);
    else
        *ret = s;
    return r;
}

void oci_seccomp_free(struct oci_seccomp *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_rules; i++) {
        strv_free(s->rules[i].names);
        free(s->rules[i].args);
        strv_free(s->rules[i].arches_needed);
        strv_free(s->rules[i].arches_excluded);
    }
    free(s->rules);
    strv_free(s->architectures);
    strv_free(s->flags);
    free(s->listener_path);
    free(s->listener_metadata);
    free(s);
}
