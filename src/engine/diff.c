/*
 * diff. What was changed comes as the list of entries that commit would put into a layer (files
 * without their contents), and each is compared with the root below: it was there (C) or not (A), a
 * whiteout takes something away (D), and an opaque directory everything that it does not bring.
 * Two images are compared file by file.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/archive.h"
#include "engine/engine-internal.h"
#include "engine/pipeline.h"
#include "wire/tar/tar.h"

#define WHITEOUT        ".wh."
#define OPAQUE          ".wh..wh..opq"
#define CHANGES_MAX     2000000u
#define LINE_PATH(line) ((line) + 2)

struct diff {
    struct subject *subject; /* or: */
    int upper;
    int lower; /* the root below; -EBADF: nothing is */
    char **lines;
    size_t n, capacity;
    char **opaque; /* directories that hide what is below */
};

static int add_line(struct diff *d, char kind, const char *path, struct error *err)
{
    if (d->n >= CHANGES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u changes", CHANGES_MAX);
    if (d->n + 2 > d->capacity) {
        d->capacity = MAX(d->capacity * 2, (size_t)256);
        d->lines = xreallocarray(d->lines, d->capacity, sizeof(*d->lines));
    }
    d->lines[d->n++] = xasprintf("%c /%s", kind, path);
    d->lines[d->n] = NULL;
    return 0;
}

static int look_below(const struct diff *d, const char *path, struct stat *ret)
{
    _cleanup_close_ int fd = -EBADF;
    if (d->lower < 0)
        return -ENOENT;
    fd = path_open_beneath(d->lower, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    return fstat(fd, ret) < 0 ? -errno : 0;
}

static int on_entry(struct diff *d, const struct tar_entry *entry, struct error *err)
{
    struct stat st;
    _cleanup_free_ char *path = xstrdup(entry->path);
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        path[--len] = '\0';
    char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strcmp(name, OPAQUE) == 0) {
        if (slash)
            *slash = '\0';
        strv_add(&d->opaque, slash ? path : "");
        return 0;
    }
    if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0) {
        memmove(name, name + strlen(WHITEOUT), strlen(name + strlen(WHITEOUT)) + 1);
        return look_below(d, path, &st) == 0 ? add_line(d, 'D', path, err) : 0;
    }
    return add_line(d, look_below(d, path, &st) == 0 ? 'C' : 'A', path, err);
}

static int read_entries(struct diff *d, int fd, struct error *err)
{
    struct tar_reader reader;
    unsigned char block[65536];
    ssize_t n = 1;
    int r = 0;
    bool ended = false;
    tar_reader_init(&reader);
    while (r == 0 && n > 0 && !ended) {
        n = fd_read_full(fd, block, sizeof(block));
        if (n < 0)
            r = error_errno(err, (int)n, "read the changes");
        const unsigned char *data = block;
        size_t len = n > 0 ? (size_t)n : 0;
        struct tar_event event = {.kind = TAR_EVENT_ENTRY};
        while (r == 0 && !ended && event.kind != TAR_EVENT_MORE) {
            r = tar_reader_next(&reader, &data, &len, &event, err);
            ended = r == 0 && event.kind == TAR_EVENT_END;
            if (r == 0 && event.kind == TAR_EVENT_ENTRY)
                r = on_entry(d, &event.entry, err);
        }
    }
    if (r == 0)
        r = tar_reader_finish(&reader, err);
    tar_reader_done(&reader);
    return r;
}

static int send_changes(void *context, int fd, struct error *err)
{
    const struct diff *d = context;
    if (d->subject)
        return subject_ops(d->subject)->send_tree(&d->subject->target, TREE_CHANGES, fd, err);
    return tree_send_all(d->upper, TREE_CHANGES, fd, err);
}

static int receive_changes(void *context, int fd, struct error *err)
{
    return read_entries(context, fd, err);
}

static int compare_lines(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    return strcmp(LINE_PATH(x), LINE_PATH(y));
}

static bool has_line(const struct diff *d, size_t n, const char *path)
{
    _cleanup_free_ char *line = xasprintf("? /%s", path);
    return bsearch(&line, d->lines, n, sizeof(*d->lines), compare_lines) != NULL;
}

/* What an opaque directory hid and does not bring itself. The first n lines are in order. */
static int add_hidden(struct diff *d, size_t n, const char *directory, struct error *err)
{
    int r = 0;
    int fd = d->lower < 0 ? -ENOENT
                          : path_open_beneath(d->lower, *directory ? directory : ".",
                                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        close_fd(fd);
    for (struct dirent *entry; r == 0 && dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        _cleanup_free_ char *path =
            *directory ? xasprintf("%s/%s", directory, entry->d_name) : xstrdup(entry->d_name);
        if (!has_line(d, n, path))
            r = add_line(d, 'D', path, err);
    }
    if (dir)
        closedir(dir);
    return r;
}

static int collect(struct diff *d, struct error *err)
{
    int r = pipeline_run(send_changes, receive_changes, d, err);
    if (r < 0 || d->n == 0)
        return r;
    qsort(d->lines, d->n, sizeof(*d->lines), compare_lines);
    size_t n = d->n;
    for (size_t i = 0; r == 0 && d->opaque && d->opaque[i]; i++)
        r = add_hidden(d, n, d->opaque[i], err);
    qsort(d->lines, d->n, sizeof(*d->lines), compare_lines);
    return r;
}

static int diff_instance(struct engine *e, struct diff *d, struct subject *s, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r;
    if ((r = subject_needs_tree(s, err)) < 0 ||
        (r = image_find(e->store, s->record.image_id, &image, err)) < 0 ||
        (r = image_need_kind(image, IMAGE_APPLICATION, err)) < 0 ||
        (r = image_open_root(e, image, image->n_layers, NULL, &d->lower, err)) < 0)
        return r;
    subject_unlock(s);
    d->subject = s;
    return collect(d, err);
}

/* The last layer, as it stands in the store, of the image's others. */
static int diff_last_layer(struct engine *e, struct diff *d, const struct image *image,
                           struct error *err)
{
    struct image last = *image;
    if (image->n_layers == 0)
        return 0;
    last.layers += image->n_layers - 1;
    last.n_layers = 1;
    int r = image->n_layers == 1
                ? 0
                : image_open_root(e, image, image->n_layers - 1, NULL, &d->lower, err);
    if (r == 0)
        r = image_open_root(e, &last, 1, NULL, &d->upper, err);
    return r < 0 ? r : collect(d, err);
}

static int add_difference(void *context, char kind, const char *path, struct error *err)
{
    return add_line(context, kind, path, err);
}

static int diff_images(struct engine *e, struct diff *d, const struct image *image,
                       const char *other, struct error *err)
{
    _cleanup_image_ struct image *second = NULL;
    int r;
    if ((r = image_find(e->store, other, &second, err)) < 0 ||
        (r = image_need_kind(second, IMAGE_APPLICATION, err)) < 0 ||
        (r = image_open_root(e, image, image->n_layers, NULL, &d->lower, err)) < 0 ||
        (r = image_open_root(e, second, second->n_layers, NULL, &d->upper, err)) < 0 ||
        (r = tree_compare(d->lower, d->upper, add_difference, d, err)) < 0)
        return r;
    if (d->n > 0)
        qsort(d->lines, d->n, sizeof(*d->lines), compare_lines);
    return 0;
}

static int diff_image(struct engine *e, struct diff *d, const char *reference, const char *other,
                      struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    int r = image_find(e->store, reference, &image, err);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "no such instance or image: %.200s",
                         reference);
    if (r < 0 || (r = image_need_kind(image, IMAGE_APPLICATION, err)) < 0)
        return r;
    return other ? diff_images(e, d, image, other, err) : diff_last_layer(e, d, image, err);
}

static void diff_done(struct diff *d)
{
    close_fd(d->upper);
    close_fd(d->lower);
    strv_free(d->lines);
    strv_free(d->opaque);
}

int engine_diff(struct engine *e, const char *reference, const char *other, char ***ret,
                struct error *err)
{
    _cleanup_(diff_done) struct diff d = {.upper = -EBADF, .lower = -EBADF};
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    int r = other ? -ENOENT : subject_open(e, reference, SUBJECT_LOCKED, &s, err);
    if (r == -ENOENT)
        r = diff_image(e, &d, reference, other, err);
    else if (r == 0)
        r = diff_instance(e, &d, &s, err);
    if (r < 0)
        return r;
    *ret = d.lines ? TAKE_PTR(d.lines) : strv_copy(NULL);
    return 0;
}
