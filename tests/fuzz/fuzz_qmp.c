/* One line from QEMU. */
#include <stddef.h>
#include <stdint.h>

#include "wire/qmp/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qmp_message m;
    struct error err = ERROR_INIT;
    (void)!qmp_parse((const char *)data, size, &m, &err);
    return 0;
}
