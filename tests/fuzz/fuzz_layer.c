/* A layer archive of any bytes becomes an EROFS file or one error. What is written must be a whole
 * number of blocks, and give the same tar back. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "wire/layer/layer.h"

#define MOST_BYTES ((uint64_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_output(int fd, int split, const struct layer_result *result)
{
    struct stat st;
    struct error err = ERROR_INIT;
    struct layer_sink_result back = {0};
    struct layer_back how = {
        .split_fd = split,
        .erofs_fd = fd,
        .out_fd = -EBADF,
        .max_bytes = MOST_BYTES,
        .verify = true,
    };
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != result->erofs_bytes || st.st_size % 4096 != 0)
        abort();
    if (layer_tar(&how, &back, &err) < 0 || strcmp(back.plain, result->digests.tar) != 0 ||
        back.plain_bytes != result->digests.tar_bytes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct layer_result result = {0};
    char *json = NULL;
    _cleanup_close_ int in = memfd_create("in", MFD_CLOEXEC);
    _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
    _cleanup_close_ int split = memfd_create("split", MFD_CLOEXEC);
    _cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);
    if (in < 0 || out < 0 || split < 0 || spool < 0 || fd_write_all(in, data, size) < 0)
        abort();
    struct layer_source source = {.fd = in, .ranged = true, .size = size, .max_bytes = MOST_BYTES};
    struct layer_target to = {out, split, size % 2 == 0};
    if (layer_convert(&source, &to, &result, &err) == 0)
        check_output(out, split, &result);
    else if (err.msg[0] == '\0')
        abort();
    if (layer_index(&source, spool, size % 2 == 0, &json, &err) == 0)
        free(json);
    return 0;
}
