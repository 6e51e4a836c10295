/* URLs: what belongs to the registry itself, and where it may send us. */
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "wire/registry/client.h"

static void url_cleanup(CURLU **u)
{
    curl_url_cleanup(*u);
}
#define _cleanup_url_ _cleanup_(url_cleanup)

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

bool url_same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    _cleanup_url_ CURLU *x = curl_url(), *y = curl_url();
    if (!x || !y || curl_url_set(x, CURLUPART_URL, a, 0) != CURLUE_OK ||
        curl_url_set(y, CURLUPART_URL, b, 0) != CURLUE_OK)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (!same_part(x, y, parts[i]))
            return false;
    return true;
}

int url_resolve(const struct client *c, const char *base, const char *target, char **ret,
                struct error *err)
{
    _cleanup_url_ CURLU *u = curl_url();
    char *text = NULL;
    if (!u || curl_url_set(u, CURLUPART_URL, base, 0) != CURLUE_OK ||
        curl_url_set(u, CURLUPART_URL, target, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s: sends to an address that is none",
                         c->name);
    _cleanup_free_ char *absolute = xstrdup(text);
    curl_free(text);
    bool https = strncasecmp(absolute, "https://", 8) == 0;
    if (!https && strncasecmp(absolute, "http://", 7) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s: sends to an address that is neither http nor https", c->name);
    if (!https && strncasecmp(c->url, "https://", 8) == 0)
        return error_set(err, ERROR_DENIED, EPERM,
                         "%s: sends from https to http, which is not followed", c->name);
    *ret = TAKE_PTR(absolute);
    return 0;
}
