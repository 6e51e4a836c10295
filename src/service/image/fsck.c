/*
 * A fault is only one when the row that it is about is there after it was seen, too: another
 * command may remove an image while its layers are read. Files without rows are looked for in a
 * write transaction, in which alone files come and go (publish.c).
 */
#include "service/image/fsck.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "service/image/disk.h"
#include "service/image/fsck-internal.h"
#include "service/image/internal.h"
#include "service/store/disk.h"
#include "wire/image/digest.h"

void image_fsck_done(struct image_fsck *f)
{
    strv_free(f->faults);
    strv_free(f->repaired);
    memset(f, 0, sizeof(*f));
}

/* --- layers --- */

static int remove_layer_files(struct check *c, const char *diff_id, struct error *err)
{
    static const char *const endings[] = {"erofs", "split"};
    if (image_unmount_layer(c->s, digest_hex(diff_id)) < 0) {
        strv_addf(&c->f->faults, "layer %s: it is mounted and in use: stop what runs on it first",
                  diff_id);
        return 0;
    }
    _cleanup_close_ int layers = image_open_dir(c->s, "layers", err);
    if (layers < 0)
        return layers;
    int r = store_begin(c->s, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        _cleanup_free_ char *name = xasprintf("%s.%s", digest_hex(diff_id), endings[i]);
        unlinkat(layers, name, 0);
    }
    strv_addf(&c->f->repaired, "layer %s: removed: pull or load its image again", diff_id);
    return store_end(c->s, true, err);
}

static int check_layer(struct check *c, const struct store_layer *l, struct error *err)
{
    struct error why = ERROR_INIT;
    bool known = false;
    int r = image_layer_verify(c->s, l->diff_id, &why);
    c->f->layers++;
    c->f->bytes += l->bytes;
    if (r == 0)
        return 0;
    if (why.kind == ERROR_SYSTEM || why.kind == ERROR_LIMIT) { /* not the layer's fault */
        *err = why;
        return r;
    }
    r = store_layer_known(c->s, l->diff_id, &known, NULL, err);
    if (r < 0 || !known)
        return r;
    strv_addf(&c->f->faults, "layer %s: %s", l->diff_id, why.msg);
    return c->repair ? remove_layer_files(c, l->diff_id, err) : 0;
}

static int check_layers(struct check *c, struct error *err)
{
    struct store_layer *list = NULL;
    int r = store_layer_list(c->s, &list, err);
    for (size_t i = 0; r == 0 && list[i].diff_id; i++)
        r = check_layer(c, &list[i], err);
    store_layer_list_free(list);
    return r;
}

/* --- images and their documents --- */

/* 0, or -errno with what is wrong. */
static int check_blob(struct check *c, const char *digest, char **ret_text, struct error *why)
{
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", c->s->root, digest_hex(digest));
    _cleanup_free_ char *text = NULL, *found = NULL;
    int r = file_read(AT_FDCWD, path, JSON_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(why, r, "read %s", path);
    c->f->blobs++;
    c->f->bytes += strlen(text);
    /* A document has no NUL: one that has is not what it was either way. */
    found = image_text_digest(text, strlen(text));
    if (strcmp(found, digest) != 0)
        return error_set(why, ERROR_CORRUPT, EBADMSG, "%s does not have the digest of its name",
                         path);
    *ret_text = TAKE_PTR(text);
    return 0;
}

static int check_config(struct check *c, const struct store_image *i, const char *text,
                        struct error *why)
{
    _cleanup_(image_config_done) struct image_config config = {0};
    bool disk = false;
    int r = store_disk_get(c->s, i->id, &disk, NULL, NULL, why);
    if (r < 0 || disk)
        return r < 0 ? r : disk_verify_config(c->s, i->id, text, strlen(text), why);
    r = image_config_parse(text, strlen(text), &config, why);
    if (r < 0)
        return r;
    bool same = strv_len(config.diff_ids) == i->n_layers;
    for (size_t n = 0; same && n < i->n_layers; n++)
        same = strcmp(config.diff_ids[n], i->layers[n].diff_id) == 0;
    return same ? 0
                : error_set(why, ERROR_CORRUPT, EBADMSG,
                            "its configuration names other layers than the store");
}

/* The image goes when no instance is made of it; the document goes in any case. */
static int remove_broken(struct check *c, const struct store_image *i, const char *digest,
                         struct error *err)
{
    struct store_layer *unused = NULL;
    uint64_t disk_bytes;
    _cleanup_free_ char *user = NULL;
    _cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", c->s->root, digest_hex(digest));
    int r = store_begin(c->s, err);
    if (r < 0)
        return r;
    r = store_image_user(c->s, i->id, &user, err);
    if (r == 0 && !user)
        r = store_disk_remove(c->s, i->id, &disk_bytes, err);
    if (r == 0 && !user)
        r = store_image_remove(c->s, i->id, &unused, err);
    if (r == 0)
        unlink(path);
    int ended = store_end(c->s, r == 0, r == 0 ? err : NULL);
    store_layer_list_free(unused);
    if (r < 0 || ended < 0)
        return r < 0 ? r : ended;
    strv_addf(&c->f->repaired, "image %s: %s removed: pull or load it again", i->id,
              user ? "document" : "it was");
    return 0;
}

static int report_image(struct check *c, const struct store_image *i, const char *digest,
                        const struct error *why, struct error *err)
{
    _cleanup_(store_image_done) struct store_image again = {0};
    if (why->kind == ERROR_LIMIT) {
        *err = *why;
        return -why->code;
    }
    int r = store_image_by_id(c->s, i->id, &again, err);
    if (r == -ENOENT)
        return 0; /* removed meanwhile */
    if (r < 0)
        return r;
    strv_addf(&c->f->faults, "image %s%s%s%s: %s", i->id, i->names[0] ? " (" : "",
              i->names[0] ? i->names[0] : "", i->names[0] ? ")" : "", why->msg);
    return c->repair ? remove_broken(c, i, digest, err) : 0;
}

static int check_image(struct check *c, const struct store_image *i, struct error *err)
{
    struct error why = ERROR_INIT;
    _cleanup_free_ char *config = NULL, *manifest = NULL;
    c->f->images++;
    int r = check_blob(c, i->id, &config, &why);
    if (r == 0)
        r = check_config(c, i, config, &why);
    if (r < 0)
        return report_image(c, i, i->id, &why, err);
    if (i->manifest && check_blob(c, i->manifest, &manifest, &why) < 0)
        return report_image(c, i, i->manifest, &why, err);
    return 0;
}

static int check_images(struct check *c, struct error *err)
{
    struct store_image *list = NULL;
    int r = store_image_list(c->s, &list, err);
    for (size_t i = 0; r == 0 && list[i].id; i++)
        r = check_image(c, &list[i], err);
    store_image_list_free(list);
    return r;
}

/* --- disks --- */

/* A disk with a broken chunk goes, when no instance is made of it. With the last one the chunk's
 * row goes, so that no later import shares it. */
static int remove_disk(struct check *c, const char *id, struct error *err)
{
    struct store_layer *none = NULL;
    _cleanup_free_ char *user = NULL;
    uint64_t bytes;
    int r = store_begin(c->s, err);
    if (r < 0)
        return r;
    r = store_image_user(c->s, id, &user, err);
    if (r == 0 && !user && (r = store_disk_remove(c->s, id, &bytes, err)) == 0)
        r = store_image_remove(c->s, id, &none, err);
    int ended = store_end(c->s, r == 0, r == 0 ? err : NULL);
    store_layer_list_free(none);
    if (r == 0 && ended == 0 && !user)
        strv_addf(&c->f->repaired, "image %s: it was removed: import or pull it again", id);
    return r < 0 ? r : ended;
}

static int broken_chunk(void *context, int64_t pack, uint32_t position, const char *what,
                        struct error *err)
{
    struct check *c = context;
    _cleanup_strv_ char **ids = NULL;
    strv_add(&c->f->faults, what);
    int r = store_disk_users(c->s, pack, position, &ids, err);
    for (size_t i = 0; r == 0 && c->repair && ids[i]; i++)
        r = remove_disk(c, ids[i], err);
    return r;
}

static int check_disks(struct check *c, struct error *err)
{
    uint64_t bytes = 0;
    int r = disk_verify(c->s, broken_chunk, c, &bytes, err);
    c->f->bytes += bytes;
    return r == 0 && c->repair ? image_remove_orphans(c->s, err) : r;
}

/* --- files that nobody knows --- */

static int look_up_file(struct check *c, const char *below, const char *name, bool *ret_known,
                        struct error *err)
{
    char digest[DIGEST_LEN + 1];
    *ret_known = false;
    if (strcmp(below, "blobs/sha512") == 0) {
        _cleanup_free_ char *longer = xasprintf("sha512:%.128s", name);
        return store_blob_used(c->s, longer, ret_known, err);
    }
    if (strcmp(below, DISK_DIRECTORY) == 0)
        return disk_pack_known(c->s, name, ret_known, err);
    if (strcmp(below, "layers") == 0) {
        if (!digest_from_name(name, ".erofs", digest) && !digest_from_name(name, ".split", digest))
            return 0;
        return store_layer_known(c->s, digest, ret_known, NULL, err);
    }
    return digest_from_name(name, "", digest) ? store_blob_used(c->s, digest, ret_known, err) : 0;
}

static int check_directory(struct check *c, const char *below, struct error *err)
{
    int fd = image_open_dir(c->s, below, err);
    if (fd < 0)
        return fd;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close_fd(fd);
        return error_errno(err, ENOMEM, "read %s", below);
    }
    int r = 0;
    bool known;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        r = look_up_file(c, below, e->d_name, &known, err);
        if (r == 0 && !known)
            strv_addf(&c->f->faults, "%s/%s/%s: belongs to nothing", c->s->root, below, e->d_name);
        if (r == 0 && !known && c->repair && unlinkat(fd, e->d_name, 0) == 0)
            strv_addf(&c->f->repaired, "%s/%s/%s: removed", c->s->root, below, e->d_name);
    }
    closedir(dir);
    return r;
}

static int check_orphans(struct check *c, struct error *err)
{
    _cleanup_free_ char *disks = path_join(c->s->root, DISK_DIRECTORY);
    bool has_disks = access(disks, F_OK) == 0; /* not in an older store */
    int r = store_begin(c->s, err);
    if (r < 0)
        return r;
    r = check_directory(c, "layers", err);
    if (r == 0)
        r = check_directory(c, "blobs/sha256", err);
    if (r == 0 && image_has_sha512(c->s))
        r = check_directory(c, "blobs/sha512", err);
    if (r == 0 && has_disks)
        r = check_directory(c, DISK_DIRECTORY, err);
    int ended = store_end(c->s, r == 0, r == 0 ? err : NULL);
    return r < 0 ? r : ended;
}

int image_fsck(struct store *s, bool repair, struct image_fsck *ret, struct error *err)
{
    struct image_fsck f = {.repaired = strv_copy(NULL)};
    struct check c = {s, repair, &f};
    int r = store_check(s, &f.faults, err);
    if (r == 0)
        r = check_images(&c, err);
    if (r == 0)
        r = check_layers(&c, err);
    if (r == 0)
        r = fsck_content(&c, err);
    if (r == 0)
        r = check_disks(&c, err);
    if (r == 0)
        r = check_orphans(&c, err);
    if (r < 0)
        image_fsck_done(&f);
    else
        *ret = f;
    return r;
}
