/* What a configuration asks for and cannot have, where that is no error (config.md,
 * "capabilities").
 */
#include "base/alloc.h"
#include "base/strv.h"
#include "kernel/caps.h"
#include "runtime/oci/container.h"

char *oci_process_warning(const struct oci_process *p, bool in_user_namespace)
{
    const struct oci_capabilities *c = &p->capabilities;
    uint64_t effective, permitted, inheritable;
    uint64_t asked = c->bounding | c->effective | c->permitted | c->inheritable | c->ambient;
    _cleanup_strv_ char **names = strv_copy(p->unknown_capabilities);
    if (in_user_namespace || caps_get(&effective, &permitted, &inheritable) < 0)
        permitted = UINT64_MAX;
    for (unsigned int n = 0; oci_capability_name(n); n++)
        if (asked & ~permitted & UINT64_C(1) << n)
            strv_add(&names, oci_capability_name(n));
    if (!names || !names[0])
        return NULL;
    _cleanup_free_ char *list = strv_join(names, ", ");
    return xasprintf("process.capabilities: left out, because they cannot be given: %s", list);
}
