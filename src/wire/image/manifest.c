#include "wire/image/manifest.h"

#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "wire/disk/disk.h"
#include "wire/image/digest.h"

static const char *const manifest_types[] = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
};
static const char *const index_types[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
};
static const char *const config_types[] = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
};
static const char *const layer_types[] = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
};

static bool has_type(const char *const *list, size_t n, const char *type)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], type) == 0)
            return true;
    return false;
}
#define HAS_TYPE(list, type) has_type(list, ARRAY_SIZE(list), type)

static int corrupt(struct error *err, const char *what, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "%.100s: %s", what, why);
}

static void descriptor_done(struct manifest_descriptor *d)
{
    free(d->media_type);
    free(d->digest);
    free(d->os);
    free(d->architecture);
    free(d->variant);
    free(d->name);
    memset(d, 0, sizeof(*d));
}

void manifest_done(struct manifest *m)
{
    descriptor_done(&m->config);
    for (size_t i = 0; i < m->n_items; i++)
        descriptor_done(&m->items[i]);
    free(m->items);
    memset(m, 0, sizeof(*m));
}

static int copy_member(const json_t *o, const char *what, const char *key, char **ret,
                       struct error *err)
{
    const char *s = NULL;
    int r = json_get_string(o, what, key, &s, err);
    if (r == 0)
        *ret = xstrdup(s);
    return r;
}

static int parse_annotations(const json_t *o, const char *what, struct manifest_descriptor *d,
                             struct error *err)
{
    json_t *a = NULL;
    const char *name = NULL, *reference = NULL;
    int r;
    if ((r = json_get_object(o, what, "annotations", &a, err)) < 0 || !a)
        return r;
    if ((r = json_get_string(a, what, "io.containerd.image.name", &name, err)) < 0 ||
        (r = json_get_string(a, what, "org.opencontainers.image.ref.name", &reference, err)) < 0)
        return r;
    d->name = xstrdup(name ? name : reference);
    d->attestation = json_object_get(a, "vnd.docker.reference.type") != NULL;
    return 0;
}

static int parse_descriptor(const json_t *o, const char *what, struct manifest_descriptor *d,
                            struct error *err)
{
    json_t *platform = NULL;
    int64_t size = -1;
    int r;
    if (!json_is_object(o))
        return corrupt(err, what, "a descriptor is no object");
    if ((r = copy_member(o, what, "mediaType", &d->media_type, err)) < 0 ||
        (r = copy_member(o, what, "digest", &d->digest, err)) < 0 ||
        (r = json_get_i64(o, what, "size", &size, err)) < 0 ||
        (r = json_get_object(o, what, "platform", &platform, err)) < 0)
        return r;
    if (!digest_valid(d->digest))
        return corrupt(err, what, "a descriptor without a valid sha256 digest");
    if (size < 0)
        return corrupt(err, what, "a descriptor without a valid size");
    d->size = (uint64_t)size;
    if (platform && ((r = copy_member(platform, what, "os", &d->os, err)) < 0 ||
                     (r = copy_member(platform, what, "architecture", &d->architecture, err)) < 0 ||
                     (r = copy_member(platform, what, "variant", &d->variant, err)) < 0))
        return r;
    return parse_annotations(o, what, d, err);
}

/* Manifest or index, from the members that are there and the types that are claimed. */
static int parse_kind(const json_t *o, const char *announced, const char *what, bool *ret_index,
                      struct error *err)
{
    const char *own = NULL;
    int64_t version = -1;
    bool has_layers = json_object_get(o, "layers") || json_object_get(o, "config");
    bool has_manifests = json_object_get(o, "manifests") != NULL;
    int r;
    if ((r = json_get_string(o, what, "mediaType", &own, err)) < 0 ||
        (r = json_get_i64(o, what, "schemaVersion", &version, err)) < 0)
        return r;
    if (version != 2)
        return corrupt(err, what, "schemaVersion is not 2");
    if (has_layers && has_manifests)
        return corrupt(err, what, "has layers and manifests at once");
    if (!has_layers && !has_manifests)
        return corrupt(err, what, "has neither layers nor manifests");
    const char *claims[] = {announced, own};
    for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
        bool fits = !claims[i] || (has_manifests ? HAS_TYPE(index_types, claims[i])
                                                 : HAS_TYPE(manifest_types, claims[i]));
        if (!fits)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "%.100s: is %s but claims to be %.100s",
                             what, has_manifests ? "an index" : "a manifest", claims[i]);
    }
    if (announced && own && strcmp(announced, own) != 0)
        return corrupt(err, what, "its media type is not the announced one");
    *ret_index = has_manifests;
    return 0;
}

static int check_chunks(const struct manifest *m, const char *what, struct error *err)
{
    for (size_t i = 0; i < m->n_items; i++)
        if (!m->items[i].media_type || strcmp(m->items[i].media_type, DISK_CHUNK_TYPE) != 0 ||
            m->items[i].size == 0 || m->items[i].size > DISK_PACKED_MAX)
            return corrupt(err, what, "a chunk of the disk is of another type or size");
    return 0;
}

static int check_types(const struct manifest *m, const char *what, struct error *err)
{
    if (m->index)
        return 0; /* entries of kinds we do not know are left aside when one is chosen */
    if (m->disk)
        return check_chunks(m, what, err);
    if (!m->config.media_type || !HAS_TYPE(config_types, m->config.media_type))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%.100s: not a container image (its configuration is %.100s)", what,
                         m->config.media_type ? m->config.media_type : "of no type");
    for (size_t i = 0; i < m->n_items; i++)
        if (!m->items[i].media_type || !HAS_TYPE(layer_types, m->items[i].media_type))
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "%.100s: a layer of unknown type %.100s", what,
                             m->items[i].media_type ? m->items[i].media_type : "");
    return 0;
}

static int parse_members(const json_t *o, const char *what, struct manifest *m, struct error *err)
{
    json_t *items = NULL, *item;
    size_t i;
    int r = json_get_array(o, what, m->index ? "manifests" : "layers", &items, err);
    if (r < 0)
        return r;
    size_t n = items ? json_array_size(items) : 0;
    if (!m->index &&
        (r = parse_descriptor(json_object_get(o, "config"), what, &m->config, err)) < 0)
        return r;
    m->disk = m->config.media_type && strcmp(m->config.media_type, DISK_CONFIG_TYPE) == 0;
    if (n > (m->index ? MANIFEST_ITEMS_MAX : m->disk ? MANIFEST_CHUNKS_MAX : MANIFEST_LAYERS_MAX))
        return error_set(err, ERROR_LIMIT, EFBIG, "%.100s: %zu %s are too many", what, n,
                         m->index ? "manifests" : "layers");
    m->items = xcalloc(n, sizeof(*m->items));
    json_array_foreach(items, i, item)
    {
        m->n_items = i + 1;
        if ((r = parse_descriptor(item, what, &m->items[i], err)) < 0)
            return r;
    }
    return check_types(m, what, err);
}

int manifest_parse(const char *text, size_t len, const char *media_type, const char *what,
                   struct manifest *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(manifest_done) struct manifest m = {0};
    int r = json_parse(text, len, what, &o, err);
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return corrupt(err, what, "is no JSON object");
    if ((r = parse_kind(o, media_type, what, &m.index, err)) < 0 ||
        (r = parse_members(o, what, &m, err)) < 0)
        return r;
    *ret = m;
    memset(&m, 0, sizeof(m));
    return 0;
}

void docker_manifest_done(struct docker_manifest *m)
{
    for (size_t i = 0; i < m->n_images; i++) {
        free(m->images[i].config);
        strv_free(m->images[i].layers);
        strv_free(m->images[i].names);
    }
    free(m->images);
    memset(m, 0, sizeof(*m));
}

static int parse_docker_image(const json_t *o, struct docker_image *i, struct error *err)
{
    const char *what = "manifest.json";
    int r;
    if (!json_is_object(o))
        return corrupt(err, what, "an image is no object");
    if ((r = copy_member(o, what, "Config", &i->config, err)) < 0 ||
        (r = json_get_strv(o, what, "Layers", &i->layers, err)) < 0 ||
        (r = json_get_strv(o, what, "RepoTags", &i->names, err)) < 0)
        return r;
    if (!i->config)
        return corrupt(err, what, "an image without \"Config\"");
    if (strv_len(i->layers) > MANIFEST_LAYERS_MAX || strv_len(i->names) > MANIFEST_ITEMS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: too many layers or names", what);
    return 0;
}

int docker_manifest_parse(const char *text, size_t len, struct docker_manifest *ret,
                          struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(docker_manifest_done) struct docker_manifest m = {0};
    json_t *item;
    size_t i;
    int r = json_parse(text, len, "manifest.json", &o, err);
    if (r < 0)
        return r;
    if (!json_is_array(o) || json_array_size(o) == 0 || json_array_size(o) > MANIFEST_ITEMS_MAX)
        return corrupt(err, "manifest.json", "is no list of images");
    m.images = xcalloc(json_array_size(o), sizeof(*m.images));
    json_array_foreach(o, i, item)
    {
        m.n_images = i + 1;
        if ((r = parse_docker_image(item, &m.images[i], err)) < 0)
            return r;
    }
    *ret = m;
    memset(&m, 0, sizeof(m));
    return 0;
}

const char *platform_host_architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"}, {"aarch64", "arm64"},       {"armv7l", "arm"},  {"armv6l", "arm"},
        {"i686", "386"},     {"ppc64le", "ppc64le"},     {"s390x", "s390x"}, {"riscv64", "riscv64"},
        {"i386", "386"},     {"loongarch64", "loong64"},
    };
    static struct utsname u;
    if (uname(&u) < 0)
        return "unknown";
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(u.machine, names[i][0]) == 0)
            return names[i][1];
    return u.machine;
}

/* Which of several entries of the right architecture: the plainest variant every host can run. */
static int variant_rank(const struct manifest_descriptor *d)
{
    if (!d->variant || strcmp(d->variant, "v8") == 0 || strcmp(d->variant, "v1") == 0)
        return 2;
    return 1;
}

int platform_parse(const char *text, struct image_platform *ret, struct error *err)
{
    char *const parts[] = {ret->os, ret->architecture, ret->variant};
    const char *p = text;
    size_t n = 0;
    *ret = (struct image_platform){.os = "linux"};
    snprintf(ret->architecture, sizeof(ret->architecture), "%s", platform_host_architecture());
    for (; p && n < ARRAY_SIZE(parts); n++) {
        size_t len = strcspn(p, "/");
        if (len == 0 || len >= sizeof(ret->os))
            break;
        snprintf(parts[n], sizeof(ret->os), "%.*s", (int)len, p);
        p = p[len] ? p + len + 1 : NULL;
    }
    if (text && (p || n < 2))
        return error_invalid(err, "\"%.80s\" is no platform: OS/ARCHITECTURE[/VARIANT] is", text);
    return 0;
}

static bool is_choice(const struct manifest_descriptor *d)
{
    bool image = !d->media_type || HAS_TYPE(manifest_types, d->media_type) ||
                 HAS_TYPE(index_types, d->media_type);
    return image && !d->attestation && !(d->os && strcmp(d->os, "unknown") == 0);
}

static bool fits(const struct manifest_descriptor *d, const struct image_platform *wanted)
{
    return (!d->os || strcmp(d->os, wanted->os) == 0) &&
           (!d->architecture || strcmp(d->architecture, wanted->architecture) == 0) &&
           (!*wanted->variant || !d->variant || strcmp(d->variant, wanted->variant) == 0);
}

int manifest_choose_for(const struct manifest *index, const struct image_platform *wanted,
                        const struct manifest_descriptor **ret, struct error *err)
{
    const struct manifest_descriptor *best = NULL;
    char seen[200] = "";
    for (size_t i = 0; i < index->n_items; i++) {
        const struct manifest_descriptor *d = &index->items[i];
        if (!is_choice(d))
            continue;
        if (fits(d, wanted)) {
            if (!best || variant_rank(d) > variant_rank(best))
                best = d;
            continue;
        }
        size_t len = strlen(seen);
        snprintf(seen + len, sizeof(seen) - len, "%s%.20s/%.20s", len ? ", " : "",
                 d->os ? d->os : "?", d->architecture ? d->architecture : "?");
    }
    if (!best)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "no image for %s/%s%s%s among: %s",
                         wanted->os, wanted->architecture, *wanted->variant ? "/" : "",
                         wanted->variant, seen[0] ? seen : "none");
    *ret = best;
    return 0;
}

int manifest_choose(const struct manifest *index, const struct manifest_descriptor **ret,
                    struct error *err)
{
    struct image_platform host;
    int r = platform_parse(NULL, &host, err);
    if (r < 0)
        return r;
    if (index->n_items == 1 && is_choice(&index->items[0])) { /* what was saved is what is wanted */
        *ret = &index->items[0];
        return 0;
    }
    return manifest_choose_for(index, &host, ret, err);
}
