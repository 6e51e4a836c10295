#include "wire/sign/manifest.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "wire/image/digest.h"
#include "wire/sign/payload.h"

#define WHAT       "signatures"
#define LAYER_TYPE "application/vnd.dev.cosign.simplesigning.v1+json"
#define ANNOTATION "dev.cosignproject.cosign/signature"

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: %s", WHAT, why);
}

static void entry_done(struct sign_entry *e)
{
    free(e->digest);
    free(e->signature);
}

void sign_manifest_done(struct sign_manifest *m)
{
    for (size_t i = 0; i < m->n_entries; i++)
        entry_done(&m->entries[i]);
    free(m->entries);
    memset(m, 0, sizeof(*m));
}

char *sign_tag(const char *digest)
{
    return xasprintf("sha256-%s.sig", digest_hex(digest));
}

/* *ret_layers is borrowed from *ret. */
static int parse_document(const char *text, size_t len, json_t **ret, json_t **ret_layers,
                          struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    json_t *layers = NULL;
    int64_t version = 0;
    const char *type = NULL;
    int r;
    if (len > SIGN_MANIFEST_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: larger than %zu bytes", WHAT,
                         SIGN_MANIFEST_MAX_BYTES);
    if ((r = json_parse(text, len, WHAT, &o, err)) < 0)
        return r;
    if ((r = json_get_i64(o, WHAT, "schemaVersion", &version, err)) < 0 ||
        (r = json_get_string(o, WHAT, "mediaType", &type, err)) < 0 ||
        (r = json_get_array(o, WHAT, "layers", &layers, err)) < 0)
        return r;
    if (version != 2 || !layers || json_object_get(o, "manifests") ||
        (type && strcmp(type, SIGN_MANIFEST_TYPE) != 0))
        return corrupt(err, "are in no OCI image manifest");
    if (json_array_size(layers) > SIGN_SIGNATURES_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: %zu are too many", WHAT,
                         json_array_size(layers));
    *ret_layers = layers;
    *ret = TAKE_PTR(o);
    return 0;
}

/* Gives 1 when the layer is a payload. */
static int parse_layer(const json_t *o, struct sign_entry *e, struct error *err)
{
    const char *type = NULL, *digest = NULL, *signature = NULL;
    json_t *annotations = NULL;
    int64_t size = -1;
    int r;
    if (!json_is_object(o))
        return corrupt(err, "a layer is no object");
    if ((r = json_get_string(o, WHAT, "mediaType", &type, err)) < 0 ||
        (r = json_get_string(o, WHAT, "digest", &digest, err)) < 0 ||
        (r = json_get_i64(o, WHAT, "size", &size, err)) < 0 ||
        (r = json_get_object(o, WHAT, "annotations", &annotations, err)) < 0 ||
        (r = json_get_string(annotations, WHAT, ANNOTATION, &signature, err)) < 0)
        return r;
    if (!type || strcmp(type, LAYER_TYPE) != 0)
        return 0;
    if (!digest_valid(digest) || size <= 0)
        return corrupt(err, "a layer without a valid sha256 digest and size");
    if ((uint64_t)size > SIGN_PAYLOAD_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: a signed text of %lld bytes is too large",
                         WHAT, (long long)size);
    if (!signature || strlen(signature) > SIGN_SIGNATURE_MAX)
        return corrupt(err, "a layer without a signature in its annotations");
    *e = (struct sign_entry){xstrdup(digest), (uint64_t)size, xstrdup(signature)};
    return 1;
}

int sign_manifest_parse(const char *text, size_t len, struct sign_manifest *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(sign_manifest_done) struct sign_manifest m = {0};
    json_t *layers, *layer;
    size_t i;
    int r = parse_document(text, len, &o, &layers, err);
    if (r < 0)
        return r;
    m.entries = xcalloc(json_array_size(layers) + 1, sizeof(*m.entries));
    json_array_foreach(layers, i, layer)
    {
        if ((r = parse_layer(layer, &m.entries[m.n_entries], err)) < 0)
            return r;
        m.n_entries += (size_t)r;
    }
    *ret = m;
    memset(&m, 0, sizeof(m));
    return 0;
}

int sign_config_make(const char *old, size_t old_len, const char *payload_digest, char **ret_config,
                     struct error *err)
{
    _cleanup_json_ json_t *o = NULL, *ids = json_array();
    json_t *layers = NULL, *layer;
    const char *digest;
    size_t i;
    int r = old ? parse_document(old, old_len, &o, &layers, err) : 0;
    if (r < 0)
        return r;
    json_array_foreach(layers, i, layer)
    {
        digest = NULL;
        if ((r = json_get_string(layer, WHAT, "digest", &digest, err)) < 0)
            return r;
        if (!digest_valid(digest))
            return corrupt(err, "a layer without a valid sha256 digest");
        json_array_append_new(ids, json_string(digest));
    }
    json_array_append_new(ids, json_string(payload_digest));
    _cleanup_json_ json_t *config =
        json_pack("{s:s,s:s,s:{},s:{s:s,s:O}}", "architecture", "", "os", "", "config", "rootfs",
                  "type", "layers", "diff_ids", ids);
    *ret_config = json_to_text(config);
    return 0;
}

int sign_manifest_make(const char *old, size_t old_len, const struct sign_entry *added,
                       const char *config, const char *config_digest, char **ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    json_t *layers = NULL;
    int r = old ? parse_document(old, old_len, &o, &layers, err) : 0;
    if (r < 0)
        return r;
    if (layers && json_array_size(layers) >= SIGN_SIGNATURES_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: there are %zu already", WHAT,
                         json_array_size(layers));
    if (!old)
        o = json_pack("{s:i,s:s,s:[]}", "schemaVersion", 2, "mediaType", SIGN_MANIFEST_TYPE,
                      "layers");
    json_object_set_new(o, "config",
                        json_pack("{s:s,s:s,s:I}", "mediaType", SIGN_CONFIG_TYPE, "digest",
                                  config_digest, "size", (json_int_t)strlen(config)));
    json_array_append_new(json_object_get(o, "layers"),
                          json_pack("{s:s,s:s,s:I,s:{s:s}}", "mediaType", LAYER_TYPE, "digest",
                                    added->digest, "size", (json_int_t)added->size, "annotations",
                                    ANNOTATION, added->signature));
    *ret = json_to_text(o);
    return 0;
}
