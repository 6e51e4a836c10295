/* A layer's file of any bytes, unpacked: an end, an error with words, or a stream that the
 * receiver's own reader takes; never more than it may be. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/layer/unpack.h"
#include "wire/tar/tar.h"

#define MOST_BYTES ((uint64_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whole, to its end. */
static void read_stream(int fd)
{
    _cleanup_(tar_reader_done) struct tar_reader reader;
    struct error err = ERROR_INIT;
    struct tar_event ev = {.kind = TAR_EVENT_MORE};
    unsigned char chunk[4096];
    ssize_t n = 0;
    tar_reader_init(&reader);
    if (lseek(fd, 0, SEEK_SET) < 0)
        abort();
    while (ev.kind != TAR_EVENT_END && (n = read(fd, chunk, sizeof(chunk))) > 0) {
        const unsigned char *p = chunk;
        size_t len = (size_t)n;
        do {
            if (tar_reader_next(&reader, &p, &len, &ev, &err) < 0)
                abort();
        } while (ev.kind != TAR_EVENT_MORE && ev.kind != TAR_EVENT_END);
    }
    if (ev.kind != TAR_EVENT_END)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct layer_unpacked done = {0};
    _cleanup_close_ int erofs = memfd_create("erofs", 0), out = memfd_create("stream", 0);
    if (erofs < 0 || out < 0 || fd_write_all(erofs, data, size) < 0)
        return 0;
    int r = layer_unpack(erofs, out, MOST_BYTES, &done, &err);
    if (r < 0 && err.msg[0] == '\0')
        abort();
    if (r == 0 && done.bytes > MOST_BYTES)
        abort();
    if (r == 0)
        read_stream(out);
    return 0;
}
