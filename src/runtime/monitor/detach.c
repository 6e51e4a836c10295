#include "runtime/monitor/detach.h"

#include <string.h>

#include "base/strv.h"

static int parse_key(const char *text, unsigned char *ret)
{
    if (strlen(text) == 1) {
        *ret = (unsigned char)*text;
        return 0;
    }
    if (strncmp(text, "ctrl-", 5) != 0 || strlen(text) != 6)
        return -EINVAL;
    char c = text[5];
    if ((c < 'a' || c > 'z') && c != '@' && (c < '[' || c > '_'))
        return -EINVAL;
    *ret = (unsigned char)(c & 0x1f);
    return 0;
}

int detach_parse(const char *text, struct detach *ret, struct error *err)
{
    _cleanup_strv_ char **parts = strv_split(text, ',');
    struct detach d = {0};
    for (size_t i = 0; parts && parts[i]; i++) {
        if (d.n_keys == DETACH_MAX_KEYS)
            return error_invalid(err, "detach keys: at most %d", DETACH_MAX_KEYS);
        if (parse_key(parts[i], &d.keys[d.n_keys++]) < 0)
            return error_invalid(err, "detach keys: \"%s\" is no key (try ctrl-p,ctrl-q)",
                                 parts[i]);
    }
    *ret = d;
    return 0;
}

bool detach_filter(struct detach *d, const unsigned char *in, size_t len, unsigned char *out,
                   size_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (d->n_keys > 0 && in[i] == d->keys[d->matched]) {
            if (++d->matched < d->n_keys)
                continue;
            d->matched = 0;
            *ret_len = n;
            return true;
        }
        memcpy(out + n, d->keys, d->matched);
        n += d->matched;
        d->matched = 0;
        if (d->n_keys > 0 && in[i] == d->keys[0])
            d->matched = 1; /* n_keys > 1 here, or the first test had matched */
        else
            out[n++] = in[i];
    }
    *ret_len = n;
    return false;
}
