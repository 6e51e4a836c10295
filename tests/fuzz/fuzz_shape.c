/* What stands in front of a machine's memory; what is taken can be written again as it was. */
#include <stdlib.h>
#include <string.h>

#include "wire/qmp/shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vm_shape s, again;
    struct error err = ERROR_INIT;
    char out[VM_SHAPE_BYTES];
    if (vm_shape_read((const char *)data, size, &s, &err) < 0)
        return 0;
    vm_shape_write(&s, out);
    if (vm_shape_read(out, sizeof(out), &again, &err) < 0 ||
        vm_shape_memory(&again) != vm_shape_memory(&s) || again.cpus != s.cpus)
        abort();
    return 0;
}
