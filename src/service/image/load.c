/*
 * Loading: OCI layouts (index.json) and docker save's older form (manifest.json alone). Every
 * document and every layer is checked against the digest and the size that whoever named it gave.
 */
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "service/image/internal.h"
#include "service/image/offer.h"
#include "service/trust/trust.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

#define NESTING_MAX 3

struct load {
    struct store *store;
    struct image_work *work;
    struct image_source source;
    char *path; /* of the archive or directory; NULL when it has none */
    char **loaded;
};

/* A document by digest, checked. */
static int get_blob(struct load *l, const struct manifest_descriptor *d, char **ret_text,
                    struct error *err)
{
    _cleanup_free_ char *name = xasprintf("blobs/sha256/%s", digest_hex(d->digest));
    _cleanup_free_ char *text = NULL, *digest = NULL;
    size_t len;
    int r = image_source_text(&l->source, name, &text, &len, &digest, err);
    if (r < 0)
        return r;
    if (len != d->size)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s has %zu bytes instead of %llu", name, len,
                         (unsigned long long)d->size);
    if (strcmp(digest, d->digest) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s does not have the digest of its name",
                         name);
    *ret_text = TAKE_PTR(text);
    return 0;
}

/* blob NULL (docker save): only the diff id says what the layer must be. */
static int add_layer(struct load *l, struct image_draft *d, const char *name, const char *diff_id,
                     const struct manifest_descriptor *blob, struct error *err)
{
    _cleanup_part_ struct image_part part = {.fd = -EBADF};
    bool known = false;
    int r = image_draft_known(d, diff_id, &known, err);
    if (r < 0 || known)
        return r;
    if ((r = image_source_find(&l->source, name, &part, err)) < 0)
        return r;
    if (blob && part.size != blob->size)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "it has %llu bytes instead of %llu",
                         (unsigned long long)part.size, (unsigned long long)blob->size);
    struct image_helper h = {
        .in = part.fd, .ranged = true, .offset = part.offset, .size = part.size};
    return image_draft_layer(d, &h, diff_id, blob ? blob->digest : NULL, err);
}

static int publish(struct load *l, struct image_draft *d, struct error *err)
{
    int r = image_draft_publish(d, err);
    if (r < 0)
        return r;
    for (size_t i = 0; d->row.names && d->row.names[i]; i++)
        strv_add(&l->loaded, d->row.names[i]);
    if (!d->row.names || !d->row.names[0])
        strv_add(&l->loaded, d->row.id);
    return 0;
}

static int load_manifest(struct load *l, const struct manifest_descriptor *at, const char *text,
                         const struct manifest *m, const char *name, struct error *err)
{
    _cleanup_(image_draft_done) struct image_draft d = {.work = l->work};
    _cleanup_free_ char *config = NULL;
    _cleanup_strv_ char **diff_ids = NULL;
    int r;
    if (m->disk)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a disk image is not loaded from an archive: import or pull it");
    if ((r = get_blob(l, &m->config, &config, err)) < 0 ||
        (r = image_draft_config(&d, m->config.digest, config, m->config.size, m->n_items, &diff_ids,
                                err)) < 0)
        return r;
    d.row.manifest = xstrdup(at->digest);
    if ((r = image_draft_blob(&d, at->digest, text, at->size, err)) < 0)
        return r;
    if (name)
        strv_add(&d.row.names, name);
    for (size_t i = 0; i < m->n_items; i++) {
        _cleanup_free_ char *file = xasprintf("blobs/sha256/%s", digest_hex(m->items[i].digest));
        r = add_layer(l, &d, file, diff_ids[i], &m->items[i], err);
        if (r < 0)
            return error_prefix(err, "layer %s", m->items[i].digest);
    }
    return publish(l, &d, err);
}

/* Follows indexes down to the manifest for this host. */
static int load_descriptor(struct load *l, const struct manifest_descriptor *d, const char *name,
                           unsigned int depth, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_(manifest_done) struct manifest m = {0};
    const struct manifest_descriptor *next;
    int r;
    if (depth > NESTING_MAX)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "indexes nest deeper than %d", NESTING_MAX);
    if ((r = get_blob(l, d, &text, err)) < 0 ||
        (r = manifest_parse(text, d->size, d->media_type, d->digest, &m, err)) < 0)
        return r;
    if (!m.index)
        return load_manifest(l, d, text, &m, name, err);
    if ((r = manifest_choose(&m, &next, err)) < 0)
        return r;
    return load_descriptor(l, next, name, depth + 1, err);
}

/* What an annotation says is a name when it names a repository; a bare tag ("latest") does not. */
static char *usable_name(const char *annotation)
{
    char *name = NULL;
    if (!annotation || strcmp(annotation, "latest") == 0 ||
        (annotation[0] >= '0' && annotation[0] <= '9'))
        return NULL;
    if (image_name_parse(annotation, &name, NULL) < 0)
        return NULL;
    return name;
}

static bool same_name(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool for_host(const struct manifest_descriptor *d)
{
    return !d->architecture || strcmp(d->architecture, platform_host_architecture()) == 0;
}

/* The top index may hold one image for several platforms as well as several images: an entry for
 * another platform is left out when one of the same name is for this host. */
static bool is_other_platform(const struct manifest *index, size_t at)
{
    const struct manifest_descriptor *d = &index->items[at];
    if (d->attestation || (d->os && strcmp(d->os, "unknown") == 0))
        return true;
    if (for_host(d))
        return false;
    for (size_t i = 0; i < index->n_items; i++)
        if (i != at && !index->items[i].attestation && for_host(&index->items[i]) &&
            same_name(index->items[i].name, d->name))
            return true;
    return false;
}

static int load_layout(struct load *l, const char *text, size_t len, struct error *err)
{
    _cleanup_(manifest_done) struct manifest index = {0};
    int r = manifest_parse(text, len, NULL, "index.json", &index, err);
    if (r < 0)
        return r;
    if (!index.index || index.n_items == 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "index.json names no image");
    for (size_t i = 0; i < index.n_items; i++) {
        _cleanup_free_ char *name = usable_name(index.items[i].name);
        if (is_other_platform(&index, i))
            continue;
        if ((r = load_descriptor(l, &index.items[i], name, 0, err)) < 0)
            return r;
    }
    return 0;
}

static int load_docker_image(struct load *l, const struct docker_image *image, struct error *err)
{
    _cleanup_(image_draft_done) struct image_draft d = {.work = l->work};
    _cleanup_free_ char *config = NULL, *digest = NULL;
    _cleanup_strv_ char **diff_ids = NULL;
    char named[DIGEST_LEN + 1];
    size_t len;
    int r;
    if ((r = image_source_text(&l->source, image->config, &config, &len, &digest, err)) < 0)
        return r;
    const char *base =
        strrchr(image->config, '/') ? strrchr(image->config, '/') + 1 : image->config;
    if (digest_from_name(base, NULL, named) && strcmp(named, digest) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%.200s does not have the digest of its name",
                         image->config);
    if ((r = image_draft_config(&d, digest, config, len, strv_len(image->layers), &diff_ids, err)) <
        0)
        return r;
    for (size_t i = 0; image->names && image->names[i]; i++) {
        char *name = NULL;
        if ((r = image_name_parse(image->names[i], &name, err)) < 0)
            return r;
        strv_take(&d.row.names, name);
    }
    for (size_t i = 0; diff_ids[i]; i++)
        if ((r = add_layer(l, &d, image->layers[i], diff_ids[i], NULL, err)) < 0)
            return error_prefix(err, "layer %.100s", image->layers[i]);
    return publish(l, &d, err);
}

static int load_docker(struct load *l, const char *text, size_t len, struct error *err)
{
    _cleanup_(docker_manifest_done) struct docker_manifest m = {0};
    int r = docker_manifest_parse(text, len, &m, err);
    for (size_t i = 0; r == 0 && i < m.n_images; i++)
        r = load_docker_image(l, &m.images[i], err);
    return r;
}

static int load_all(struct load *l, struct error *err)
{
    static const struct {
        const char *name, *transport;
        int (*load)(struct load *l, const char *text, size_t len, struct error *err);
    } forms[] = {{"index.json", TRUST_TRANSPORT_OCI_FILE, load_layout},
                 {"manifest.json", TRUST_TRANSPORT_ARCHIVE, load_docker}};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        _cleanup_free_ char *text = NULL, *digest = NULL;
        size_t len;
        int r = image_source_text(&l->source, forms[i].name, &text, &len, &digest, err);
        if (r == -ENOENT)
            continue;
        const char *transport = l->source.dir >= 0 ? TRUST_TRANSPORT_OCI_DIR : forms[i].transport;
        if (r == 0)
            r = trust_check_local(l->store, transport, l->path, err);
        return r < 0 ? r : forms[i].load(l, text, len, err);
    }
    return error_set(err, ERROR_CORRUPT, EBADMSG,
                     "neither an OCI layout (index.json) nor of docker save (manifest.json)%s",
                     l->source.dir < 0 ? "; for a root file system use `proa import`" : "");
}

/* Where the descriptor or path really leads: owned, NULL for a pipe and the like. */
static char *source_path(int fd, const char *path)
{
    struct stat st;
    if (fd < 0)
        return path ? realpath(path, NULL) : NULL;
    if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return NULL;
    return realpath(fd_path(fd).text, NULL);
}

int image_load(struct store *s, int fd, const char *path, char ***ret_names, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_free_ char *real = source_path(fd, path);
    struct load l = {.store = s, .work = &work, .path = real, .loaded = strv_copy(NULL)};
    int r = image_work_begin(s, &work, err);
    if (r == 0 && (r = image_source_open(&work, fd, path, &l.source, err)) == 0) {
        r = load_all(&l, err);
        image_source_close(&l.source);
    }
    if (r < 0) {
        strv_free(l.loaded);
        return error_prefix(err, "load");
    }
    *ret_names = l.loaded;
    return 0;
}

/* The store's own directory looks like a layout: blobs/sha256/HEX. */
int image_load_stored(struct store *s, const char *digest, uint64_t size, char *const *names,
                      char **ret_id, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    struct load l = {.store = s, .work = &work, .loaded = strv_copy(NULL)};
    const struct manifest_descriptor top = {.digest = (char *)digest, .size = size};
    _cleanup_(store_image_done) struct store_image row = {0};
    int r = image_work_begin(s, &work, err);
    if (r == 0 && (r = image_source_open(&work, -EBADF, s->root, &l.source, err)) == 0) {
        r = load_descriptor(&l, &top, names[0], 0, err);
        image_source_close(&l.source);
    }
    strv_free(l.loaded);
    if (r < 0 || (r = store_image_by_name(s, names[0], &row, err)) < 0)
        return r;
    for (size_t i = 1; r == 0 && names[i]; i++)
        r = store_image_set_name(s, row.id, names[i], err);
    *ret_id = TAKE_PTR(row.id);
    return r;
}
