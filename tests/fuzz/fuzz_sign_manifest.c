/* Manifests of signatures: any bytes; what is taken can be added to and is taken again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/sign/manifest.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(const char *text, size_t size, size_t before)
{
    char digest[] = DIGEST, signature[] = "AAAA";
    const struct sign_entry entry = {digest, 4, signature};
    _cleanup_free_ char *config = NULL, *made = NULL;
    struct sign_manifest m;
    if (sign_config_make(text, size, DIGEST, &config, NULL) < 0 ||
        sign_manifest_make(text, size, &entry, config, DIGEST, &made, NULL) < 0)
        return;
    if (sign_manifest_parse(made, strlen(made), &m, NULL) < 0 || m.n_entries != before + 1)
        abort();
    sign_manifest_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sign_manifest m;
    if (sign_manifest_parse((const char *)data, size, &m, NULL) < 0)
        return 0;
    add((const char *)data, size, m.n_entries);
    sign_manifest_done(&m);
    return 0;
}
