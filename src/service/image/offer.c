#include "service/image/offer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/program.h"
#include "service/image/internal.h"
#include "service/store/content.h"
#include "service/store/disk.h"
#include "wire/image/digest.h"
#include "wire/image/manifest-make.h"

/* Layers that were stored by an older proa have no recipe for their tars. */
static int check_layer(struct store *s, const struct store_layer *l, struct error *err)
{
    bool known = false;
    int r = image_layer_known(s, l->diff_id, &known, NULL, err);
    if (r < 0 || (known && l->tar_bytes > 0))
        return r;
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "layer %.19s was stored by a proa that could not give layers back: load or "
                     "pull the image again",
                     l->diff_id);
}

static int make_manifest(struct store *s, const struct store_image *i, char **ret_text,
                         struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", s->root, digest_hex(i->id));
    struct stat st;
    if (stat(path, &st) < 0)
        return error_errno(err, errno, "look at %s", path);
    const struct manifest_part config = {MEDIA_TYPE_OCI_CONFIG, i->id, (uint64_t)st.st_size};
    struct manifest_part *layers = xcalloc(i->n_layers + 1, sizeof(*layers));
    for (size_t n = 0; n < i->n_layers; n++)
        layers[n] = (struct manifest_part){media_type_of_layer("none"), i->layers[n].diff_id,
                                           i->layers[n].tar_bytes};
    *ret_text = manifest_make(&config, layers, i->n_layers);
    free(layers);
    return 0;
}

/* The file and the row that keeps it, in one transaction as everywhere (publish.c). */
static int keep(struct store *s, const char *image_id, const char *digest, const char *text,
                struct error *err)
{
    _cleanup_close_ int blobs = image_open_dir(s, "blobs/sha256", err);
    if (blobs < 0)
        return blobs;
    int r = store_begin(s, err);
    if (r < 0)
        return r;
    if (faccessat(blobs, digest_hex(digest), F_OK, 0) < 0 &&
        (r = file_write_atomic(blobs, digest_hex(digest), text, strlen(text), 0400)) < 0)
        r = error_errno(err, r, "write %s", digest);
    if (r == 0)
        r = store_content_set_made(s, image_id, digest, strlen(text), err);
    int ended = store_end(s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

int image_offer(struct store *s, const struct store_image *i, char **ret_digest,
                uint64_t *ret_bytes, struct error *err)
{
    _cleanup_free_ char *text = NULL, *digest = NULL;
    bool disk = false;
    int r = store_disk_get(s, i->id, &disk, NULL, NULL, err);
    if (r == 0 && disk)
        r = error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                      "a disk image is not offered: push it to the registry");
    for (size_t n = 0; r == 0 && n < i->n_layers; n++) /* fsck may have taken one */
        r = check_layer(s, &i->layers[n], err);
    if (r < 0 || (r = store_content_made(s, i->id, ret_digest, ret_bytes, err)) < 0 || *ret_digest)
        return r;
    if ((r = make_manifest(s, i, &text, err)) < 0)
        return r;
    digest = image_text_digest(text, strlen(text));
    if ((r = keep(s, i->id, digest, text, err)) < 0)
        return r;
    *ret_bytes = strlen(text);
    *ret_digest = TAKE_PTR(digest);
    return 0;
}

int image_offer_layer(struct store *s, const char *diff_id, int *ret_fd, pid_t *ret_pid,
                      struct error *err)
{
    _cleanup_free_ char *program = NULL;
    _cleanup_free_ char *erofs = xasprintf("%s/layers/%s.erofs", s->root, digest_hex(diff_id));
    _cleanup_free_ char *split = xasprintf("%s/layers/%s.split", s->root, digest_hex(diff_id));
    int ends[2];
    _cleanup_close_ int data = open(erofs, O_RDONLY | O_CLOEXEC);
    if (data < 0)
        return error_errno(err, errno, "open %s", erofs);
    _cleanup_close_ int recipe = open(split, O_RDONLY | O_CLOEXEC);
    if (recipe < 0)
        return error_errno(err, errno, "open %s", split);
    int r = program_find("proa-layer", &program, err);
    if (r < 0)
        return r;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe");
    _cleanup_close_ int read_end = ends[0], write_end = ends[1];
    char *const argv[] = {
        program, (char *)"tar", (char *)"--split", (char *)"3", (char *)"--out", (char *)"4", NULL};
    const struct process_fd fds[] = {{data, STDIN_FILENO}, {recipe, 3}, {write_end, 4}};
    const struct process_spec spec = {
        .path = program, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    if ((r = process_start(&spec, ret_pid, err)) < 0)
        return r;
    *ret_fd = TAKE_FD(read_end);
    return 0;
}
