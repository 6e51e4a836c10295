#include "wire/image/manifest-make.h"

#include <string.h>

#include "base/json.h"

const char *media_type_of_layer(const char *compression)
{
    if (strcmp(compression, "gzip") == 0)
        return "application/vnd.oci.image.layer.v1.tar+gzip";
    if (strcmp(compression, "zstd") == 0)
        return "application/vnd.oci.image.layer.v1.tar+zstd";
    return "application/vnd.oci.image.layer.v1.tar";
}

static json_t *descriptor(const struct manifest_part *p)
{
    json_t *o = json_object();
    json_object_set_new(o, "mediaType", json_string(p->media_type));
    json_object_set_new(o, "digest", json_string(p->digest));
    json_object_set_new(o, "size", json_integer((json_int_t)p->size));
    return o;
}

static json_t *document(const char *media_type)
{
    json_t *o = json_object();
    json_object_set_new(o, "schemaVersion", json_integer(2));
    json_object_set_new(o, "mediaType", json_string(media_type));
    return o;
}

char *manifest_make(const struct manifest_part *config, const struct manifest_part *layers,
                    size_t n_layers)
{
    _cleanup_json_ json_t *o = document(MEDIA_TYPE_OCI_MANIFEST);
    json_t *list = json_array();
    for (size_t i = 0; i < n_layers; i++)
        json_array_append_new(list, descriptor(&layers[i]));
    json_object_set_new(o, "config", descriptor(config));
    json_object_set_new(o, "layers", list);
    return json_to_text(o);
}

static json_t *platform(const struct index_entry *e)
{
    json_t *o = json_object();
    json_object_set_new(o, "architecture", json_string(e->architecture));
    json_object_set_new(o, "os", json_string(e->os));
    if (e->variant)
        json_object_set_new(o, "variant", json_string(e->variant));
    return o;
}

/* What Podman reads as the image's whole name, and containerd too. */
static json_t *annotations(const char *name)
{
    json_t *o = json_object();
    json_object_set_new(o, "io.containerd.image.name", json_string(name));
    json_object_set_new(o, "org.opencontainers.image.ref.name", json_string(name));
    return o;
}

char *index_make(const struct index_entry *entries, size_t n)
{
    _cleanup_json_ json_t *o = document(MEDIA_TYPE_OCI_INDEX);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *d = descriptor(&entries[i].manifest);
        json_object_set_new(d, "platform", platform(&entries[i]));
        if (entries[i].name)
            json_object_set_new(d, "annotations", annotations(entries[i].name));
        json_array_append_new(list, d);
    }
    json_object_set_new(o, "manifests", list);
    return json_to_text(o);
}

char *docker_manifest_make(const struct docker_image *images, size_t n)
{
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "Config", json_string(images[i].config));
        json_object_set_new(o, "RepoTags", json_from_strv(images[i].names));
        json_object_set_new(o, "Layers", json_from_strv(images[i].layers));
        json_array_append_new(list, o);
    }
    return json_to_text(list);
}
