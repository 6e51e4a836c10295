/*
 * ROOT/partial: layers on their way, by the digest of their compressed bytes, until the image that
 * wants them is published.
 *
 *   HEX        the compressed bytes so far; whoever holds a lock on it works on that layer
 *   HEX.new.erofs, HEX.new.split  the layer's files being written
 *   HEX.erofs, HEX.split          finished and verified; true only when HEX.json is there, too
 *   HEX.json   what was found out about it
 *
 * A pull that is interrupted leaves these, and the next one goes on from there: with Range after
 * the bytes that HEX has, or from HEX.erofs at once. A second pull of the same layer waits for the
 * lock and then finds the layer finished. The lock is held for one layer only, and never while
 * waiting for another, so that two pulls cannot wait for each other.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "service/image/fetch.h"
#include "service/image/pull.h"
#include "wire/image/digest.h"

static const char *const endings[] = {".json", ".erofs", ".split", ".new.erofs", ".new.split", ""};
static const char *const files[] = {".split", ".erofs"}; /* of a finished layer */

int image_partial_open(struct store *s, struct error *err)
{
    _cleanup_free_ char *path = path_join(s->root, "partial");
    int r = path_make_dirs(path, 0700);
    return r < 0 ? error_errno(err, r, "create %s", path) : image_open_dir(s, "partial", err);
}

/* The file may have been removed between opening and locking it: then it is another one. */
static bool still_there(int dir, const char *name, int fd)
{
    struct stat by_name, by_fd;
    return fstatat(dir, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &by_fd) == 0 &&
           by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev;
}

int image_partial_lock(int dir, const char *hex, int *ret_fd, struct error *err)
{
    for (;;) {
        _cleanup_close_ int fd = openat(dir, hex, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_errno(err, errno, "create partial/%.12s", hex);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? 0 : error_errno(err, errno, "lock partial/%.12s", hex);
        if (still_there(dir, hex, fd)) {
            *ret_fd = TAKE_FD(fd);
            return 1;
        }
    }
}

static char *file_name(const char *hex, const char *ending)
{
    return xasprintf("%s%s", hex, ending);
}

static char *new_file_name(const char *hex, const char *ending)
{
    return xasprintf("%s.new%s", hex, ending);
}

int image_partial_output(int dir, const char *hex, const char *ending, struct error *err)
{
    _cleanup_free_ char *name = new_file_name(hex, ending);
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0400);
    return fd < 0 ? error_errno(err, errno, "create partial/%s", name) : fd;
}

int image_partial_finish(int dir, const char *hex, const struct store_layer *l, struct error *err)
{
    _cleanup_free_ char *note = file_name(hex, ".json");
    _cleanup_json_ json_t *o =
        json_pack("{sssIsI}", "diff_id", l->diff_id, "bytes", (json_int_t)l->bytes, "tar_bytes",
                  (json_int_t)l->tar_bytes);
    _cleanup_free_ char *text = json_to_text(o);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *from = new_file_name(hex, files[i]), *to = file_name(hex, files[i]);
        if (renameat(dir, from, dir, to) < 0)
            return error_errno(err, errno, "rename partial/%s", from);
    }
    int r = file_write_atomic(dir, note, text, strlen(text), 0600);
    return r < 0 ? error_errno(err, r, "write partial/%.12s.json", hex) : 0;
}

bool image_partial_finished(int dir, const char *hex, struct store_layer *ret)
{
    _cleanup_free_ char *note = file_name(hex, ".json"), *erofs = file_name(hex, ".erofs");
    _cleanup_json_ json_t *o = NULL;
    const char *diff_id = NULL;
    int64_t bytes = -1, tar_bytes = -1;
    struct stat st;
    if (json_parse_file(dir, note, &o, NULL) < 0 ||
        json_get_string(o, note, "diff_id", &diff_id, NULL) < 0 ||
        json_get_i64(o, note, "bytes", &bytes, NULL) < 0 ||
        json_get_i64(o, note, "tar_bytes", &tar_bytes, NULL) < 0 || !digest_valid(diff_id) ||
        fstatat(dir, erofs, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size != bytes)
        return false;
    *ret = (struct store_layer){
        .diff_id = xstrdup(diff_id), .bytes = (uint64_t)bytes, .tar_bytes = (uint64_t)tar_bytes};
    return true;
}

int image_partial_link(int dir, const char *hex, int to, const char *to_hex, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *from = file_name(hex, files[i]), *name = file_name(to_hex, files[i]);
        if (linkat(dir, from, to, name, 0) < 0 && errno != EEXIST)
            return error_errno(err, errno, "take partial/%s", from);
    }
    return 0;
}

void image_partial_remove(int dir, const char *hex)
{
    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        _cleanup_free_ char *name = file_name(hex, endings[i]);
        unlinkat(dir, name, 0);
    }
}

void image_partial_release(int dir, const char *hex)
{
    _cleanup_close_ int fd = -EBADF;
    if (faccessat(dir, hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
        image_partial_lock(dir, hex, &fd, NULL) > 0)
        image_partial_remove(dir, hex);
}

void image_partial_prune(struct store *s, int64_t age_s)
{
    int fd = image_open_dir(s, "partial", NULL);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    struct stat st;
    if (!dir) {
        close_fd(fd);
        return;
    }
    while ((e = readdir(dir))) {
        char digest[DIGEST_LEN + 1];
        if (digest_from_name(e->d_name, "", digest) &&
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_mtime + age_s <= time(NULL))
            image_partial_release(fd, e->d_name);
    }
    closedir(dir);
}
