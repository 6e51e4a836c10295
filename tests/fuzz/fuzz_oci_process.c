/* `exec --process` and `update --resources`: objects alone, from any caller of proa-oci. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_process *p = NULL;
    struct oci_resources res;
    struct error err = ERROR_INIT;
    if (oci_process_parse((const char *)data, size, &p, &err) == 0)
        oci_process_free(p);
    oci_resources_init(&res);
    (void)!oci_resources_parse((const char *)data, size, &res, &err);
    oci_resources_done(&res);
    return 0;
}
