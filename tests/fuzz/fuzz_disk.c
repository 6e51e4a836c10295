/* Headers of disk images, and configurations of disks: any bytes. */
#include <stdlib.h>
#include <string.h>

#include "wire/disk/disk.h"
#include "wire/disk/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* vhdx has its tables far behind the beginning: what is past the input is zeros up to there. */
#define FILE_BYTES ((uint64_t)4 << 20)
#define BLOCK      ((size_t)65536)

struct input {
    const uint8_t *data;
    size_t size;
};

static int read_input(void *context, uint64_t offset, void *ret, size_t len)
{
    const struct input *in = context;
    if (offset > FILE_BYTES || len > FILE_BYTES - offset)
        abort(); /* the reader was told how long the file is */
    memset(ret, 0, len);
    /* Blocks of 64 KiB are the same, so that tables can be found at their places. */
    for (size_t done = 0, n; done < len; done += n) {
        size_t at = (size_t)((offset + done) % BLOCK);
        n = MIN(len - done, BLOCK - at);
        if (at < in->size)
            memcpy((char *)ret + done, in->data + at, MIN(n, in->size - at));
    }
    return 0;
}

static void check_headers(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const struct disk_reader r = {&in, FILE_BYTES, read_input};
    enum disk_format guessed;
    uint64_t bytes;
    if (disk_format_guess(&r, &guessed, NULL) < 0)
        abort();
    for (enum disk_format f = DISK_UNKNOWN; f < DISK_FORMATS; f++) {
        bytes = 0;
        if (disk_format_check(&r, f, &bytes, NULL) == 0 && (bytes == 0 || bytes > DISK_MAX_BYTES))
            abort();
    }
}

static void check_index(const char *text, size_t size)
{
    struct disk_index i = {0}, again = {0};
    if (disk_index_parse(text, size, &i, NULL) < 0)
        return;
    _cleanup_free_ char *printed = disk_index_text(&i);
    if (disk_index_parse(printed, strlen(printed), &again, NULL) < 0 ||
        again.n_chunks != i.n_chunks || again.virtual_bytes != i.virtual_bytes)
        abort();
    for (size_t n = 0; n < i.n_chunks; n++)
        if (disk_chunk_length(i.virtual_bytes, i.chunks[n].position) == 0)
            abort();
    disk_index_done(&i);
    disk_index_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_headers(data, size);
    check_index((const char *)data, size);
    return 0;
}
