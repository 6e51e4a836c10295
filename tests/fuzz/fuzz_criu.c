/* One answer of CRIU's worker. */
#include <stddef.h>
#include <stdint.h>

#include "wire/criu/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct criu_answer a;
    (void)!criu_answer_decode(data, size, &a);
    return 0;
}
