/* The tar reader: any bytes, fed in two different ways, give the same events and no fault. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "wire/tar/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A digest of what was seen: kinds, names, sizes, contents. */
static uint64_t run(const uint8_t *data, size_t size, size_t step)
{
    _cleanup_(tar_reader_done) struct tar_reader reader;
    uint64_t sum = 14695981039346656037u;
    int r = 0;
    tar_reader_init(&reader);
    for (size_t at = 0; at < size && r == 0; at += step) {
        const unsigned char *p = data + at;
        size_t len = MIN(step, size - at);
        struct tar_event ev;
        do {
            r = tar_reader_next(&reader, &p, &len, &ev, NULL);
            if (r < 0 || ev.kind == TAR_EVENT_MORE)
                break;
            if (ev.kind == TAR_EVENT_END)
                return sum;
            if (ev.kind == TAR_EVENT_ENTRY) {
                assert(*ev.entry.path && ev.entry.link);
                assert(strlen(ev.entry.path) <= TAR_MAX_PATH && ev.entry.uid != UINT32_MAX);
                sum = sum * 31 + strlen(ev.entry.path) + ev.entry.size;
                for (size_t i = 0; i < ev.entry.n_xattrs; i++) {
                    const struct tar_xattr *x = &ev.entry.xattrs[i];
                    assert(*x->name);
                    for (size_t k = 0; k < x->len; k++)
                        sum = sum * 31 + ((const uint8_t *)x->value)[k];
                }
            }
            for (size_t i = 0; ev.kind == TAR_EVENT_DATA && i < ev.len; i++)
                sum = sum * 31 + ev.data[i];
        } while (true);
    }
    (void)!tar_reader_finish(&reader, NULL);
    return sum + (uint64_t)(r < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t whole = run(data, size, size ? size : 1);
    uint64_t pieces = run(data, size, 7);
    assert(whole == pieces);
    (void)whole;
    (void)pieces;
    return 0;
}
