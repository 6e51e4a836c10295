#include "wire/oci/state.h"

#include "base/alloc.h"
#include "base/json.h"

json_t *oci_state_to_object(const struct oci_state *s)
{
    json_t *o = json_pack("{s:s,s:s,s:s*,s:i,s:s*,s:s*,s:s*,s:s*}", "ociVersion", OCI_VERSION, "id",
                          s->id, "status", s->status, "pid", (int)s->pid, "bundle", s->bundle,
                          "rootfs", s->rootfs, "created", s->created, "owner", s->owner);
    json_t *annotations = s->n_annotations ? json_object() : NULL;
    for (size_t i = 0; i < s->n_annotations; i++)
        json_object_set_new(annotations, s->annotations[i].key,
                            json_string(s->annotations[i].value));
    if (annotations)
        json_object_set_new(o, "annotations", annotations);
    return o;
}

char *oci_state_to_json(const struct oci_state *s, bool indented)
{
    _cleanup_json_ json_t *o = oci_state_to_object(s);
    char *text = o ? json_dumps(o, indented ? JSON_INDENT(2) : JSON_COMPACT) : NULL;
    return text ? text : xstrdup("{}");
}
