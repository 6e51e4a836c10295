/*
 * Compiling a profile takes libseccomp longer than everything else that starts a container, so the
 * result is kept in a file named by a fingerprint of its key:
 *
 *   key            the compiler's identity and the profile, written out again in one fixed form
 *   file           the length of the key, the key, the instructions
 *
 * The whole key is compared on a hit: a profile that was made to collide with another one's
 * fingerprint gets a miss, never somebody else's filter. A file or directory that others can write
 * to is not looked at.
 *
 * proa-seccomp does the compiling, so that libseccomp is in no program that starts containers.
 */
#include "runtime/container/filter.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/text.h"

#define MAX_KEY     ((size_t)4 << 20)
#define MAX_FILES   256
#define MAX_PROGRAM ((size_t)BPF_MAXINSNS * sizeof(struct sock_filter))

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

static int put_strings(struct buf *out, const char *key, char *const *names)
{
    int r = buf_addf(out, "\"%s\":[", key);
    for (size_t i = 0; r == 0 && names && names[i]; i++) {
        /* Names of calls, flags and architectures are words; anything else names nothing. */
        bool word = names[i][strspn(names[i], "abcdefghijklmnopqrstuvwxyz"
                                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
        r = buf_addf(out, "%s\"%s\"", i ? "," : "", word ? names[i] : "");
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

/* The key, and where in it the profile begins. */
static int make_key(const struct oci_seccomp *p, const char *compiler, struct buf *key,
                    size_t *ret_profile, struct error *err)
{
    struct stat st;
    if (stat(compiler, &st) < 0)
        return error_errno(err, errno, "%s", compiler);
    int r = buf_addf(key, "%lld.%ld %lld %llu\n", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                     (long long)st.st_size, (unsigned long long)st.st_ino);
    *ret_profile = key->len;
    if (r == 0)
        r = put_profile(key, p);
    return r < 0 ? error_errno(err, r, "linux.seccomp") : 0;
}

static bool is_own(int fd, mode_t type)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
           !(st.st_mode & 022);
}

static int open_cache(const char *dir)
{
    if (!dir)
        return -ENOENT;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && mkdir(dir, 0700) == 0)
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (is_own(fd, S_IFDIR))
        return fd;
    close_fd(fd);
    return -EPERM;
}

static int take_program(const void *data, size_t len, struct seccomp_filter *ret)
{
    if (len == 0 || len > MAX_PROGRAM || len % sizeof(struct sock_filter) != 0)
        return -EBADMSG;
    ret->instructions = xcalloc(1, len);
    memcpy(ret->instructions, data, len);
    ret->n = (unsigned short)(len / sizeof(struct sock_filter));
    return 0;
}

/* -ENOENT for everything that is not this key's filter. */
static int read_cached(int dir, const char *name, const struct buf *key, struct seccomp_filter *ret)
{
    uint64_t len;
    _cleanup_buf_ struct buf file = BUF_INIT(MAX_KEY + MAX_PROGRAM + sizeof(len));
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || !is_own(fd, S_IFREG) || fd_read_to_end(fd, &file) < 0 || file.len < sizeof(len))
        return -ENOENT;
    memcpy(&len, file.data, sizeof(len));
    if (len != key->len || file.len - sizeof(len) < len ||
        memcmp(file.data + sizeof(len), key->data, len) != 0)
        return -ENOENT;
    size_t start = sizeof(len) + (size_t)len;
    return take_program(file.data + start, file.len - start, ret) < 0 ? -ENOENT : 0;
}

/* Profiles come and go; a cache that only grew would fill /run. */
static void make_room(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    size_t n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && ++n >= MAX_FILES)
            unlinkat(dir, e->d_name, 0);
    if (d)
        closedir(d);
    else
        close_fd(copy);
}

static void write_cached(int dir, const char *name, const struct buf *key, const struct buf *out)
{
    uint64_t len = key->len;
    _cleanup_buf_ struct buf file = BUF_INIT(MAX_KEY + MAX_PROGRAM + sizeof(len));
    make_room(dir);
    if (buf_add(&file, &len, sizeof(len)) == 0 && buf_add(&file, key->data, key->len) == 0 &&
        buf_add(&file, out->data, out->len) == 0)
        (void)!file_write_atomic(dir, name, file.data, file.len, 0600);
}

static int compile(const char *compiler, const char *profile, struct buf *out, struct error *err)
{
    char *const argv[] = {(char *)"proa-seccomp", (char *)"--oci", NULL};
    _cleanup_close_ int in = memfd_create("profile", MFD_CLOEXEC);
    int r = in < 0 ? -errno : fd_write_all(in, profile, strlen(profile));
    if (r == 0 && lseek(in, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, r, "hand the seccomp profile over");
    r = process_run(compiler, argv, in, out, err);
    return r < 0 ? error_prefix(err, "linux.seccomp") : 0;
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
    char name[24];
    size_t start = 0;
    _cleanup_free_ char *compiler = NULL;
    _cleanup_buf_ struct buf key = BUF_INIT(MAX_KEY), out = BUF_INIT(MAX_PROGRAM);
    int r = describe(profile, ret, err);
    if (r < 0 || (r = program_find("proa-seccomp", &compiler, err)) < 0 ||
        (r = make_key(profile, compiler, &key, &start, err)) < 0)
        return r;
    snprintf(name, sizeof(name), "%016llx", (unsigned long long)fingerprint(key.data, key.len));
    _cleanup_close_ int dir = open_cache(cache_dir);
    if (dir >= 0 && read_cached(dir, name, &key, ret) == 0)
        return 0;
    if ((r = compile(compiler, key.data + start, &out, err)) < 0)
        return r;
    if (take_program(out.data, out.len, ret) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "proa-seccomp gave no program");
    if (dir >= 0)
        write_cached(dir, name, &key, &out);
    return 0;
}
