/* A Debian package's kernel and modules: the first byte says as which the rest is read. */
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"
#include "runtime/vm/prepare/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)32 << 20);
    _cleanup_strv_ char **needs = NULL;
    struct error err = ERROR_INIT;
    const char *bytes = (const char *)data + 1;
    size_t len = size > 0 ? size - 1 : 0;
    char version[64];
    switch (size > 0 ? data[0] : 0) {
    case 'k':
        (void)!kernel_unpack(bytes, len, &out, &err);
        break;
    case 'r':
        if (kernel_read(bytes, len, &out, &err) == 0)
            kernel_version(out.data, out.len, version, sizeof(version));
        break;
    case 'i':
        (void)!inflate_bytes(bytes, len, &out);
        break;
    case 'm':
        (void)!module_needs(bytes, len, &needs);
        break;
    default:
        break;
    }
    return 0;
}
