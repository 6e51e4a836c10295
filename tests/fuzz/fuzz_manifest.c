/* Manifests, indexes, docker save's list, image configurations: any bytes. */
#include <stdlib.h>

#include "wire/image/config.h"
#include "wire/image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const struct manifest_descriptor *chosen;
    struct manifest m;
    struct docker_manifest d;
    struct image_config c;
    if (manifest_parse(text, size, NULL, "fuzz", &m, NULL) == 0) {
        if (m.index && manifest_choose(&m, &chosen, NULL) == 0 && !chosen->digest)
            abort();
        manifest_done(&m);
    }
    if (docker_manifest_parse(text, size, &d, NULL) == 0)
        docker_manifest_done(&d);
    if (image_config_parse(text, size, &c, NULL) == 0)
        image_config_done(&c);
    return 0;
}
