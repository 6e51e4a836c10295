/*
 * A bzImage holds the compressed ELF kernel at an offset that its set-up header states. Debian
 * compresses with LZ4's legacy frame: a magic, then blocks of (u32 compressed size, data) that
 * each unpack to at most 8 MiB, then the kernel build's own u32 with the unpacked size.
 */
#include <fcntl.h>
#include <lz4.h>
#include <string.h>

#include "base/fd.h"
#include "runtime/vm/prepare/prepare.h"

#define IMAGE_MAX_BYTES  ((size_t)128 << 20)
#define KERNEL_MAX_BYTES ((size_t)256 << 20)
#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_BLOCK_MAX    ((size_t)8 << 20)

static const struct {
    const char *name;
    unsigned char magic[4];
    size_t len;
} compressions[] = {
    {"gzip", {0x1f, 0x8b}, 2},
    {"xz", {0xfd, '7', 'z', 'X'}, 4},
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4},
    {"bzip2", {'B', 'Z', 'h'}, 3},
    {"lzo", {0x89, 'L', 'Z', 'O'}, 4},
};

static uint32_t get32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int unpack_lz4(const char *p, size_t len, struct buf *out, struct error *err)
{
    size_t at = 4;
    while (len - at >= 8) {
        size_t packed = get32(p + at);
        char *space;
        at += 4;
        if (packed == 0 || packed > len - at)
            break; /* the unpacked size that ends the payload */
        if (buf_reserve(out, LZ4_BLOCK_MAX, &space) < 0)
            return error_set(err, ERROR_LIMIT, EFBIG, "the kernel is larger than %zu MiB",
                             KERNEL_MAX_BYTES >> 20);
        int n = LZ4_decompress_safe(p + at, space, (int)packed, (int)LZ4_BLOCK_MAX);
        if (n <= 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel's LZ4 data is damaged");
        out->len += (size_t)n;
        at += packed;
    }
    if (out->len < 64 || memcmp(out->data, "\177ELF", 4) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel image holds no ELF kernel");
    return 0;
}

int kernel_unpack(const char *image, size_t len, struct buf *out, struct error *err)
{
    if (len < 0x250 || memcmp(image + 0x202, "HdrS", 4) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "not a bzImage");
    size_t setup = ((unsigned char)image[0x1f1] + (size_t)1) * 512;
    size_t offset = setup + get32(image + 0x248), size = get32(image + 0x24c);
    if (offset > len || size > len - offset || size < 8)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel image is cut short");
    if (get32(image + offset) == LZ4_LEGACY_MAGIC)
        return unpack_lz4(image + offset, size, out, err);
    for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
        if (memcmp(image + offset, compressions[i].magic, compressions[i].len) == 0)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "the kernel is compressed with %s; only LZ4, as in Debian's cloud "
                             "kernel, is understood",
                             compressions[i].name);
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "the kernel's compression is not known; only LZ4 is understood");
}

int kernel_extract(const char *bzimage, const char *to, struct error *err)
{
    _cleanup_buf_ struct buf image = BUF_INIT(IMAGE_MAX_BYTES), kernel = BUF_INIT(KERNEL_MAX_BYTES);
    _cleanup_close_ int in = open(bzimage, O_RDONLY | O_CLOEXEC);
    int r = in < 0 ? -errno : fd_read_to_end(in, &image);
    if (r < 0)
        return error_errno(err, r, "read %s", bzimage);
    r = kernel_unpack(image.data, image.len, &kernel, err);
    if (r < 0)
        return error_prefix(err, "%s", bzimage);
    r = file_write_atomic(AT_FDCWD, to, kernel.data, kernel.len, 0644);
    return r < 0 ? error_errno(err, r, "write %s", to) : 0;
}
