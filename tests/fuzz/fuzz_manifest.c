/* Manifests, indexes, docker save's list, image configurations: any bytes. What a configuration is
 * good for, an image made of it is good for, too: it parses, and has one layer more. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/image/config.h"
#include "wire/image/history.h"
#include "wire/image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void commit(const char *text, size_t size, const struct image_config *parent)
{
    static const char *const changes[] = {"ENV A=1", "LABEL b=2", "VOLUME /v", "EXPOSE 80", NULL};
    _cleanup_free_ char *whole = xstrndup(text, size), *json = NULL;
    struct image_config c;
    struct image_history h;
    struct error err = ERROR_INIT;
    const struct image_config_new n = {
        .parent = whole,
        .diff_id = "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        .changes = (char *const *)changes,
    };
    if (image_config_make(&n, &json, &err) < 0) {
        if (!err.msg[0])
            abort();
        return;
    }
    if (image_config_parse(json, strlen(json), &c, &err) < 0 ||
        strv_len(c.diff_ids) != strv_len(parent->diff_ids) + 1 || !strv_has(c.env, "A=1") ||
        !strv_has(c.volumes, "/v"))
        abort();
    if (image_history_parse(json, strlen(json), &h, NULL) == 0)
        image_history_done(&h);
    image_config_done(&c);
}

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
    if (image_config_parse(text, size, &c, NULL) == 0) {
        if (!memchr(text, 0, size))
            commit(text, size, &c);
        image_config_done(&c);
    }
    return 0;
}
