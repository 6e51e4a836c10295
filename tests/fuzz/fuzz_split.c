/* A split of any bytes, over an EROFS file of any bytes: the tar it gives is never longer than it
 * is allowed to be. Once the input is the split as it is; once its parts become frames behind a
 * head that fits them, so that what is behind that is reached. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>

#include "base/fd.h"
#include "wire/layer/split.h"

#define MOST_BYTES ((uint64_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *context, const void *data, size_t len, struct error *err)
{
    uint64_t *sum = context;
    (void)data;
    (void)err;
    *sum += len;
    return 0;
}

static void play(int split, int erofs)
{
    struct error err = ERROR_INIT;
    struct split_head head;
    uint64_t sum = 0;
    struct split_source source = {split, erofs, MOST_BYTES, count, &sum};
    int r = split_play(&source, &head, &err);
    if (sum > MOST_BYTES || (r == 0 && sum != head.tar_bytes) || (r < 0 && err.msg[0] == '\0'))
        abort();
    if (r == 0)
        (void)!split_verify(&head, split, erofs, &err);
}

/* Frames that are good zstd, whatever they say. */
static int write_frames(int fd, const uint8_t *recipe, size_t recipe_len, const uint8_t *tails,
                        size_t tails_len, uint64_t erofs_bytes)
{
    char packed[2][8192];
    size_t a = ZSTD_compress(packed[0], sizeof(packed[0]), recipe, MIN(recipe_len, 4096), 1);
    size_t b = ZSTD_compress(packed[1], sizeof(packed[1]), tails, MIN(tails_len, 4096), 1);
    struct split_head head = {
        .magic = SPLIT_MAGIC,
        .version = SPLIT_VERSION,
        .tar_bytes = recipe_len * 16,
        .erofs_bytes = erofs_bytes,
        .recipe_bytes = a,
        .tails_bytes = b,
        .tails = tails_len / 4,
    };
    int r = fd_write_all(fd, &head, sizeof(head));
    if (r == 0)
        r = fd_write_all(fd, packed[0], a);
    return r < 0 ? r : fd_write_all(fd, packed[1], b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t rest = size - 2, erofs_len = MIN((size_t)data[0] * 16, rest);
    size_t tails_len = MIN((size_t)data[1], rest - erofs_len);
    const uint8_t *tails = data + 2 + erofs_len, *recipe = tails + tails_len;
    size_t recipe_len = rest - erofs_len - tails_len;
    _cleanup_close_ int erofs = memfd_create("erofs", MFD_CLOEXEC);
    _cleanup_close_ int raw = memfd_create("raw", MFD_CLOEXEC);
    _cleanup_close_ int made = memfd_create("made", MFD_CLOEXEC);
    if (erofs < 0 || raw < 0 || made < 0 || fd_write_all(erofs, data + 2, erofs_len) < 0 ||
        fd_write_all(raw, data, size) < 0 ||
        write_frames(made, recipe, recipe_len, tails, tails_len, erofs_len) < 0)
        abort();
    play(raw, erofs);
    play(made, erofs);
    return 0;
}
