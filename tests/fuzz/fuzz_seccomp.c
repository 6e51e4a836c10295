/* linux.seccomp, or a profile file of Docker's form, down to the instructions. */
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "runtime/seccomp/compile.h"
#include "wire/oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_buf_ struct buf out = BUF_INIT(SECCOMP_MAX_BYTES);
    struct oci_seccomp *s = NULL;
    struct error err = ERROR_INIT;
    if (json_parse((const char *)data, size, "fuzz", &o, &err) < 0 || !json_is_object(o))
        return 0;
    if (oci_seccomp_from_json(o, "fuzz", &s, &err) == 0)
        (void)!seccomp_compile(s, UINT64_MAX, &out, &err);
    oci_seccomp_free(s);
    return 0;
}
