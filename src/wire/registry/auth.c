#include "wire/registry/auth.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/json.h"

void auth_challenge_done(struct auth_challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    free(c->reason);
    memset(c, 0, sizeof(*c));
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(const char *p)
{
    size_t n = 0;
    while (is_token_char(p[n]))
        n++;
    return n;
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t");
}

static int bad_header(struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG,
                     "the registry asks for credentials in a way that cannot be read");
}

/* "..." with backslashes, or a bare word; moves *p behind it. Only printable characters pass. */
static int read_value(const char **p, char **ret, struct error *err)
{
    _cleanup_buf_ struct buf value = BUF_INIT(AUTH_CHALLENGE_MAX);
    const char *s = *p;
    if (*s != '"') {
        size_t n = token_len(s);
        *p = s + n;
        *ret = xstrndup(s, n);
        return n > 0 ? 0 : bad_header(err);
    }
    for (s++; *s && *s != '"'; s++) {
        if (*s == '\\' && s[1])
            s++;
        if ((unsigned char)*s < 0x20 || *s == 0x7f || buf_add(&value, s, 1) < 0)
            return bad_header(err);
    }
    if (*s != '"')
        return bad_header(err);
    *p = s + 1;
    *ret = buf_take(&value);
    return 0;
}

/* Takes the value when it is one that counts; frees it when not. */
static void take_parameter(struct auth_challenge *c, const char *name, size_t len, char *value)
{
    const struct {
        const char *name;
        char **to;
    } known[] = {{"realm", &c->realm},
                 {"service", &c->service},
                 {"scope", &c->scope},
                 {"error", &c->reason}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strlen(known[i].name) == len && strncasecmp(name, known[i].name, len) == 0 &&
            !*known[i].to) {
            *known[i].to = value;
            return;
        }
    }
    free(value);
}

/* What follows a scheme: parameters up to the next scheme, which is a word without "=". A single
 * token68 (of schemes that are not ours) is stepped over. */
static int read_parameters(struct auth_challenge *c, bool counts, const char **p, struct error *err)
{
    for (;;) {
        const char *s = *p + strspn(*p, " \t,");
        size_t n = token_len(s);
        const char *after = skip_space(s + n);
        *p = s;
        if (n == 0 && !*s)
            return 0;
        if (n == 0)
            return bad_header(err);
        if (*after != '=') /* another scheme, or a token68 without padding */
            return 0;
        const char *value_at = skip_space(after + 1);
        if (*value_at == '=' || *value_at == ',' || !*value_at) { /* the padding of a token68 */
            *p = value_at + strspn(value_at, "=");
            continue;
        }
        char *value = NULL;
        int r = read_value(&value_at, &value, err);
        if (r < 0) {
            free(value);
            return r;
        }
        struct auth_challenge other = {0};
        take_parameter(counts ? c : &other, s, n, value);
        auth_challenge_done(&other);
        *p = value_at;
    }
}

int auth_challenge_add(struct auth_challenge *c, const char *header, struct error *err)
{
    const char *p = header + strspn(header, " \t,");
    if (strlen(header) > AUTH_CHALLENGE_MAX)
        return bad_header(err);
    while (*p) {
        size_t n = token_len(p);
        bool bearer = n == 6 && strncasecmp(p, "Bearer", n) == 0;
        bool counts = bearer && !c->bearer;
        if (n == 0)
            return bad_header(err);
        c->basic |= n == 5 && strncasecmp(p, "Basic", n) == 0;
        c->bearer |= bearer;
        p += n;
        int r = read_parameters(c, counts, &p, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int auth_token_parse(const char *text, size_t len, char **ret_token, struct error *err)
{
    static const char what[] = "the token server's answer";
    _cleanup_json_ json_t *o = NULL;
    const char *token = NULL;
    if (len > AUTH_TOKEN_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is larger than %zu bytes", what,
                         AUTH_TOKEN_MAX);
    int r = json_parse(text, len, what, &o, err);
    if (r < 0 || (r = json_get_string(o, what, "token", &token, err)) < 0 ||
        (!token && (r = json_get_string(o, what, "access_token", &token, err)) < 0))
        return r;
    if (!token || !*token)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s has no token", what);
    for (const char *p = token; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             "%s: its token holds a character that "
                             "no header may",
                             what);
    *ret_token = xstrdup(token);
    return 0;
}
