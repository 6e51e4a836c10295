/* state.json: written by us, but in a directory that a caller names. */
#include <stddef.h>
#include <stdint.h>

#include "runtime/oci/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_container c;
    struct error err = ERROR_INIT;
    oci_container_init(&c);
    (void)!oci_container_parse((const char *)data, size, &c, &err);
    oci_container_done(&c);
    return 0;
}
