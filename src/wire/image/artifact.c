#include "wire/image/artifact.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"

static const struct {
    const char *type;
    bool index;
} types[] = {
    {"application/vnd.oci.image.manifest.v1+json", false},
    {OCI_INDEX, true},
    {"application/vnd.docker.distribution.manifest.v2+json", false},
    {"application/vnd.docker.distribution.manifest.list.v2+json", true},
};

void artifact_done(struct artifact *a)
{
    for (size_t i = 0; i < a->n_needs; i++)
        free(a->needs[i].digest);
    free(a->needs);
    free(a->media_type);
    free(a->artifact_type);
    free(a->subject);
    free(a->annotations);
    memset(a, 0, sizeof(*a));
}

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "the manifest %s", why);
}

struct reader {
    bool (*digest_ok)(const char *digest);
    struct artifact *a;
};

/* Layers that stay where they are: by their type, or by saying where they can be had. */
static bool is_elsewhere(const json_t *descriptor, const char *media_type)
{
    const json_t *urls = json_object_get(descriptor, "urls");
    return (media_type &&
            (strstr(media_type, ".nondistributable.") || strstr(media_type, ".foreign."))) ||
           (json_is_array(urls) && json_array_size(urls) > 0);
}

static int read_descriptor(const struct reader *r, const json_t *d, const char **ret_digest,
                           const char **ret_type, int64_t *ret_size, struct error *err)
{
    const char *what = "manifest";
    int e;
    *ret_digest = *ret_type = NULL;
    *ret_size = -1;
    if (!json_is_object(d))
        return corrupt(err, "has a descriptor that is no object");
    if ((e = json_get_string(d, what, "digest", ret_digest, err)) < 0 ||
        (e = json_get_string(d, what, "mediaType", ret_type, err)) < 0 ||
        (e = json_get_i64(d, what, "size", ret_size, err)) < 0)
        return e;
    if (!*ret_digest || !r->digest_ok(*ret_digest))
        return corrupt(err, "has a descriptor without a valid digest");
    if (*ret_size < 0)
        return corrupt(err, "has a descriptor without a valid size");
    return 0;
}

static int add_need(const struct reader *r, const json_t *d, bool manifest, struct error *err)
{
    struct artifact *a = r->a;
    const char *digest, *type;
    int64_t size;
    int e = read_descriptor(r, d, &digest, &type, &size, err);
    if (e < 0)
        return e;
    if (!manifest && is_elsewhere(d, type))
        return 0;
    a->needs = xreallocarray(a->needs, a->n_needs + 1, sizeof(*a->needs));
    a->needs[a->n_needs++] = (struct artifact_need){xstrdup(digest), (uint64_t)size, manifest};
    return 0;
}

static int add_needs(const struct reader *r, const json_t *o, const char *key, struct error *err)
{
    json_t *items = NULL, *item;
    size_t i;
    int e = json_get_array(o, "manifest", key, &items, err);
    json_array_foreach(items, i, item)
    {
        if (e == 0)
            e = add_need(r, item, r->a->index, err);
    }
    return e;
}

/* The announced type without parameters, the document's own, or what its members tell. */
static int find_type(const json_t *o, const char *announced, struct artifact *a, struct error *err)
{
    const char *own = NULL;
    int64_t version = -1;
    bool has_manifests = json_object_get(o, "manifests") != NULL;
    bool has_config = json_object_get(o, "config") || json_object_get(o, "layers");
    int e;
    if ((e = json_get_string(o, "manifest", "mediaType", &own, err)) < 0 ||
        (e = json_get_i64(o, "manifest", "schemaVersion", &version, err)) < 0)
        return e;
    if (version != 2)
        return corrupt(err, "has a schemaVersion that is not 2");
    if (has_manifests == has_config)
        return corrupt(err, has_config ? "has layers and manifests at once"
                                       : "has neither layers nor manifests");
    if (announced && own && strcmp(announced, own) != 0)
        return corrupt(err, "is not of the media type that was announced");
    const char *type = announced ? announced : own ? own : types[has_manifests ? 1 : 0].type;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].type, type) != 0)
            continue;
        if (types[i].index != has_manifests)
            return corrupt(err, has_manifests ? "is an index but claims to be something else"
                                              : "is no index but claims to be one");
        a->index = has_manifests;
        a->media_type = xstrdup(type);
        return 0;
    }
    return corrupt(err, "is of a media type that is not kept here");
}

static int find_subject(const struct reader *r, const json_t *o, struct error *err)
{
    json_t *subject = NULL;
    const char *digest, *type;
    int64_t size;
    int e = json_get_object(o, "manifest", "subject", &subject, err);
    if (e < 0 || !subject)
        return e;
    if ((e = read_descriptor(r, subject, &digest, &type, &size, err)) < 0)
        return e;
    r->a->subject = xstrdup(digest);
    return 0;
}

/* What the referrers API tells of it. */
static int find_labels(const json_t *o, struct artifact *a, struct error *err)
{
    const char *type = NULL;
    json_t *annotations = NULL, *config = NULL;
    int e;
    if ((e = json_get_string(o, "manifest", "artifactType", &type, err)) < 0 ||
        (e = json_get_object(o, "manifest", "annotations", &annotations, err)) < 0 ||
        (e = json_get_object(o, "manifest", "config", &config, err)) < 0)
        return e;
    if (!type && config && (e = json_get_string(config, "manifest", "mediaType", &type, err)) < 0)
        return e;
    a->artifact_type = xstrdup(type);
    if (annotations)
        a->annotations = json_to_text(annotations);
    return 0;
}

/* Commas and brackets outside of strings: at least as many as there are values. */
static size_t count_values(const char *text, size_t len)
{
    size_t n = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == ',' || text[i] == '{' || text[i] == '['))
            n++;
    }
    return n;
}

int artifact_parse(const char *text, size_t len, const char *media_type,
                   bool (*digest_ok)(const char *digest), struct artifact *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(artifact_done) struct artifact a = {0};
    const struct reader r = {digest_ok, &a};
    int e;
    if (len > ARTIFACT_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "the manifest is larger than %zu bytes",
                         ARTIFACT_MAX_BYTES);
    if (count_values(text, len) > ARTIFACT_MAX_VALUES)
        return error_set(err, ERROR_LIMIT, EFBIG, "the manifest has more than %u values",
                         ARTIFACT_MAX_VALUES);
    if ((e = json_parse(text, len, "manifest", &o, err)) < 0)
        return e;
    if (!json_is_object(o))
        return corrupt(err, "is no JSON object");
    if ((e = find_type(o, media_type, &a, err)) < 0 || (e = find_subject(&r, o, err)) < 0 ||
        (e = find_labels(o, &a, err)) < 0)
        return e;
    if (!a.index && (e = add_need(&r, json_object_get(o, "config"), false, err)) < 0)
        return e;
    if ((e = add_needs(&r, o, a.index ? "manifests" : "layers", err)) < 0)
        return e;
    *ret = a;
    memset(&a, 0, sizeof(a));
    return 0;
}

char *artifact_index_make(const struct artifact_entry *entries, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct artifact_entry *e = &entries[i];
        json_t *o = json_pack("{ss, ss, sI}", "mediaType", e->media_type, "digest", e->digest,
                              "size", (json_int_t)e->size);
        json_t *annotations = NULL;
        if (e->artifact_type)
            json_object_set_new(o, "artifactType", json_string(e->artifact_type));
        if (e->annotations && json_parse(e->annotations, strlen(e->annotations), "annotations",
                                         &annotations, NULL) == 0)
            json_object_set_new(o, "annotations", annotations);
        json_array_append_new(list, o);
    }
    _cleanup_json_ json_t *index =
        json_pack("{si, ss, so}", "schemaVersion", 2, "mediaType", OCI_INDEX, "manifests", list);
    return json_to_text(index);
}
