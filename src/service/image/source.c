/*
 * What is loaded: an archive, of which proa-layer has made an index of where each member is, in the
 * archive itself where that is an uncompressed file, otherwise in an unnamed spool file that it has
 * put them into; or a directory with an OCI layout, opened strictly beneath it.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "service/image/internal.h"

#define LINKS_MAX 10

void image_part_done(struct image_part *p)
{
    p->fd = close_fd(p->fd);
    free(p->digest);
    p->digest = NULL;
}

void image_source_close(struct image_source *x)
{
    x->dir = close_fd(x->dir);
    x->spool = close_fd(x->spool);
    json_decref(x->members);
    x->members = NULL;
}

static int open_archive(struct image_work *w, int fd, struct image_source *x, struct error *err)
{
    _cleanup_json_ json_t *index = NULL;
    json_t *members = NULL;
    bool in_place = false;
    x->spool = image_work_unnamed(w, err);
    if (x->spool < 0)
        return x->spool;
    struct image_helper h = {.command = "index", .in = fd, .out = x->spool, .in_place = true};
    int r = image_helper_run(&h, &index, err);
    if (r < 0 || (r = json_get_array(index, "proa-layer", "members", &members, err)) < 0 ||
        (r = json_get_bool(index, "proa-layer", "in_place", &in_place, err)) < 0)
        return r;
    x->in_place = in_place;
    if (in_place) {
        close_fd(x->spool);
        x->spool = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (x->spool < 0)
            return error_errno(err, errno, "duplicate a descriptor");
    }
    x->members = json_object();
    json_t *member;
    size_t i;
    json_array_foreach(members, i, member)
    {
        const char *name = json_string_value(json_object_get(member, "name"));
        if (name) /* the last of several of one name counts, as when unpacking */
            json_object_set(x->members, name, member);
    }
    return 0;
}

int image_source_open(struct image_work *w, int fd, const char *path, struct image_source *ret,
                      struct error *err)
{
    struct image_source x = {.dir = -EBADF, .spool = -EBADF};
    _cleanup_close_ int opened = -EBADF;
    struct stat st;
    if (fd < 0 && !path)
        return error_invalid(err, "nothing to load");
    if (fd < 0) {
        fd = opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
            return error_errno(err, errno, "open %s", path);
    }
    int r = 0;
    if (fstat(fd, &st) < 0)
        r = error_errno(err, errno, "look at the archive");
    else if (S_ISDIR(st.st_mode))
        x.dir = opened >= 0 ? TAKE_FD(opened) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    else
        r = open_archive(w, fd, &x, err);
    if (r < 0)
        image_source_close(&x);
    else
        *ret = x;
    return r;
}

static int not_there(const char *name, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, ENOENT, "there is no %.200s in it", name);
}

static int find_member(const struct image_source *x, const char *name, struct image_part *p,
                       struct error *err)
{
    _cleanup_free_ char *normal = path_normalize(name);
    const char *key = normal + 1, *digest = NULL;
    const json_t *m = NULL;
    int64_t offset = -1, size = -1;
    int r;
    for (int links = 0; links <= LINKS_MAX; links++) {
        m = json_object_get(x->members, key);
        const char *target = m ? json_string_value(json_object_get(m, "link")) : NULL;
        if (!target)
            break;
        key = target;
        m = NULL;
    }
    if (!m)
        return not_there(name, err);
    if ((r = json_get_i64(m, "member", "offset", &offset, err)) < 0 ||
        (r = json_get_i64(m, "member", "size", &size, err)) < 0 ||
        (r = json_get_string(m, "member", "digest", &digest, err)) < 0)
        return r;
    if (offset < 0 || size < 0)
        return not_there(name, err);
    p->offset = (uint64_t)offset;
    p->size = (uint64_t)size;
    if (!x->in_place) /* otherwise of what is read when it is read */
        p->digest = xstrdup(digest);
    p->fd = fcntl(x->spool, F_DUPFD_CLOEXEC, 3);
    return p->fd < 0 ? error_errno(err, errno, "duplicate a descriptor") : 0;
}

static int find_file(const struct image_source *x, const char *name, struct image_part *p,
                     struct error *err)
{
    struct stat st;
    p->fd = path_open_beneath(x->dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (p->fd == -ENOENT)
        return not_there(name, err);
    if (p->fd < 0)
        return error_errno(err, p->fd, "open %.200s", name);
    if (fstat(p->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%.200s is no regular file", name);
    p->size = (uint64_t)st.st_size;
    return 0;
}

int image_source_find(const struct image_source *x, const char *name, struct image_part *ret,
                      struct error *err)
{
    struct image_part p = {.fd = -EBADF};
    int r = x->dir >= 0 ? find_file(x, name, &p, err) : find_member(x, name, &p, err);
    if (r < 0)
        image_part_done(&p);
    else
        *ret = p;
    return r;
}

static int read_part(const struct image_part *p, char *text, struct error *err)
{
    size_t done = 0;
    while (done < p->size) {
        ssize_t n = pread(p->fd, text + done, p->size - done, (off_t)(p->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(err, n < 0 ? errno : EIO, "read a document");
        done += (size_t)n;
    }
    return 0;
}

int image_source_text(const struct image_source *x, const char *name, char **ret_text,
                      size_t *ret_len, char **ret_digest, struct error *err)
{
    _cleanup_part_ struct image_part p = {.fd = -EBADF};
    int r = image_source_find(x, name, &p, err);
    if (r < 0)
        return r;
    if (p.size > JSON_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%.200s is larger than %zu bytes", name,
                         JSON_MAX_BYTES);
    _cleanup_free_ char *text = xcalloc(p.size + 1, 1);
    _cleanup_free_ char *digest = TAKE_PTR(p.digest);
    if ((r = read_part(&p, text, err)) < 0)
        return r;
    if (!digest)
        digest = image_text_digest(text, p.size);
    *ret_len = p.size;
    *ret_text = TAKE_PTR(text);
    *ret_digest = TAKE_PTR(digest);
    return 0;
}
