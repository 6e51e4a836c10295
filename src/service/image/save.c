/*
 * Saving images as docker save and OCI layouts have them. The configurations go out as they came,
 * so an image has the same id wherever it is loaded; the layers are given back byte for byte.
 *
 * An OCI archive also has manifest.json, naming the same blobs: so Docker loads it too, old ones
 * included.
 */
#include "service/image/save.h"

#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/image/target.h"
#include "wire/image/digest.h"
#include "wire/image/manifest-make.h"

struct saved_layer {
    char *diff_id;
    struct image_archive packed; /* as it stands in an OCI layout */
};

struct saved_image {
    struct image *image;
    char **names; /* those it was asked for by */
};

struct save {
    struct store *store;
    struct image_target target;
    const char *compression;
    bool layout;
    struct saved_image *images;
    size_t n_images;
    struct saved_layer *layers; /* already in the archive */
    size_t n_layers;
    char **texts; /* names of documents in the archive */
    struct index_entry *entries;
    size_t n_entries;
};

static void save_done(struct save *s)
{
    for (size_t i = 0; i < s->n_images; i++) {
        image_free(s->images[i].image);
        strv_free(s->images[i].names);
    }
    for (size_t i = 0; i < s->n_layers; i++)
        free(s->layers[i].diff_id);
    for (size_t i = 0; i < s->n_entries; i++)
        free((char *)s->entries[i].manifest.digest);
    free(s->images);
    free(s->layers);
    free(s->entries);
    strv_free(s->texts);
    image_target_close(&s->target);
}

/* One image is saved once, by all the names it was asked for by. */
static int add_reference(struct save *s, const char *reference, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *name = NULL;
    int r = image_find(s->store, reference, &image, err);
    if (r < 0 || (r = image_need_kind(image, IMAGE_APPLICATION, err)) < 0)
        return r;
    size_t i = 0;
    while (i < s->n_images && strcmp(s->images[i].image->id, image->id) != 0)
        i++;
    bool by_name = image_name_parse(reference, &name, NULL) == 0 && strv_has(image->names, name);
    if (i == s->n_images) {
        s->images = xreallocarray(s->images, i + 1, sizeof(*s->images));
        s->images[s->n_images++] =
            (struct saved_image){.image = TAKE_PTR(image), .names = strv_copy(NULL)};
    }
    if (by_name && !strv_has(s->images[i].names, name))
        strv_add(&s->images[i].names, name);
    return 0;
}

static const struct saved_layer *find_layer(const struct save *s, const char *diff_id)
{
    for (size_t i = 0; i < s->n_layers; i++)
        if (strcmp(s->layers[i].diff_id, diff_id) == 0)
            return &s->layers[i];
    return NULL;
}

static char *layer_name(const struct save *s, const struct saved_layer *l)
{
    return s->layout ? xasprintf("blobs/sha256/%s", digest_hex(l->packed.digest))
                     : xasprintf("%s.tar", digest_hex(l->diff_id));
}

static int put_layer(struct save *s, const struct image_layer *layer, struct error *err)
{
    struct saved_layer l = {.diff_id = layer->diff_id};
    int r;
    if (find_layer(s, layer->diff_id))
        return 0;
    if (s->layout && strcmp(s->compression, "none") != 0) {
        r = image_target_packed_layer(&s->target, layer, s->compression, &l.packed, err);
    } else {
        memcpy(l.packed.digest, layer->diff_id, DIGEST_LEN + 1);
        l.packed.bytes = layer->tar_bytes;
        _cleanup_free_ char *name = layer_name(s, &l);
        r = image_target_layer(&s->target, name, layer, err);
    }
    if (r < 0)
        return r;
    l.diff_id = xstrdup(layer->diff_id);
    s->layers = xreallocarray(s->layers, s->n_layers + 1, sizeof(*s->layers));
    s->layers[s->n_layers++] = l;
    return 0;
}

static int put_text(struct save *s, const char *name, const char *text, struct error *err)
{
    if (strv_has(s->texts, name))
        return 0;
    strv_add(&s->texts, name);
    return image_target_text(&s->target, name, text, strlen(text), err);
}

static char *config_name(const struct save *s, const struct image *image)
{
    return s->layout ? xasprintf("blobs/sha256/%s", digest_hex(image->id))
                     : xasprintf("%s.json", digest_hex(image->id));
}

static void add_entry(struct save *s, const struct image *image, const char *digest, uint64_t size,
                      const char *name)
{
    s->entries = xreallocarray(s->entries, s->n_entries + 1, sizeof(*s->entries));
    s->entries[s->n_entries++] = (struct index_entry){
        .manifest = {MEDIA_TYPE_OCI_MANIFEST, xstrdup(digest), size},
        .os = image->os,
        .architecture = image->architecture,
        .name = name,
    };
}

/* The manifest, and an entry of the index for each name. */
static int put_manifest(struct save *s, const struct saved_image *x, struct error *err)
{
    const struct image *image = x->image;
    const struct manifest_part config = {MEDIA_TYPE_OCI_CONFIG, image->id,
                                         strlen(image->config_json)};
    _cleanup_free_ struct manifest_part *layers = xcalloc(image->n_layers + 1, sizeof(*layers));
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct saved_layer *l = find_layer(s, image->layers[i].diff_id);
        layers[i] = (struct manifest_part){media_type_of_layer(s->compression), l->packed.digest,
                                           l->packed.bytes};
    }
    _cleanup_free_ char *text = manifest_make(&config, layers, image->n_layers);
    _cleanup_free_ char *digest = image_text_digest(text, strlen(text));
    _cleanup_free_ char *name = xasprintf("blobs/sha256/%s", digest_hex(digest));
    int r = put_text(s, name, text, err);
    if (r < 0)
        return r;
    for (size_t i = 0; x->names[i]; i++)
        add_entry(s, image, digest, strlen(text), x->names[i]);
    if (!x->names[0])
        add_entry(s, image, digest, strlen(text), NULL);
    return 0;
}

static int put_image(struct save *s, const struct saved_image *x, struct error *err)
{
    _cleanup_free_ char *config = config_name(s, x->image);
    int r = put_text(s, config, x->image->config_json, err);
    for (size_t i = 0; r == 0 && i < x->image->n_layers; i++)
        r = put_layer(s, &x->image->layers[i], err);
    return r == 0 && s->layout ? put_manifest(s, x, err) : r;
}

static int put_docker_manifest(struct save *s, struct error *err)
{
    _cleanup_free_ struct docker_image *images = xcalloc(s->n_images + 1, sizeof(*images));
    for (size_t i = 0; i < s->n_images; i++) {
        const struct image *image = s->images[i].image;
        images[i].config = config_name(s, image);
        images[i].names = s->images[i].names;
        images[i].layers = strv_copy(NULL);
        for (size_t n = 0; n < image->n_layers; n++)
            strv_take(&images[i].layers, layer_name(s, find_layer(s, image->layers[n].diff_id)));
    }
    _cleanup_free_ char *text = docker_manifest_make(images, s->n_images);
    for (size_t i = 0; i < s->n_images; i++) {
        free(images[i].config);
        strv_free(images[i].layers);
    }
    return put_text(s, "manifest.json", text, err);
}

static int put_layout(struct save *s, struct error *err)
{
    _cleanup_free_ char *index = index_make(s->entries, s->n_entries);
    int r = put_text(s, "index.json", index, err);
    return r < 0 ? r : put_text(s, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", err);
}

static int put_all(struct save *s, struct error *err)
{
    int r = 0;
    if (s->layout && ((r = image_target_dir(&s->target, "blobs", err)) < 0 ||
                      (r = image_target_dir(&s->target, "blobs/sha256", err)) < 0))
        return r;
    for (size_t i = 0; r == 0 && i < s->n_images; i++)
        r = put_image(s, &s->images[i], err);
    if (r == 0 && s->layout)
        r = put_layout(s, err);
    if (r == 0 && s->target.archive >= 0)
        r = put_docker_manifest(s, err);
    return r < 0 ? r : image_target_finish(&s->target, err);
}

static const struct {
    const char *name;
    bool layout, directory;
    const char *compression;
} formats[] = {
    {"docker-archive", false, false, "none"},
    {"oci-archive", true, false, "gzip"},
    {"oci-dir", true, true, "gzip"},
};

static int choose_format(const struct image_save *how, struct save *s, bool *ret_directory,
                         struct error *err)
{
    size_t i = 0;
    while (i < ARRAY_SIZE(formats) && strcmp(how->format, formats[i].name) != 0)
        i++;
    if (i == ARRAY_SIZE(formats))
        return error_invalid(
            err, "--format is docker-archive, oci-archive or oci-dir, not \"%.40s\"", how->format);
    s->layout = formats[i].layout;
    s->compression = how->compression ? how->compression : formats[i].compression;
    *ret_directory = formats[i].directory;
    if (strcmp(s->compression, "none") != 0 && strcmp(s->compression, "gzip") != 0 &&
        strcmp(s->compression, "zstd") != 0)
        return error_invalid(err, "--compression is none, gzip or zstd, not \"%.40s\"",
                             s->compression);
    if (!s->layout && strcmp(s->compression, "none") != 0)
        return error_invalid(err, "a docker-archive holds uncompressed layers");
    return 0;
}

/* The archive appears under its name when it is complete; a device or a pipe is just written. */
static int save_to_file(struct save *s, const char *path, struct error *err)
{
    struct stat st;
    bool regular = stat(path, &st) < 0 || S_ISREG(st.st_mode);
    _cleanup_free_ char *other =
        regular ? xasprintf("%s.%d.unfinished", path, (int)getpid()) : NULL;
    const char *name = other ? other : path;
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (other ? O_EXCL : 0);
    _cleanup_close_ int fd = open(name, flags, 0644);
    if (fd < 0)
        return error_errno(err, errno, "create %s", name);
    int r = image_target_open(s->target.work, fd, NULL, &s->target, err);
    if (r == 0)
        r = put_all(s, err);
    if (r == 0 && other && rename(other, path) < 0)
        r = error_errno(err, errno, "create %s", path);
    if (r < 0 && other)
        unlink(other);
    return r;
}

static int save_to_directory(struct save *s, const char *path, struct error *err)
{
    int r = image_target_open(s->target.work, -EBADF, path, &s->target, err);
    return r < 0 ? r : put_all(s, err);
}

static int save_to_stdout(struct save *s, struct error *err)
{
    int r = image_target_open(s->target.work, STDOUT_FILENO, NULL, &s->target, err);
    return r < 0 ? r : put_all(s, err);
}

int image_save(struct store *store, const struct image_save *how, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_(save_done) struct save s = {
        .store = store, .target = {.work = &work, .archive = -EBADF, .dir = -EBADF}};
    bool directory = false;
    int r = choose_format(how, &s, &directory, err);
    if (r == 0 && directory && !how->output)
        return error_invalid(err, "oci-dir needs a directory: name it with --output");
    for (size_t i = 0; r == 0 && how->references[i]; i++)
        r = add_reference(&s, how->references[i], err);
    if (r < 0 || (r = image_work_begin(store, &work, err)) < 0)
        return r;
    if (directory)
        r = save_to_directory(&s, how->output, err);
    else
        r = how->output ? save_to_file(&s, how->output, err) : save_to_stdout(&s, err);
    return r < 0 ? error_prefix(err, "save") : 0;
}
