/* `exec --process`: a process alone, from any caller of proa-oci. */
#include <stddef.h>
#include <stdint.h>

#include "wire/oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oci_process *p = NULL;
    struct error err = ERROR_INIT;
    if (oci_process_parse((const char *)data, size, &p, &err) == 0)
        oci_process_free(p);
    return 0;
}
