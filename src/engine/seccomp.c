/*
 * The seccomp filter of an instance: compiled once for a profile and a set of capabilities, kept in
 * ROOT/cache/seccomp (runtime/container/filter.h), and written into the bundle of every instance
 * that uses it, where exec finds it after the cache has forgotten it.
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "engine/engine-internal.h"
#include "engine/spec-security.h"
#include "runtime/container/filter.h"

static const char *wanted_profile(const struct create_options *o)
{
    /* The wall of a machine is its kernel: a filter in front of that is for who asks. */
    bool open = o->privileged || o->kind == RUNTIME_VM;
    const char *profile = open ? "unconfined" : "";
    for (size_t i = 0; o->security_opt && o->security_opt[i]; i++)
        if (strncmp(o->security_opt[i], "seccomp=", 8) == 0)
            profile = o->security_opt[i] + 8;
    return profile;
}

static int compiled(struct engine *e, const char *profile, uint64_t caps,
                    struct seccomp_filter *ret, struct error *err)
{
    _cleanup_free_ char *parent = path_join(e->store->root, "cache");
    _cleanup_free_ char *dir = path_join(parent, "seccomp");
    int r = path_make_dirs(parent, 0700);
    if (r < 0)
        return error_errno(err, r, "create %s", parent);
    return container_filter_of_file(*profile ? profile : NULL, caps, dir, ret, err);
}

int seccomp_filter_write(struct engine *e, const struct create_options *o, const char *bundle,
                         char **ret, struct error *err)
{
    const char *profile = wanted_profile(o);
    _cleanup_(seccomp_filter_done) struct seccomp_filter filter = {0};
    uint64_t caps;
    int r;
    *ret = NULL;
    if (strcmp(profile, "unconfined") == 0)
        return 0;
    if ((r = spec_capability_mask(o, &caps, err)) < 0 ||
        (r = compiled(e, profile, caps, &filter, err)) < 0)
        return r;
    _cleanup_free_ char *path = path_join(bundle, "seccomp");
    r = file_write_atomic(AT_FDCWD, path, (const char *)filter.instructions,
                          filter.n * sizeof(*filter.instructions), 0600);
    if (r < 0)
        return error_errno(err, r, "write %s", path);
    *ret = TAKE_PTR(path);
    return 0;
}
