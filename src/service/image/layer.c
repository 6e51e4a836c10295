/* Giving a layer's tar back, by the helper program. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "service/image/internal.h"
#include "wire/image/digest.h"

int image_layer_known(struct store *s, const char *diff_id, bool *ret_known, uint64_t *ret_bytes,
                      struct error *err)
{
    int r = store_layer_known(s, diff_id, ret_known, ret_bytes, err);
    if (r < 0 || !*ret_known)
        return r;
    _cleanup_free_ char *erofs = xasprintf("%s/layers/%s.erofs", s->root, digest_hex(diff_id));
    _cleanup_free_ char *split = xasprintf("%s/layers/%s.split", s->root, digest_hex(diff_id));
    *ret_known = access(erofs, F_OK) == 0 && access(split, F_OK) == 0;
    return 0;
}

static int open_file(struct store *s, const char *diff_id, const char *ending, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/layers/%s.%s", s->root, digest_hex(diff_id), ending);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT,
                         "its .%s file is not in the store: pull or load its image again", ending);
    return fd < 0 ? error_errno(err, errno, "open %s", path) : fd;
}

static int check_result(const json_t *o, const char *diff_id, struct image_archive *ret,
                        struct error *err)
{
    const char *made = NULL, *digest = NULL;
    int64_t size = 0;
    int r;
    if ((r = json_get_string(o, "proa-layer", "diff_id", &made, err)) < 0 ||
        (r = json_get_string(o, "proa-layer", "digest", &digest, err)) < 0 ||
        (r = json_get_i64(o, "proa-layer", "size", &size, err)) < 0)
        return r;
    if (!made || !digest || !digest_valid(digest) || size < 0)
        return error_set(err, ERROR_SYSTEM, EIO, "proa-layer gives no digest");
    if (strcmp(made, diff_id) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the layer's file is damaged: it gives %s",
                         made);
    memcpy(ret->digest, digest, DIGEST_LEN + 1);
    ret->bytes = (uint64_t)size;
    return 0;
}

static int write_layer(struct store *s, const char *diff_id, struct image_helper *h,
                       struct image_archive *ret, struct error *err)
{
    _cleanup_json_ json_t *result = NULL;
    if (!digest_valid(diff_id))
        return error_invalid(err, "\"%.100s\" is no layer", diff_id);
    _cleanup_close_ int erofs = open_file(s, diff_id, "erofs", err);
    if (erofs < 0)
        return erofs;
    _cleanup_close_ int split = open_file(s, diff_id, "split", err);
    if (split < 0)
        return split;
    h->command = "tar";
    h->in = erofs;
    h->has_split = true;
    h->split = split;
    int r = image_helper_run(h, &result, err);
    return r < 0 ? r : check_result(result, diff_id, ret, err);
}

int image_layer_write(struct store *s, const char *diff_id, const char *compression, int fd,
                      struct image_archive *ret, struct error *err)
{
    struct image_helper h = {.out = fd, .compress = compression};
    int r = write_layer(s, diff_id, &h, ret, err);
    return r < 0 ? error_prefix(err, "layer %.19s", diff_id) : 0;
}

int image_layer_verify(struct store *s, const char *diff_id, struct error *err)
{
    struct image_helper h = {.out = -EBADF, .verify = true};
    struct image_archive unused;
    return write_layer(s, diff_id, &h, &unused, err);
}
