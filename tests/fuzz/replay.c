/*
 * Feeds a fuzz target every file of its corpus, and a few hundred mutations of each: cuts, flipped
 * bytes, repeated and removed pieces, from a fixed seed, so that two runs see the same inputs. Not
 * a fuzzer: what makes every run of the tests try bytes that nobody wrote by hand.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS = 300, LARGE = 65536, MUTATIONS_LARGE = 20, CORPUS_FILE_MAX = 16 << 20 };

static uint64_t seed = 0x9e3779b97f4a7c15u;

static size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return n ? (size_t)(seed % n) : 0;
}

/* A block of its own for each input, so that a sanitizer sees every read past its end. */
static void feed(const uint8_t *data, size_t size)
{
    _cleanup_free_ uint8_t *copy = xcalloc(size ? size : 1, 1);
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
}

static void mutate(const uint8_t *data, size_t size)
{
    _cleanup_free_ uint8_t *copy = xcalloc(2 * size + 1, 1);
    size_t len = size, changes = 1 + below(4);
    memcpy(copy, data, size);
    for (size_t i = 0; i < changes && len; i++) {
        size_t at = below(len), run = 1 + below(MIN(len - at, (size_t)64));
        switch (below(5)) {
        case 0:
            len = at;
            break;
        case 1:
            copy[at] ^= (uint8_t)(1u << below(8));
            break;
        case 2:
            memset(copy + at, (int)(below(2) ? 0xff : 0), run);
            break;
        case 3:
            memmove(copy + at, copy + at + run, len - at - run);
            len -= run;
            break;
        default:
            if (len + run <= 2 * size) {
                memmove(copy + at + run, copy + at, len - at);
                len += run;
            }
        }
    }
    feed(copy, len);
}

static int replay_file(const char *folder, const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, name), *data = NULL;
    _cleanup_buf_ struct buf bytes = BUF_INIT(CORPUS_FILE_MAX);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fd_read_to_end(fd, &bytes) < 0) {
        fprintf(stderr, "cannot read %s\n", path);
        return -EIO;
    }
    size_t size = bytes.len;
    data = buf_take(&bytes);
    feed((const uint8_t *)data, size);
    for (int i = 0; i < (size > LARGE ? MUTATIONS_LARGE : MUTATIONS); i++)
        mutate((const uint8_t *)data, size);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **entries = NULL;
        int n = scandir(argv[i], &entries, NULL, alphasort);
        for (int k = 0; k < n; k++) {
            if (entries[k]->d_name[0] != '.') {
                if (replay_file(argv[i], entries[k]->d_name) < 0)
                    return 1;
                files++;
            }
            free(entries[k]);
        }
        free(entries);
    }
    if (files == 0) {
        fprintf(stderr, "no corpus\n");
        return 1;
    }
    return 0;
}
