#include "wire/sign/payload.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "wire/image/digest.h"

#define WHAT "signed text"
#define TYPE "cosign container image signature"

void sign_payload_done(struct sign_payload *p)
{
    free(p->reference);
    free(p->digest);
    memset(p, 0, sizeof(*p));
}

/* An object with exactly these members. */
static int get_exact(const json_t *o, const char *key, const char *const *members, size_t n,
                     json_t **ret, struct error *err)
{
    json_t *found = NULL;
    int r = json_get_object(o, WHAT, key, &found, err);
    if (r < 0)
        return r;
    bool fits = found && json_object_size(found) == n;
    for (size_t i = 0; fits && i < n; i++)
        fits = json_object_get(found, members[i]) != NULL;
    if (!fits)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: \"%s\" has other members than it should",
                         WHAT, key);
    *ret = found;
    return 0;
}

static int parse_critical(const json_t *o, struct sign_payload *p, struct error *err)
{
    static const char *const members[] = {"identity", "image", "type"};
    static const char *const identity_members[] = {"docker-reference"};
    static const char *const image_members[] = {"docker-manifest-digest"};
    json_t *critical, *identity, *image;
    const char *type = NULL, *reference = NULL, *digest = NULL;
    int r;
    if ((r = get_exact(o, "critical", members, ARRAY_SIZE(members), &critical, err)) < 0 ||
        (r = get_exact(critical, "identity", identity_members, 1, &identity, err)) < 0 ||
        (r = get_exact(critical, "image", image_members, 1, &image, err)) < 0 ||
        (r = json_get_string(critical, WHAT, "type", &type, err)) < 0 ||
        (r = json_get_string(identity, WHAT, identity_members[0], &reference, err)) < 0 ||
        (r = json_get_string(image, WHAT, image_members[0], &digest, err)) < 0)
        return r;
    if (!type || strcmp(type, TYPE) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: is of type \"%.100s\", not \"%s\"", WHAT,
                         type ? type : "", TYPE);
    if (!reference || !digest_valid(digest))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: without a reference or a sha256 digest",
                         WHAT);
    p->reference = xstrdup(reference);
    p->digest = xstrdup(digest);
    return 0;
}

int sign_payload_parse(const char *text, size_t len, struct sign_payload *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(sign_payload_done) struct sign_payload p = {0};
    json_t *optional = NULL;
    int r;
    if (len > SIGN_PAYLOAD_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: larger than %zu bytes", WHAT,
                         SIGN_PAYLOAD_MAX_BYTES);
    if ((r = json_parse(text, len, WHAT, &o, err)) < 0)
        return r;
    size_t known =
        (json_object_get(o, "critical") != NULL) + (json_object_get(o, "optional") != NULL);
    if (!json_is_object(o) || json_object_size(o) != known)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: has other members than it should", WHAT);
    if ((r = json_get_object(o, WHAT, "optional", &optional, err)) < 0 ||
        (r = parse_critical(o, &p, err)) < 0)
        return r;
    *ret = p;
    memset(&p, 0, sizeof(p));
    return 0;
}

char *sign_payload_make(const char *reference, const char *digest)
{
    _cleanup_json_ json_t *o =
        json_pack("{s:{s:{s:s},s:{s:s},s:s},s:{s:s}}", "critical", "identity", "docker-reference",
                  reference, "image", "docker-manifest-digest", digest, "type", TYPE, "optional",
                  "creator", "proa " PROA_VERSION);
    return json_to_text(o);
}
