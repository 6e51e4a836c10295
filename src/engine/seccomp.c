/*
 * The seccomp filter of an instance: compiled once by proa-seccomp into ROOT/cache/seccomp and used
 * by every later start. The file's name is made of what it was compiled from, so a changed profile
 * or a new version of Proa never meets an old filter.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/engine-internal.h"

static const char *wanted_profile(const struct create_options *o)
{
    const char *profile = o->privileged ? "unconfined" : "";
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++)
        if (strncmp(o->security_opt[i], "seccomp=", 8) == 0)
            profile = o->security_opt[i] + 8;
    return profile;
}

/* Identifies the compiler program and a profile file by size and time of change. */
static int cache_key(const char *compiler, const char *profile, const char *caps, char **ret,
                     struct error *err)
{
    struct stat program, file = {0};
    if (stat(compiler, &program) < 0)
        return error_errno(err, errno, "%s", compiler);
    if (*profile && stat(profile, &file) < 0)
        return error_errno(err, errno, "seccomp profile %s", profile);
    _cleanup_free_ char *text = xasprintf(
        "%lld.%ld %lld %s %lld.%ld %lld %s", (long long)program.st_mtim.tv_sec,
        program.st_mtim.tv_nsec, (long long)program.st_size, profile,
        (long long)file.st_mtim.tv_sec, file.st_mtim.tv_nsec, (long long)file.st_size, caps);
    *ret = xasprintf("%016llx", (unsigned long long)fingerprint(text, strlen(text)));
    return 0;
}

static int compile(const char *compiler, const char *profile, const char *caps, const char *path,
                   struct error *err)
{
    char random[17];
    random_hex(random, 8);
    _cleanup_free_ char *temporary = xasprintf("%s.%s", path, random);
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, "proa-seccomp");
    strv_add(&argv, "--out");
    strv_add(&argv, temporary);
    if (*profile) {
        strv_add(&argv, "--profile");
        strv_add(&argv, profile);
    }
    if (*caps) {
        strv_add(&argv, "--caps");
        strv_add(&argv, caps);
    }
    int r = process_run(compiler, argv, -EBADF, NULL, err);
    if (r == 0 && rename(temporary, path) < 0)
        r = error_errno(err, errno, "write %s", path);
    if (r < 0)
        unlink(temporary);
    return r;
}

int seccomp_filter_path(struct engine *e, const struct create_options *o, char **ret,
                        struct error *err)
{
    const char *profile = wanted_profile(o);
    _cleanup_free_ char *compiler = NULL, *key = NULL;
    *ret = NULL;
    if (strcmp(profile, "unconfined") == 0)
        return 0;
    _cleanup_free_ char *caps = o->cap_add ? strv_join(o->cap_add, ",") : xstrdup("");
    int r = program_find("proa-seccomp", &compiler, err);
    if (r == 0)
        r = cache_key(compiler, profile, caps, &key, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *dir = path_join(e->store->root, "cache/seccomp");
    _cleanup_free_ char *path = xasprintf("%s/%s.bpf", dir, key);
    if (access(path, R_OK) < 0) {
        r = path_make_dirs(dir, 0700);
        r = r < 0 ? error_errno(err, r, "create %s", dir)
                  : compile(compiler, profile, caps, path, err);
    }
    if (r == 0)
        *ret = TAKE_PTR(path);
    return r;
}
