#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "wire/parcel/parcel.h"

static int put(struct parcel_writer *w, const void *data, size_t len, struct error *err)
{
    int r = fd_write_all(w->fd, data, len);
    sha256_add(&w->hash, data, len);
    return r < 0 ? error_errno(err, r, "write a parcel") : 0;
}

int parcel_begin(struct parcel_writer *w, int fd, struct error *err)
{
    *w = (struct parcel_writer){.fd = fd};
    sha256_init(&w->hash);
    return put(w, PARCEL_MAGIC, PARCEL_MAGIC_LEN, err);
}

static void set_number(unsigned char *p, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, n >>= 8)
        p[i] = (unsigned char)n;
}

int parcel_add(struct parcel_writer *w, enum parcel_type type, uint64_t value, const void *data,
               size_t len, struct error *err)
{
    unsigned char head[PARCEL_FRAME_LEN];
    set_number(head, type, 4);
    set_number(head + 4, len, 4);
    set_number(head + 8, value, 8);
    int r = put(w, head, sizeof(head), err);
    return r < 0 || len == 0 ? r : put(w, data, len, err);
}

static int add_extent(struct parcel_writer *w, int fd, off_t at, off_t end, char *buffer,
                      struct error *err)
{
    int r = 0;
    while (r == 0 && at < end) {
        ssize_t n = pread(fd, buffer, MIN((size_t)(end - at), PARCEL_DATA_MAX), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read a file for a parcel");
        if (n == 0)
            return error_set(err, ERROR_SYSTEM, EIO, "a file became shorter while it was read");
        r = parcel_add(w, PARCEL_DATA, (uint64_t)at, buffer, (size_t)n, err);
        at += n;
    }
    return r;
}

int parcel_add_file(struct parcel_writer *w, const char *name, int fd, struct error *err)
{
    struct stat st;
    _cleanup_free_ char *buffer = malloc(PARCEL_DATA_MAX);
    if (!buffer || fstat(fd, &st) < 0)
        return error_errno(err, buffer ? errno : ENOMEM, "read %s", name);
    int r = parcel_add(w, PARCEL_FILE, (uint64_t)st.st_size, name, strlen(name), err);
    off_t at = 0;
    while (r == 0 && at < st.st_size) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0; /* only a hole is left */
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole < 0)
            return error_errno(err, errno, "read %s", name);
        r = add_extent(w, fd, data, MIN(hole, st.st_size), buffer, err);
        at = hole;
    }
    return r;
}

int parcel_finish(struct parcel_writer *w, struct error *err)
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 all = w->hash;
    sha256_end(&all, digest);
    return parcel_add(w, PARCEL_END, 0, digest, sizeof(digest), err);
}
