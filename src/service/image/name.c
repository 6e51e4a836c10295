/*
 * Names of images: [HOST[:PORT]/]PATH[:TAG], as Docker has them. The canonical form is
 * "repository:tag"; "docker.io/" and "docker.io/library/" are left out of it.
 */
#include <ctype.h>

#include "base/alloc.h"
#include "service/image/internal.h"

#define NAME_MAX_BYTES 255
#define TAG_MAX_BYTES  128

static int bad_name(const char *name, const char *why, struct error *err)
{
    return error_invalid(err, "\"%.100s\" is no image name: %s", name, why);
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Lower-case letters and digits, with single ".", "_", "__" or dashes between them. */
static bool path_part_ok(const char *p, size_t len)
{
    if (len == 0 || !is_lower_or_digit(p[0]) || !is_lower_or_digit(p[len - 1]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (is_lower_or_digit(p[i]) || p[i] == '-')
            continue;
        bool second = p[i] == '_' && p[i - 1] == '_' && i >= 2 && p[i - 2] != '_';
        if ((p[i] != '.' && p[i] != '_') || (!is_lower_or_digit(p[i - 1]) && !second))
            return false;
    }
    return true;
}

static bool host_ok(const char *p, size_t len)
{
    const char *colon = memchr(p, ':', len);
    size_t host = colon ? (size_t)(colon - p) : len;
    if (host == 0 || (colon && host + 1 == len))
        return false;
    for (size_t i = 0; i < host; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '.' && p[i] != '-')
            return false;
    for (size_t i = host + 1; i < len; i++)
        if (!isdigit((unsigned char)p[i]))
            return false;
    return isalnum((unsigned char)p[0]);
}

static bool is_host(const char *p, size_t len)
{
    return memchr(p, '.', len) || memchr(p, ':', len) ||
           (len == 9 && memcmp(p, "localhost", 9) == 0);
}

static bool repository_ok(const char *p, size_t len)
{
    const char *slash = memchr(p, '/', len);
    if (slash && is_host(p, (size_t)(slash - p))) {
        if (!host_ok(p, (size_t)(slash - p)))
            return false;
        len -= (size_t)(slash - p) + 1;
        p = slash + 1;
    }
    while ((slash = memchr(p, '/', len))) {
        if (!path_part_ok(p, (size_t)(slash - p)))
            return false;
        len -= (size_t)(slash - p) + 1;
        p = slash + 1;
    }
    return path_part_ok(p, len);
}

static bool tag_ok(const char *tag)
{
    size_t len = strlen(tag);
    if (len == 0 || len > TAG_MAX_BYTES || (!isalnum((unsigned char)tag[0]) && tag[0] != '_'))
        return false;
    for (const char *p = tag; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.' && *p != '-')
            return false;
    return true;
}

int image_name_parse(const char *name, char **ret_canonical, struct error *err)
{
    static const char *const defaults[] = {"docker.io/library/", "docker.io/", "index.docker.io/"};
    const char *p = name;
    if (strchr(name, '@'))
        return bad_name(name, "a digest cannot be part of it", err);
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
        size_t len = strlen(defaults[i]);
        if (strncmp(p, defaults[i], len) == 0) {
            p += len;
            break;
        }
    }
    const char *slash = strrchr(p, '/'), *colon = strrchr(p, ':');
    if (colon && slash && colon < slash)
        colon = NULL;
    size_t len = colon ? (size_t)(colon - p) : strlen(p);
    const char *tag = colon ? colon + 1 : "latest";
    if (len == 0 || len > NAME_MAX_BYTES)
        return bad_name(name, len ? "it is too long" : "it is empty", err);
    if (!repository_ok(p, len))
        return bad_name(name, "a repository is lower-case letters, digits and . _ - between them",
                        err);
    if (!tag_ok(tag))
        return bad_name(name, "a tag is up to 128 letters, digits and _ . -", err);
    *ret_canonical = xasprintf("%.*s:%s", (int)len, p, tag);
    return 0;
}
