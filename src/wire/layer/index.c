/* The outer archive: its regular members go into the spool unless they can stay where they are, its
 * table of contents to the caller. */
#include <openssl/evp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/text.h"
#include "wire/layer/layer-internal.h"

struct index {
    struct layer_tar tar;
    int spool;
    uint64_t spooled;
    bool in_place;
    uint64_t start; /* of the archive in its file */
    json_t *members;
    EVP_MD_CTX *hash;
};

static int spool_contents(struct index *x, struct archive_entry *e, json_t *member,
                          struct error *err)
{
    const void *data;
    size_t len;
    uint64_t offset, size = 0, place = x->spooled;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[LAYER_DIGEST_SIZE] = "sha256:";
    bool small = archive_entry_size(e) <= (la_int64_t)JSON_MAX_BYTES;
    int r;
    if (EVP_DigestInit_ex(x->hash, EVP_sha256(), NULL) != 1)
        return error_set(err, ERROR_SYSTEM, EIO, "compute a digest");
    while ((r = layer_tar_data(&x->tar, &data, &len, &offset, err)) > 0) {
        if (offset != size)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "a sparse member");
        if (x->in_place && size == 0)
            place = x->start + layer_tar_position(&x->tar);
        if (!x->in_place && (r = fd_write_all(x->spool, data, len)) < 0)
            return error_errno(err, r, "unpack the archive");
        if (small && EVP_DigestUpdate(x->hash, data, len) != 1)
            return error_set(err, ERROR_SYSTEM, EIO, "compute a digest");
        size += len;
    }
    if (r < 0)
        return r;
    json_object_set_new(member, "offset", json_integer((json_int_t)place));
    json_object_set_new(member, "size", json_integer((json_int_t)size));
    x->spooled += size;
    if (small && EVP_DigestFinal_ex(x->hash, digest, NULL) == 1) {
        hex_encode(digest, 32, text + 7);
        json_object_set_new(member, "digest", json_string(text));
    }
    return 0;
}

/* The name as the archive's top sees it: no leading slash, no "..", by text only. */
static json_t *normal_name(const char *path)
{
    _cleanup_free_ char *normal = path_normalize(path);
    return json_string(normal + 1); /* NULL when it is not UTF-8 */
}

static json_t *link_target(const char *path, const char *target)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
    _cleanup_free_ char *whole = path_join(dir, target);
    return normal_name(*target == '/' ? target : whole);
}

static int index_member(struct index *x, struct archive_entry *e, struct error *err)
{
    const char *path = archive_entry_pathname(e);
    const char *hard = archive_entry_hardlink(e), *symlink = archive_entry_symlink(e);
    if (!path || strlen(path) > LAYER_PATH_MAX)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "a member without a usable name");
    _cleanup_json_ json_t *member = json_object();
    if (json_object_set_new(member, "name", normal_name(path)) < 0)
        return 0; /* no document could name it */
    if (hard || symlink) {
        if (strlen(hard ? hard : symlink) > LAYER_PATH_MAX)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "a link with an endless target");
        json_t *target = hard ? normal_name(hard) : link_target(path, symlink);
        if (json_object_set_new(member, "link", target) < 0)
            return 0;
    } else if (archive_entry_filetype(e) == AE_IFREG) {
        int r = spool_contents(x, e, member, err);
        if (r < 0)
            return error_prefix(err, "\"%.200s\"", path);
    } else {
        return 0;
    }
    if (json_array_size(x->members) >= LAYER_MAX_MEMBERS)
        return error_set(err, ERROR_LIMIT, EFBIG, "more than %u members", LAYER_MAX_MEMBERS);
    json_array_append(x->members, member);
    return 0;
}

static int index_all(struct index *x, const struct layer_source *source, struct error *err)
{
    struct archive_entry *e;
    struct layer_digests unused;
    off_t start = x->in_place && !source->ranged ? lseek(source->fd, 0, SEEK_CUR) : -1;
    int r = layer_tar_open(&x->tar, source, NULL, err);
    if (r < 0)
        return r;
    x->in_place = start >= 0 && layer_stream_is_plain(x->tar.stream); /* a pipe has no place */
    x->start = start >= 0 ? (uint64_t)start : 0;
    while ((r = layer_tar_next(&x->tar, &e, err)) > 0)
        if ((r = index_member(x, e, err)) < 0)
            return r;
    return r < 0 ? r : layer_tar_finish(&x->tar, &unused, err);
}

int layer_index(const struct layer_source *source, int spool_fd, bool in_place, char **ret_json,
                struct error *err)
{
    struct index x = {
        .spool = spool_fd, .in_place = in_place, .members = json_array(), .hash = EVP_MD_CTX_new()};
    struct layer_source unhashed = *source; /* whoever asks for a member checks that */
    unhashed.unhashed = true;
    _cleanup_json_ json_t *document = json_object();
    json_object_set(document, "members", x.members);
    int r = x.hash ? index_all(&x, &unhashed, err) : error_errno(err, ENOMEM, "read an archive");
    json_object_set_new(document, "in_place", json_boolean(x.in_place));
    if (r == 0)
        *ret_json = json_to_text(document);
    layer_tar_close(&x.tar);
    EVP_MD_CTX_free(x.hash);
    json_decref(x.members);
    return r;
}

int layer_digest(const struct layer_source *source, char ret_digest[static LAYER_DIGEST_SIZE],
                 uint64_t *ret_bytes, struct error *err)
{
    _cleanup_stream_ struct layer_stream *stream = NULL;
    struct layer_source plain = *source;
    struct layer_digests digests;
    const void *data;
    size_t len = 1;
    plain.as_it_is = true;
    int r = layer_stream_open(&plain, &stream, err);
    while (r == 0 && len > 0)
        r = layer_stream_next(stream, &data, &len, err);
    if (r == 0)
        r = layer_stream_digests(stream, &digests, err);
    if (r < 0)
        return r;
    memcpy(ret_digest, digests.archive, sizeof(digests.archive));
    *ret_bytes = digests.archive_bytes;
    return 0;
}
