/*
 * A member's header says its size, so a layer that is compressed is put into an unnamed file first;
 * one that is not goes straight from proa-layer into the archive, whatever that is.
 */
#include "service/image/target.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "wire/image/digest.h"
#include "wire/tar/tar.h"

static int check_empty(int dir, const char *path, struct error *err)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        int r = error_errno(err, errno, "read %s", path);
        close_fd(copy);
        return r;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(entries));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = error_set(err, ERROR_CONFLICT, ENOTEMPTY, "%s is not empty", path);
    closedir(entries);
    return r;
}

static int open_directory(const char *path, struct error *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", path);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_errno(err, errno, "open %s", path);
    int r = check_empty(dir, path, err);
    return r < 0 ? r : TAKE_FD(dir);
}

int image_target_open(struct image_work *work, int archive, const char *path,
                      struct image_target *ret, struct error *err)
{
    *ret = (struct image_target){
        .work = work, .archive = archive, .dir = -EBADF, .out = BUF_INIT(TAR_MAX_META)};
    if (archive < 0 && (ret->dir = open_directory(path, err)) < 0)
        return ret->dir;
    return 0;
}

void image_target_close(struct image_target *t)
{
    t->dir = close_fd(t->dir);
    buf_done(&t->out);
}

static int flush(struct image_target *t, struct error *err)
{
    int r = fd_write_all(t->archive, t->out.data, t->out.len);
    buf_reset(&t->out);
    return r < 0 ? error_errno(err, r, "write the archive") : 0;
}

int image_target_finish(struct image_target *t, struct error *err)
{
    if (t->archive < 0)
        return 0;
    int r = tar_write_end(&t->out);
    return r < 0 ? error_errno(err, r, "end the archive") : flush(t, err);
}

static int put_header(struct image_target *t, const struct tar_entry *e, struct error *err)
{
    int r = tar_write_header(&t->out, e);
    return r < 0 ? error_errno(err, r, "write the archive") : flush(t, err);
}

static int put_padding(struct image_target *t, uint64_t size, struct error *err)
{
    static const char zeros[TAR_BLOCK_SIZE];
    int r = fd_write_all(t->archive, zeros, tar_padding(size));
    return r < 0 ? error_errno(err, r, "write the archive") : 0;
}

int image_target_dir(struct image_target *t, const char *name, struct error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/", name);
    const struct tar_entry e = {.type = TAR_DIRECTORY, .path = path, .mode = 0755};
    if (t->archive >= 0)
        return put_header(t, &e, err);
    return mkdirat(t->dir, name, 0755) < 0 ? error_errno(err, errno, "create %s", name) : 0;
}

int image_target_link(struct image_target *t, const char *name, const char *to, struct error *err)
{
    const struct tar_entry e = {.type = TAR_SYMLINK, .path = name, .link = to, .mode = 0777};
    if (t->archive >= 0)
        return put_header(t, &e, err);
    return symlinkat(to, t->dir, name) < 0 ? error_errno(err, errno, "create %s", name) : 0;
}

int image_target_text(struct image_target *t, const char *name, const char *text, size_t len,
                      struct error *err)
{
    const struct tar_entry e = {.type = TAR_FILE, .path = name, .mode = 0644, .size = len};
    int r;
    if (t->archive < 0) {
        r = file_write_atomic(t->dir, name, text, len, 0644);
        return r < 0 ? error_errno(err, r, "write %s", name) : 0;
    }
    if ((r = put_header(t, &e, err)) < 0)
        return r;
    r = fd_write_all(t->archive, text, len);
    return r < 0 ? error_errno(err, r, "write the archive") : put_padding(t, len, err);
}

static int open_member(struct image_target *t, const char *name, struct error *err)
{
    int fd = openat(t->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? error_errno(err, errno, "create %s", name) : fd;
}

int image_target_layer(struct image_target *t, const char *name, const struct image_layer *layer,
                       struct error *err)
{
    _cleanup_close_ int file = -EBADF;
    struct image_archive written;
    const struct tar_entry e = {
        .type = TAR_FILE, .path = name, .mode = 0644, .size = layer->tar_bytes};
    int r;
    if (t->archive >= 0)
        r = put_header(t, &e, err);
    else
        r = (file = open_member(t, name, err)) < 0 ? file : 0;
    if (r < 0)
        return r;
    int fd = t->archive >= 0 ? t->archive : file;
    if ((r = image_layer_write(t->work->store, layer->diff_id, "none", fd, &written, err)) < 0)
        return r;
    if (written.bytes != layer->tar_bytes)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "layer %.19s has %llu bytes instead of %llu",
                         layer->diff_id, (unsigned long long)written.bytes,
                         (unsigned long long)layer->tar_bytes);
    return t->archive >= 0 ? put_padding(t, written.bytes, err) : 0;
}

/* The spooled layer under the name of its digest. */
static int put_spooled(struct image_target *t, int spool, const struct image_archive *a,
                       struct error *err)
{
    _cleanup_free_ char *name = xasprintf("blobs/sha256/%s", digest_hex(a->digest));
    const struct tar_entry e = {.type = TAR_FILE, .path = name, .mode = 0644, .size = a->bytes};
    int r = put_header(t, &e, err);
    if (r < 0)
        return r;
    if (lseek(spool, 0, SEEK_SET) < 0)
        return error_errno(err, errno, "read back a layer");
    r = fd_copy(spool, t->archive);
    return r < 0 ? error_errno(err, r, "write the archive") : put_padding(t, a->bytes, err);
}

static int pack_into_dir(struct image_target *t, const struct image_layer *layer,
                         const char *compression, struct image_archive *ret, struct error *err)
{
    static const char unfinished[] = "blobs/sha256/unfinished";
    _cleanup_close_ int fd = open_member(t, unfinished, err);
    if (fd < 0)
        return fd;
    int r = image_layer_write(t->work->store, layer->diff_id, compression, fd, ret, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = xasprintf("blobs/sha256/%s", digest_hex(ret->digest));
    return renameat(t->dir, unfinished, t->dir, name) < 0
               ? error_errno(err, errno, "rename a layer")
               : 0;
}

int image_target_packed_layer(struct image_target *t, const struct image_layer *layer,
                              const char *compression, struct image_archive *ret, struct error *err)
{
    if (t->archive < 0)
        return pack_into_dir(t, layer, compression, ret, err);
    _cleanup_close_ int spool = image_work_unnamed(t->work, err);
    if (spool < 0)
        return spool;
    int r = image_layer_write(t->work->store, layer->diff_id, compression, spool, ret, err);
    return r < 0 ? r : put_spooled(t, spool, ret, err);
}
