/* Signed texts: any bytes; a claimed reference is compared in every way. */
#include <stdint.h>
#include <stdlib.h>

#include "wire/image/digest.h"
#include "wire/sign/payload.h"
#include "wire/sign/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sign_payload p;
    _cleanup_(reference_done) struct reference image = {0};
    if (sign_payload_parse((const char *)data, size, &p, NULL) < 0)
        return 0;
    if (!digest_valid(p.digest) || reference_parse("docker.io/library/debian:12", &image, NULL) < 0)
        abort();
    for (int type = 0; type <= TRUST_REMAP_IDENTITY; type++) {
        char prefix[] = "docker.io/library";
        struct trust_identity i = {(enum trust_identity_type)type, prefix, prefix};
        (void)!trust_identity_matches(&i, &image, p.reference);
    }
    sign_payload_done(&p);
    return 0;
}
