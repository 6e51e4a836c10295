/*
 * Compiling a profile takes libseccomp longer than everything else that starts a container, so the
 * result is kept (filter-cache.h). Its key is the compiler's identity, how it is called, and the
 * profile as it is given to it: linux.seccomp is written out again in one fixed form of JSON, a
 * file is taken as it is. The compiler is proa-seccomp, so that libseccomp is in no program that
 * starts containers.
 */
#include "runtime/container/filter.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "runtime/container/filter-cache.h"

static const char *const actions[] = {
    [OCI_SECCOMP_KILL_THREAD] = "SCMP_ACT_KILL_THREAD",
    [OCI_SECCOMP_KILL_PROCESS] = "SCMP_ACT_KILL_PROCESS",
    [OCI_SECCOMP_TRAP] = "SCMP_ACT_TRAP",
    [OCI_SECCOMP_ERRNO] = "SCMP_ACT_ERRNO",
    [OCI_SECCOMP_TRACE] = "SCMP_ACT_TRACE",
    [OCI_SECCOMP_ALLOW] = "SCMP_ACT_ALLOW",
    [OCI_SECCOMP_LOG] = "SCMP_ACT_LOG",
    [OCI_SECCOMP_NOTIFY] = "SCMP_ACT_NOTIFY",
};

static const char *const operators[] = {
    [OCI_SECCOMP_NE] = "SCMP_CMP_NE",
    [OCI_SECCOMP_LT] = "SCMP_CMP_LT",
    [OCI_SECCOMP_LE] = "SCMP_CMP_LE",
    [OCI_SECCOMP_EQ] = "SCMP_CMP_EQ",
    [OCI_SECCOMP_GE] = "SCMP_CMP_GE",
    [OCI_SECCOMP_GT] = "SCMP_CMP_GT",
    [OCI_SECCOMP_MASKED_EQ] = "SCMP_CMP_MASKED_EQ",
};

/* Names of calls and architectures are words; anything else names nothing. Not strspn(3), which
 * would take as long as the rest. */
static bool is_word(const char *name)
{
    for (; *name; name++)
        if (!(*name >= 'a' && *name <= 'z') && !(*name >= 'A' && *name <= 'Z') &&
            !(*name >= '0' && *name <= '9') && *name != '_')
            return false;
    return true;
}

static int put_strings(struct buf *out, const char *key, char *const *names)
{
    int r = buf_addf(out, "\"%s\":[", key);
    for (size_t i = 0; r == 0 && names && names[i]; i++) {
        r = buf_add_str(out, i ? ",\"" : "\"");
        if (r == 0 && is_word(names[i]))
            r = buf_add_str(out, names[i]);
        if (r == 0)
            r = buf_add(out, "\"", 1);
    }
    return r == 0 ? buf_add(out, "]", 1) : r;
}

static int put_rule(struct buf *out, const struct oci_seccomp_rule *rule)
{
    int r = put_strings(out, "names", rule->names);
    if (r == 0)
        r = buf_addf(out, ",\"action\":\"%s\"", actions[rule->action]);
    if (r == 0 && rule->has_errno)
        r = buf_addf(out, ",\"errnoRet\":%u", rule->errno_ret);
    if (r == 0)
        r = buf_addf(out, ",\"args\":[");
    for (size_t i = 0; i < rule->n_args && r == 0; i++) {
        const struct oci_seccomp_arg *a = &rule->args[i];
        r = buf_addf(out, "%s{\"index\":%u,\"op\":\"%s\",\"value\":%lld,\"valueTwo\":%lld}",
                     i ? "," : "", a->index, operators[a->op], (long long)a->value,
                     (long long)a->value_two);
    }
    return r == 0 ? buf_add(out, "]", 1) : r;
}

/* linux.seccomp again, without what does not change the instructions. */
static int put_profile(struct buf *out, const struct oci_seccomp *p)
{
    int r = buf_addf(out, "{\"defaultAction\":\"%s\",", actions[p->default_action]);
    if (r == 0 && p->has_default_errno)
        r = buf_addf(out, "\"defaultErrnoRet\":%u,", p->default_errno);
    if (r == 0)
        r = put_strings(out, "architectures", p->architectures);
    if (r == 0 && p->listener_path)
        r = buf_addf(out, ",\"listenerPath\":\"/\"");
    if (r == 0)
        r = buf_addf(out, ",\"syscalls\":[");
    for (size_t i = 0; i < p->n_rules && r == 0; i++) {
        r = buf_addf(out, i ? ",{" : "{");
        if (r == 0)
            r = put_rule(out, &p->rules[i]);
        if (r == 0)
            r = buf_add(out, "}", 1);
    }
    return r == 0 ? buf_add(out, "]}", 2) : r;
}

/* What is compiled: how the compiler is called, and a key that ends with what it reads. */
struct recipe {
    char *compiler; /* owned */
    char *const *argv;
    struct buf key;
    size_t input; /* where in the key */
    const char *what;
};

static void recipe_done(struct recipe *r)
{
    free(r->compiler);
    buf_done(&r->key);
}

/* A key begins with who compiles and how. */
static int begin_key(struct recipe *recipe, const char *how, struct error *err)
{
    struct stat st;
    int r = program_find("proa-seccomp", &recipe->compiler, err);
    if (r < 0)
        return r;
    if (stat(recipe->compiler, &st) < 0)
        return error_errno(err, errno, "%s", recipe->compiler);
    r = buf_addf(&recipe->key, "%lld.%ld %lld %llu%s\n", (long long)st.st_mtim.tv_sec,
                 st.st_mtim.tv_nsec, (long long)st.st_size, (unsigned long long)st.st_ino, how);
    recipe->input = recipe->key.len;
    return r < 0 ? error_errno(err, r, "%s", recipe->what) : 0;
}

static int compile(const struct recipe *recipe, struct buf *out, struct error *err)
{
    const char *input = recipe->key.data + recipe->input;
    _cleanup_close_ int in = memfd_create("profile", MFD_CLOEXEC);
    int r = in < 0 ? -errno : fd_write_all(in, input, recipe->key.len - recipe->input);
    if (r == 0 && lseek(in, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "hand the seccomp profile over");
    r = process_run(recipe->compiler, recipe->argv, in, out, err);
    return r < 0 ? error_prefix(err, "%s", recipe->what) : 0;
}

static int obtain(const struct recipe *recipe, const char *cache_dir, struct seccomp_filter *ret,
                  struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(FILTER_MAX_PROGRAM);
    _cleanup_close_ int dir = filter_cache_open(cache_dir);
    if (dir >= 0 && filter_cache_read(dir, &recipe->key, ret) == 0)
        return 0;
    int r = compile(recipe, &out, err);
    if (r < 0)
        return r;
    if (filter_from_program(out.data, out.len, ret) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "proa-seccomp gave no program");
    if (dir >= 0)
        filter_cache_write(dir, &recipe->key, &out);
    return 0;
}

/* What is not in the instructions. */
static int describe(const struct oci_seccomp *p, struct seccomp_filter *ret, struct error *err)
{
    ret->flags = 0;
    ret->notifies = false;
    for (size_t i = 0; p->flags && p->flags[i]; i++) {
        unsigned long flag;
        if (seccomp_flag(p->flags[i], &flag) < 0)
            return error_invalid(err, "linux.seccomp: unknown flag \"%s\"", p->flags[i]);
        ret->flags |= flag;
    }
    for (size_t i = 0; i < p->n_rules; i++)
        ret->notifies |= p->rules[i].action == OCI_SECCOMP_NOTIFY;
    return 0;
}

int container_filter(const struct oci_seccomp *profile, const char *cache_dir,
                     struct seccomp_filter *ret, struct error *err)
{
    char *const argv[] = {(char *)"proa-seccomp", (char *)"--oci", NULL};
    _cleanup_(recipe_done) struct recipe recipe = {
        .argv = argv, .key = BUF_INIT(FILTER_MAX_KEY), .what = "linux.seccomp"};
    int r = describe(profile, ret, err);
    if (r < 0 || (r = begin_key(&recipe, "", err)) < 0)
        return r;
    r = put_profile(&recipe.key, profile);
    if (r < 0)
        return error_errno(err, r, "linux.seccomp");
    return obtain(&recipe, cache_dir, ret, err);
}

static int add_file(struct buf *out, const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? -errno : fd_read_to_end(fd, out);
}

int container_filter_of_file(const char *path, uint64_t caps, const char *cache_dir,
                             struct seccomp_filter *ret, struct error *err)
{
    char mask[24];
    char *const argv[] = {(char *)"proa-seccomp", (char *)"--caps", mask,
                          path ? (char *)"--docker" : NULL, NULL};
    snprintf(mask, sizeof(mask), "0x%llx", (unsigned long long)caps);
    _cleanup_free_ char *how = xasprintf(" %s for %s", path ? "file" : "default", mask);
    _cleanup_free_ char *what = xasprintf("seccomp profile%s%s", path ? " " : "", path ? path : "");
    _cleanup_(recipe_done) struct recipe recipe = {
        .argv = argv, .key = BUF_INIT(FILTER_MAX_KEY), .what = what};
    int r = begin_key(&recipe, how, err);
    if (r < 0)
        return r;
    if (path && (r = add_file(&recipe.key, path)) < 0)
        return error_errno(err, r, "%s", what);
    ret->flags = 0;
    ret->notifies = false;
    return obtain(&recipe, cache_dir, ret, err);
}
