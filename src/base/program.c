#include "base/program.h"

#include "base/alloc.h"
#include "base/path.h"

int program_find(const char *name, char **ret_path, struct error *err)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        _cleanup_free_ char *beside = path_join(self, name);
        if (access(beside, X_OK) == 0) {
            *ret_path = TAKE_PTR(beside);
            return 0;
        }
    }
    _cleanup_free_ char *installed = path_join(PROA_LIBEXECDIR, name);
    if (access(installed, X_OK) == 0) {
        *ret_path = TAKE_PTR(installed);
        return 0;
    }
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "helper program %s is missing: neither beside proa nor in %s; run `make`",
                     name, PROA_LIBEXECDIR);
}
