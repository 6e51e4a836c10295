/* "hooks": programs that are run at six moments of a container's life. */
#include "base/alloc.h"
#include "base/strv.h"
#include "wire/oci/config-internal.h"

static const char *const names[OCI_HOOK_KINDS] = {
    [OCI_HOOK_PRESTART] = "prestart",
    [OCI_HOOK_CREATE_RUNTIME] = "createRuntime",
    [OCI_HOOK_CREATE_CONTAINER] = "createContainer",
    [OCI_HOOK_START_CONTAINER] = "startContainer",
    [OCI_HOOK_POSTSTART] = "poststart",
    [OCI_HOOK_POSTSTOP] = "poststop",
};

const char *oci_hook_name(enum oci_hook_kind kind)
{
    return names[kind];
}

static int read_hook(const json_t *o, const char *where, void *item, struct error *err)
{
    static const struct field fields[] = {
        FIELD("path", STRING, struct oci_hook, path),
        FIELD("args", STRV, struct oci_hook, args),
        FIELD("env", STRV, struct oci_hook, env),
    };
    struct oci_hook *h = item;
    int64_t timeout = 0;
    int r;
    if ((r = OCI_FIELDS(o, where, fields, h, err)) < 0 ||
        (r = oci_require(h->path, where, "path", err)) < 0 ||
        (r = oci_number(o, where, "timeout", 1, INT64_MAX, &timeout, err)) < 0)
        return r;
    if (h->path[0] != '/')
        return error_invalid(err, "%s: \"path\" is not absolute", where);
    h->timeout_s = timeout;
    return 0;
}

int oci_hooks_from_json(const json_t *config, struct oci_hook_list *hooks, struct error *err)
{
    json_t *o;
    int r = json_get_object(config, "config.json", "hooks", &o, err);
    for (int kind = 0; r == 0 && o && kind < OCI_HOOK_KINDS; kind++)
        r = oci_items(o, "hooks", names[kind], sizeof(struct oci_hook), read_hook,
                      (void **)&hooks[kind].items, &hooks[kind].n, err);
    return r;
}

void oci_hooks_done(struct oci_hook_list *hooks)
{
    for (int kind = 0; kind < OCI_HOOK_KINDS; kind++) {
        for (size_t i = 0; i < hooks[kind].n; i++) {
            free(hooks[kind].items[i].path);
            strv_free(hooks[kind].items[i].args);
            strv_free(hooks[kind].items[i].env);
        }
        free(hooks[kind].items);
    }
}
