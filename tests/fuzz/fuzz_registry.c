/* What a registry says in headers and small documents, by the first byte: challenges, token
 * answers, links, references. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/image/digest.h"
#include "wire/registry/auth.h"
#include "wire/registry/link.h"
#include "wire/registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_challenge(const char *text)
{
    _cleanup_(auth_challenge_done) struct auth_challenge c = {0};
    int r = auth_challenge_add(&c, text, NULL);
    if (r == 0)
        r = auth_challenge_add(&c, text, NULL);
    for (const char *p = c.realm; r == 0 && p && *p; p++)
        if ((unsigned char)*p < 0x20)
            abort();
}

static void try_token(const char *text, size_t len)
{
    _cleanup_free_ char *token = NULL;
    if (auth_token_parse(text, len, &token, NULL) == 0 && strpbrk(token, "\r\n "))
        abort();
}

static void try_reference(const char *text)
{
    _cleanup_(reference_done) struct reference r = {0}, again = {0};
    if (reference_parse(text, &r, NULL) < 0)
        return;
    if (strstr(r.repository, "..") || strpbrk(r.repository, "?#% \r\n") ||
        (r.digest && !digest_valid(r.digest)))
        abort();
    /* Without a host a name may come back as one that has none either. */
    _cleanup_free_ char *name = reference_store_name(&r, r.tag);
    if (strlen(name) <= 255 && reference_parse(name, &again, NULL) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    _cleanup_free_ char *text = xcalloc(size, 1);
    memcpy(text, data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        try_challenge(text);
        break;
    case 1:
        try_token(text, size - 1);
        break;
    case 2:
        free(link_next(text));
        break;
    default:
        try_reference(text);
    }
    return 0;
}
