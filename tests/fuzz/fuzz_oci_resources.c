/* `update --resources`: limits alone, from any caller of proa-oci. */
#include <stddef.h>
#include <stdint.h>

#include "wire/oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_resources res;
    struct error err = ERROR_INIT;
    oci_resources_init(&res);
    (void)!oci_resources_parse((const char *)data, size, &res, &err);
    oci_resources_done(&res);
    return 0;
}
