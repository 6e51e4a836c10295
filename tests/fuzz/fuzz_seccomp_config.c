/* linux.seccomp, or a profile file of Docker's form, as a value only: fuzz_seccomp.c compiles it,
 * too, which is a hundred times slower. */
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "wire/oci/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *o = NULL;
    struct oci_seccomp *s = NULL;
    struct error err = ERROR_INIT;
    if (json_parse((const char *)data, size, "fuzz", &o, &err) < 0 || !json_is_object(o))
        return 0;
    if (oci_seccomp_from_json(o, "fuzz", &s, &err) == 0)
        oci_seccomp_free(s);
    return 0;
}
