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
    if (size > 0 && data[0] == 'k')
        (void)!kernel_unpack((const char *)data + 1, size - 1, &out, &err);
    else if (size > 0)
        (void)!module_needs((const char *)data + 1, size - 1, &needs);
    return 0;
}
