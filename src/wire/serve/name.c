#include "wire/serve/name.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* How many bytes one separator has at p: ".", "_", "__" or any number of dashes; 0: none. */
static size_t separator(const char *p)
{
    if (*p == '-')
        return strspn(p, "-");
    if (p[0] == '_' && p[1] == '_')
        return 2;
    return *p == '.' || *p == '_' ? 1 : 0;
}

bool serve_repository_ok(const char *name)
{
    const char *p = name;
    if (strlen(name) > SERVE_REPOSITORY_MAX)
        return false;
    for (;;) {
        if (!lower_or_digit(*p))
            return false;
        while (lower_or_digit(*p))
            p++;
        if (*p == '\0')
            return true;
        size_t n = *p == '/' ? 1 : separator(p);
        if (n == 0)
            return false;
        p += n;
    }
}

bool serve_tag_ok(const char *tag)
{
    size_t len = strlen(tag);
    if (len == 0 || len > SERVE_TAG_MAX || tag[0] == '.' || tag[0] == '-')
        return false;
    for (const char *p = tag; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.' && *p != '-')
            return false;
    return true;
}

const char *serve_digest_algorithm(const char *digest)
{
    static const struct {
        const char *name, *prefix;
        size_t digits;
    } kinds[] = {{"sha256", "sha256:", 64}, {"sha512", "sha512:", 128}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strncmp(digest, kinds[i].prefix, 7) == 0 && strlen(digest) == 7 + kinds[i].digits &&
            is_hex(digest + 7, kinds[i].digits))
            return kinds[i].name;
    return NULL;
}

bool serve_digest_ok(const char *digest)
{
    return serve_digest_algorithm(digest) != NULL;
}

const char *serve_digest_hex(const char *digest)
{
    return digest + 7;
}

bool serve_id_ok(const char *id)
{
    return strlen(id) == SERVE_ID_LEN && is_hex(id, SERVE_ID_LEN);
}

bool serve_type_ok(const char *type)
{
    size_t len = strlen(type);
    if (len == 0 || len > 255)
        return false;
    for (const char *p = type; *p; p++)
        if (*p <= ' ' || *p >= 127 || *p == '"' || *p == '\\')
            return false;
    return true;
}

bool serve_reference_ok(const char *reference)
{
    return serve_tag_ok(reference) || serve_digest_ok(reference);
}
