/*
 * Where a build reads from: a directory, or an archive on stdin. An archive is never unpacked: it
 * becomes a read-only file system as a layer does, made by the program without privilege that reads
 * archives. Paths of the context are resolved inside of it, as if it were a root.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/build-internal.h"
#include "kernel/mount.h"

static int read_text(int fd, size_t max, const char *name, struct buf *out, struct error *err)
{
    out->max = max;
    int r = fd_read_to_end(fd, out);
    if (r == -EFBIG)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is larger than %zu bytes", name, max);
    return r < 0 ? error_errno(err, r, "read %s", name) : 0;
}

/* A regular file of the context; -ENOENT without a message. */
static int open_member(struct build *b, const char *path)
{
    struct stat st;
    int fd = b->context.fd < 0 ? -ENOENT
                               : path_open_in_root(b->context.fd, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close_fd(fd);
        return -EINVAL;
    }
    return fd;
}

/* --- the context --- */

bool build_is_archive(int fd)
{
    static const struct {
        const char *bytes;
        size_t len, at;
    } magics[] = {{"ustar", 5, 257},
                  {"\x1f\x8b", 2, 0},
                  {"\x28\xb5\x2f\xfd", 4, 0},
                  {"\xfd\x37zXZ\0", 6, 0},
                  {"BZh", 3, 0}};
    char head[512] = {0};
    if (pread(fd, head, sizeof(head), 0) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if (memcmp(head + magics[i].at, magics[i].bytes, magics[i].len) == 0)
            return true;
    return false;
}

/* Stdin in a file without a name, so that its kind can be looked at. */
static int spool_stdin(struct build *b, struct error *err)
{
    if (isatty(STDIN_FILENO))
        return error_invalid(err, "there is nothing on stdin: redirect a Containerfile or an "
                                  "archive to it");
    _cleanup_close_ int fd = openat(b->image.work_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fd_copy(STDIN_FILENO, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, r, "keep what is on stdin") : TAKE_FD(fd);
}

/* Mounted among the build's own mounts, so that parts of it can be bound into a step. */
static int open_archive(struct build *b, int fd, struct error *err)
{
    _cleanup_free_ char *place = NULL;
    _cleanup_close_ int mount = -EBADF, target = -EBADF;
    int r = build_mount_point(b, true, &place, err);
    if (r == 0 && (r = image_build_archive(&b->image, fd, &mount, err)) < 0)
        (void)error_prefix(err, "the context on stdin");
    if (r < 0)
        return r;
    target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0 || (r = mount_attach(mount, target)) < 0)
        return error_errno(err, target < 0 ? errno : r, "mount the context");
    b->context.fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return b->context.fd < 0 ? error_errno(err, errno, "open the context") : 0;
}

static int check_url(const char *context, struct error *err)
{
    static const char *const schemes[] = {"http://", "https://", "git://",
                                          "git@",    "ssh://",   "github.com/"};
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (strncmp(context, schemes[i], strlen(schemes[i])) == 0)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "%.100s: a context is a directory or an archive on stdin; clone or "
                             "download it first",
                             context);
    return 0;
}

static int open_directory(struct build *b, struct error *err)
{
    int r = check_url(b->o->context, err);
    if (r < 0)
        return r;
    b->context.fd = open(b->o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return b->context.fd < 0 ? error_errno(err, errno, "context %s", b->o->context) : 0;
}

bool build_is_excluded(const struct build *b, const char *path, bool **ret_matched)
{
    bool excluded = false, *parent = NULL;
    for (const char *end = path; *end && b->ignore.n > 0; end += *end == '/') {
        end += strcspn(end, "/");
        _cleanup_free_ char *prefix = xstrndup(path, (size_t)(end - path));
        bool *own = xcalloc(b->ignore.n, sizeof(*own));
        excluded = ignore_excludes(&b->ignore, prefix, parent, own);
        free(parent);
        parent = own;
    }
    *ret_matched = parent;
    return excluded;
}

/* --- the Containerfile --- */

static int read_named(struct build *b, const char *name, struct buf *out, struct error *err)
{
    bool archive = strcmp(b->o->context, "-") == 0;
    _cleanup_close_ int fd = archive ? open_member(b, name) : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && !archive && errno == ENOENT && *name != '/')
        fd = open_member(b, name); /* as Podman has it */
    if (fd < 0)
        return error_errno(err, archive ? fd : ENOENT, "%s", name);
    return read_text(fd, CONTAINERFILE_MAX_BYTES, name, out, err);
}

static int read_default(struct build *b, char **ret_name, struct buf *out, struct error *err)
{
    static const char *const names[] = {"Containerfile", "Dockerfile"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_close_ int fd = open_member(b, names[i]);
        if (fd >= 0) {
            *ret_name = xstrdup(names[i]);
            return read_text(fd, CONTAINERFILE_MAX_BYTES, names[i], out, err);
        }
        if (fd != -ENOENT)
            return error_errno(err, fd, "%s of the context", names[i]);
    }
    return error_set(err, ERROR_NOT_FOUND, ENOENT,
                     "there is no Containerfile or Dockerfile in %s: name one with -f",
                     b->o->context);
}

/* FILE.dockerignore beside the Containerfile, else those of the context. */
static int read_ignore(struct build *b, const char *file, struct error *err)
{
    _cleanup_free_ char *own = xasprintf("%s.dockerignore", file);
    const char *const names[] = {own, ".containerignore", ".dockerignore"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_buf_ struct buf text = BUF_INIT(0);
        _cleanup_close_ int fd = i == 0 ? open(own, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
        if (fd < 0)
            fd = open_member(b, names[i]);
        if (fd == -ENOENT)
            continue;
        int r = fd < 0 ? error_errno(err, fd, "%s", names[i])
                       : read_text(fd, IGNORE_MAX_BYTES, names[i], &text, err);
        return r < 0
                   ? r
                   : ignore_parse(text.data ? text.data : "", text.len, names[i], &b->ignore, err);
    }
    return 0;
}

int build_context_open(struct build *b, struct buf *ret_text, char **ret_name, struct error *err)
{
    const char *file = b->o->file;
    bool stdin_context = strcmp(b->o->context, "-") == 0;
    bool stdin_file = file && strcmp(file, "-") == 0;
    _cleanup_close_ int spool = -EBADF;
    int r = 0;
    if (stdin_context && stdin_file)
        return error_invalid(err, "context and Containerfile cannot both be on stdin");
    if (stdin_context || stdin_file) {
        if ((spool = spool_stdin(b, err)) < 0)
            return spool;
    }
    bool archive = stdin_context && build_is_archive(spool);
    if (!stdin_context)
        r = open_directory(b, err);
    else if (archive)
        r = open_archive(b, spool, err);
    if (r < 0)
        return r;
    *ret_name = xstrdup(stdin_file || (stdin_context && !archive) ? "stdin" : file);
    if (stdin_file || (stdin_context && !archive))
        r = read_text(spool, CONTAINERFILE_MAX_BYTES, "stdin", ret_text, err);
    else
        r = file ? read_named(b, file, ret_text, err) : read_default(b, ret_name, ret_text, err);
    return r < 0 ? r : read_ignore(b, *ret_name, err);
}
