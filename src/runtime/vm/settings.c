#include "runtime/vm/settings.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "runtime/bundle.h"

#define SETTINGS_FILE "machines.json"

static int read_settings(const json_t *o, const char *path, struct vm_settings *ret,
                         struct error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        return error_invalid(err, "%s: is no JSON object", path);
    json_object_foreach((json_t *)o, key, value)
    {
        if (strcmp(key, "warm") != 0 && strcmp(key, "spares") != 0 && strcmp(key, "cards") != 0)
            return error_invalid(err, "%s: unknown word \"%.60s\"", path, key);
    }
    int r = json_get_bool(o, path, "warm", &ret->warm, err);
    if (r == 0)
        r = json_get_u32(o, path, "spares", &ret->spares, err);
    if (r == 0 && ret->spares > VM_SPARES_MAX)
        r = error_invalid(err, "%s: \"spares\" is at most %u", path, VM_SPARES_MAX);
    if (r == 0)
        r = json_get_u32(o, path, "cards", &ret->cards, err);
    if (r == 0 && ret->cards > BUNDLE_NETWORKS_MAX)
        r = error_invalid(err, "%s: \"cards\" is at most %u", path, BUNDLE_NETWORKS_MAX);
    return r;
}

int vm_settings_load(const char *run, struct vm_settings *ret, struct error *err)
{
    _cleanup_free_ char *first = path_join(run, SETTINGS_FILE);
    const char *const paths[] = {first, "/etc/proa/" SETTINGS_FILE};
    *ret = (struct vm_settings){.warm = true, .spares = 1, .cards = 1};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        _cleanup_json_ json_t *o = NULL;
        struct error failure = ERROR_INIT;
        int r = json_parse_file(AT_FDCWD, paths[i], &o, &failure);
        if (r == 0)
            return read_settings(o, paths[i], ret, err);
        if (r != -ENOENT)
            return error_set(err, failure.kind, failure.code, "%s", failure.msg);
    }
    return 0;
}
