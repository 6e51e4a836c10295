/* config.json from any caller of proa-oci. */
#include <stddef.h>
#include <stdint.h>

#include "wire/oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_config *c = NULL;
    struct error err = ERROR_INIT;
    if (oci_config_parse((const char *)data, size, &c, &err) == 0)
        oci_config_free(c);
    return 0;
}
