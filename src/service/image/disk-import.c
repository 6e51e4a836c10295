/*
 * Importing a disk. A raw image is cut straight from where it is. Any other is copied into the work
 * directory first (without a copy where the file system can share extents), because qemu-img runs
 * as a user who could not open the original, and so that the bytes whose headers were checked are
 * the bytes that it reads.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/disk-internal.h"
#include "service/trust/trust.h"
#include "wire/disk/format.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

#define SECTOR ((uint64_t)DISK_SECTOR)

struct image_file {
    int fd;
    char format[16];
    uint64_t virtual_bytes;
};

bool disk_is_image(int fd)
{
    struct disk_reader reader;
    enum disk_format format = DISK_UNKNOWN;
    /* Only the first bytes are compared: nothing is parsed here. */
    return disk_reader_open(&fd, &reader, NULL) == 0 &&
           disk_format_guess(&reader, &format, NULL) == 0 && format != DISK_UNKNOWN;
}

static int check(int fd, const char *format, struct image_file *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const char *found = NULL;
    int64_t bytes = 0;
    char *argv[] = {(char *)"check", format ? (char *)"--format" : NULL, (char *)format, NULL};
    const struct disk_helper h = {.argv = argv, .in = fd, .in_as = STDIN_FILENO, .out = -EBADF};
    int r = disk_helper_run(&h, &o, err);
    if (r < 0 || (r = json_get_string(o, "proa-disk", "format", &found, err)) < 0 ||
        (r = json_get_i64(o, "proa-disk", "virtual_bytes", &bytes, err)) < 0)
        return r;
    *ret = (struct image_file){.fd = fd, .virtual_bytes = (uint64_t)bytes};
    snprintf(ret->format, sizeof(ret->format), "%s", found ? found : "");
    return 0;
}

int disk_check_file(int fd, const char *format, char **ret_format, uint64_t *ret_bytes,
                    struct error *err)
{
    struct image_file file;
    int r = check(fd, format ? format : disk_is_image(fd) ? NULL : "raw", &file, err);
    if (r < 0)
        return r;
    *ret_format = xstrdup(file.format);
    *ret_bytes = file.virtual_bytes;
    return 0;
}

static int new_file(struct image_work *w, const char *name, struct error *err)
{
    int fd = openat(w->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(err, errno, "create a file in %s/tmp", w->store->root) : fd;
}

/* A copy of one's own; holes stay holes. */
static int stage(struct image_work *w, int from, int *ret_fd, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = new_file(w, "staged", err);
    if (fd < 0)
        return fd;
    int r = 0;
    if (ioctl(fd, FICLONE, from) < 0) {
        bool regular = fstat(from, &st) == 0 && S_ISREG(st.st_mode);
        if (regular && ftruncate(fd, st.st_size) < 0)
            r = -errno;
        if (r == 0)
            r = regular ? disk_copy_range(from, 0, fd, 0, (uint64_t)st.st_size) : fd_copy(from, fd);
    }
    if (r < 0)
        return error_errno(err, r, "copy the disk image into %s/tmp", w->store->root);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Only what is a file can be looked at twice. */
static int make_file(struct image_work *w, int fd, int *ret_fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, "look at the disk image");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return stage(w, fd, ret_fd, err);
    *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *ret_fd < 0 ? error_errno(err, errno, "open the disk image") : 0;
}

static int convert(struct image_work *w, const struct image_file *source, int pack,
                   struct error *err)
{
    struct image_file staged;
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    int r = fstat(source->fd, &st) < 0 ? error_errno(err, errno, "look at the disk image") : 0;
    /* A pipe was staged already, and its file has no name elsewhere. */
    if (r == 0)
        r = stage(w, source->fd, &fd, err);
    if (r < 0 || (r = check(fd, source->format, &staged, err)) < 0)
        return r;
    if (staged.virtual_bytes != source->virtual_bytes)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the disk image changes while it is read");
    if (ftruncate(pack, (off_t)source->virtual_bytes) < 0)
        return error_errno(err, errno, "make room for the disk");
    r = disk_helper_convert(fd, source->format, pack, "raw", source->virtual_bytes, err);
    unlinkat(w->fd, "staged", 0);
    if (r == 0 && geteuid() == 0 && fchown(pack, 0, 0) < 0)
        r = error_errno(err, errno, "take the disk back");
    return r;
}

/* The file "pack" in the work directory: the whole disk, raw and sparse; and its chunks. */
static int make_pack(struct image_work *w, const struct disk_import *how, struct disk_index *ret,
                     struct error *err)
{
    struct image_file source;
    _cleanup_close_ int fd = -EBADF, pack = -EBADF;
    int r = make_file(w, how->fd, &fd, err);
    if (r < 0)
        return r;
    const char *format = how->format ? how->format : disk_is_image(fd) ? NULL : "raw";
    if ((r = check(fd, format, &source, err)) < 0)
        return r;
    if ((pack = new_file(w, "pack", err)) < 0)
        return pack;
    source.virtual_bytes = (source.virtual_bytes + SECTOR - 1) / SECTOR * SECTOR;
    if (strcmp(source.format, "raw") == 0) {
        r = disk_helper_cut(fd, pack, source.virtual_bytes, how, ret, err);
    } else {
        unlinkat(w->fd, "staged", 0);
        r = convert(w, &source, pack, err);
        if (r == 0)
            r = disk_helper_cut(pack, -EBADF, source.virtual_bytes, how, ret, err);
    }
    return r == 0 && fchmod(pack, 0400) < 0 ? error_errno(err, errno, "make the disk read-only")
                                            : r;
}

static int finish_row(struct image_draft *d, const struct disk_index *index, const char *name,
                      struct error *err)
{
    _cleanup_free_ char *text = disk_index_text(index);
    d->row.id = image_text_digest(text, strlen(text));
    d->row.architecture = xstrdup(index->architecture);
    d->row.os = xstrdup("any");
    d->row.created_ns = time_now_ns();
    if (name)
        strv_add(&d->row.names, name);
    return image_draft_blob(d, d->row.id, text, strlen(text), err);
}

int disk_import(struct store *s, const struct disk_import *how, char **ret_id, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_(image_draft_done) struct image_draft draft = {.work = &work};
    _cleanup_(disk_index_done) struct disk_index index = {0};
    _cleanup_free_ char *name = NULL;
    int r;
    if (how->name && (r = image_name_parse(how->name, &name, err)) < 0)
        return r;
    if ((r = trust_check_local(s, TRUST_TRANSPORT_TAR, NULL, err)) < 0 ||
        (r = image_work_begin(s, &work, err)) < 0)
        return r;
    if ((r = make_pack(&work, how, &index, err)) < 0)
        return error_prefix(err, "import");
    index.architecture =
        xstrdup(how->architecture ? how->architecture : platform_host_architecture());
    if ((r = finish_row(&draft, &index, name, err)) < 0 ||
        (r = disk_publish(&draft, &index, err)) < 0)
        return r;
    *ret_id = xstrdup(draft.row.id);
    return 0;
}
