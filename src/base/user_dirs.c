#include "base/user_dirs.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"

#define MODE_BITS ((mode_t)07777)

static const char *absolute_from(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

int user_data_dir(char **ret, struct error *err)
{
    const char *data = absolute_from("XDG_DATA_HOME"), *home = absolute_from("HOME");
    if (!data && !home)
        return error_invalid(err, "HOME is not set: say where the state is kept with --root DIR");
    *ret = data ? xstrdup(data) : path_join(home, ".local/share");
    return 0;
}

char **user_dirs_environment(void)
{
    static const char *const names[] = {"HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"};
    char **env = strv_copy(NULL);
    strv_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (size_t i = 0; !process_is_host_root() && i < ARRAY_SIZE(names); i++)
        if (absolute_from(names[i]))
            strv_addf(&env, "%s=%s", names[i], absolute_from(names[i]));
    return env;
}

static bool is_own_directory(const char *path, struct stat *st)
{
    return lstat(path, st) == 0 && S_ISDIR(st->st_mode) && st->st_uid == geteuid();
}

int user_runtime_dir(char **ret, struct error *err)
{
    const char *given = absolute_from("XDG_RUNTIME_DIR");
    struct stat st;
    uid_t uid = geteuid();
    uint32_t users;
    if (given && is_own_directory(given, &st)) {
        *ret = xstrdup(given);
        return 0;
    }
    int r = uid == 0 ? process_outside_user(&uid, &users) : 0;
    if (r < 0)
        return error_errno(err, r, "read /proc/self/uid_map");
    _cleanup_free_ char *path = xasprintf("/tmp/proa-run-%u", (unsigned int)uid);
    /* Anybody may make things in /tmp: what is there is looked at, not trusted. */
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", path);
    if (!is_own_directory(path, &st) || (st.st_mode & MODE_BITS) != 0700)
        return error_set(
            err, ERROR_DENIED, EPERM,
            "%s is not a directory of this user's alone (mode 0700): remove it, or set "
            "XDG_RUNTIME_DIR",
            path);
    *ret = TAKE_PTR(path);
    return 0;
}
