/* Names of images in the store: "repository:tag" of a reference (wire/registry/reference.h). */
#include "base/alloc.h"
#include "service/image/internal.h"
#include "wire/registry/reference.h"

int image_name_parse(const char *name, char **ret_canonical, struct error *err)
{
    _cleanup_(reference_done) struct reference r = {0};
    int e = reference_parse(name, &r, err);
    if (e < 0)
        return e;
    if (r.digest)
        return error_invalid(err, "\"%.100s\" is no image name: a digest cannot be part of it",
                             name);
    *ret_canonical = reference_store_name(&r, r.tag ? r.tag : "latest");
    return 0;
}
