/* The checksums in a split's head. They find what a disk has changed, not what a forger has. */
#include <isa-l/crc64.h>

#include "base/fd.h"
#include "wire/layer/layer-internal.h"

#define CRC_BYTES  ((size_t)1 << 20)
#define BLOCK_SIZE 4096u

static int crc_range(int fd, uint64_t at, uint64_t end, uint64_t *crc, struct error *err)
{
    _cleanup_free_ unsigned char *block = malloc(CRC_BYTES);
    if (!block)
        return error_errno(err, ENOMEM, "verify a layer");
    while (at < end) {
        ssize_t n = pread(fd, block, (size_t)MIN(CRC_BYTES, end - at), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read the layer");
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the layer's file is cut off");
        *crc = crc64_ecma_refl(*crc, block, (uint64_t)n);
        at += (uint64_t)n;
    }
    return 0;
}

int split_metadata_crc(int erofs_fd, const struct split_head *h, uint64_t *ret, struct error *err)
{
    uint64_t crc = 0;
    int r = crc_range(erofs_fd, 0, MIN(BLOCK_SIZE, h->erofs_bytes), &crc, err);
    if (r == 0)
        r = crc_range(erofs_fd, MAX(BLOCK_SIZE, h->metadata), h->erofs_bytes, &crc, err);
    if (r == 0)
        *ret = crc;
    return r;
}

int split_verify(const struct split_head *h, int split_fd, int erofs_fd, struct error *err)
{
    uint64_t metadata, frames = 0, end = sizeof(*h) + h->recipe_bytes + h->tails_bytes;
    int r;
    if ((r = crc_range(split_fd, sizeof(*h), end, &frames, err)) < 0 ||
        (r = split_metadata_crc(erofs_fd, h, &metadata, err)) < 0)
        return r;
    if (frames != h->frames_crc || h->metadata < BLOCK_SIZE)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the split of the layer is damaged");
    if (metadata != h->metadata_crc)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the inodes of the layer are damaged");
    return 0;
}
