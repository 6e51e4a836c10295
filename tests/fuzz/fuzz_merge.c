/* One overlay that somebody has made, on nothing and on a raw disk; never more than a few MiB. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/disk/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX (4u << 20)

static int make(const void *data, size_t size)
{
    int fd = memfd_create("merge", MFD_CLOEXEC);
    return fd < 0 || fd_write_all(fd, data, size) < 0 ? -EBADF : fd;
}

static void merge(int overlay, int raw)
{
    _cleanup_close_ int out = make("", 0);
    const struct disk_merge m = {.raw = raw, .overlays = &overlay, .n = 1, .out = out};
    struct error err = ERROR_INIT;
    uint64_t bytes;
    (void)!disk_merge_run(&m, &bytes, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char small[8] = {0, 0, 0, 0, BYTES_MAX >> 24, BYTES_MAX >> 16 & 255};
    _cleanup_close_ int overlay = make(data, size), raw = make("raw", 3);
    if (overlay < 0 || raw < 0)
        return 0;
    for (size_t i = 24; i < 30 && size >= 32; i++)
        if (data[i] > small[i - 24]) {
            (void)!pwrite(overlay, small, sizeof(small), 24);
            break;
        }
    merge(overlay, -EBADF);
    merge(overlay, raw);
    return 0;
}
