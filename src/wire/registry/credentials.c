/*
 * Credentials of a session. A request is sent with what there is; a 401 says what is wanted: basic
 * (user and password as they are) or bearer (a token from the server that the registry names, asked
 * for once, while everything that needs it waits). The token server is whoever the registry names,
 * as the protocol has it, but never reached by http when the registry is reached by https.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/strv.h"
#include "wire/registry/client.h"

#define REFUSALS_MAX 2

static char *basic_header(const struct client *c)
{
    _cleanup_free_ char *pair = xasprintf("%s:%s", c->user, c->password ? c->password : "");
    _cleanup_free_ char *code = base64_encode(pair, strlen(pair));
    return xasprintf("Authorization: Basic %s", code);
}

static void set_authorization(struct client *c, char *header)
{
    free(c->authorization);
    c->authorization = header;
    c->generation++;
}

static int refused(const struct transfer *t, struct error *err)
{
    const struct client *c = t->client;
    const char *reason = t->response.challenge.reason;
    if (c->identity || c->user)
        return error_set(err, ERROR_DENIED, EACCES,
                         "%s refuses the credentials%s%.40s: `proa login %s` gives it others",
                         c->name, c->user ? " of " : "", c->user ? c->user : "", c->name);
    return error_set(err, ERROR_DENIED, EACCES,
                     "%s wants a user and a password%s%.40s%s: `proa login %s` gives it those",
                     c->name, reason ? " (" : "", reason ? reason : "", reason ? ")" : "", c->name);
}

/* name=value with the value escaped, after ? or &. */
static void add_parameter(CURL *easy, struct buf *to, char separator, const char *name,
                          const char *value, int *r)
{
    char *escaped = curl_easy_escape(easy, value, 0);
    if (*r == 0)
        *r = escaped ? buf_addf(to, "%c%s=%s", separator, name, escaped) : -ENOMEM;
    curl_free(escaped);
}

static int add_parameters(const struct transfer *t, char separator, struct buf *to)
{
    const struct auth_challenge *a = &t->response.challenge;
    const struct client *c = t->client;
    int r = 0;
    add_parameter(t->easy, to, separator, "service", a->service ? a->service : "", &r);
    if (a->scope)
        add_parameter(t->easy, to, '&', "scope", a->scope, &r);
    for (size_t i = 0; c->scopes && c->scopes[i]; i++)
        if (!a->scope || strcmp(a->scope, c->scopes[i]) != 0)
            add_parameter(t->easy, to, '&', "scope", c->scopes[i], &r);
    return r;
}

/* An identity token is traded by POST (OAuth 2), anything else by GET. */
static int fill_request(const struct transfer *t, struct transfer *token, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(AUTH_TOKEN_MAX);
    struct client *c = t->client;
    _cleanup_free_ char *realm = NULL;
    int r = url_resolve(c, t->url, t->response.challenge.realm, &realm, err);
    if (r < 0)
        return r;
    if (c->identity) {
        r = buf_add_str(&text, "grant_type=refresh_token&client_id=proa");
        if (r == 0)
            r = add_parameters(t, '&', &text);
        add_parameter(t->easy, &text, '&', "refresh_token", c->identity, &r);
        token->form = buf_take(&text);
        token->method = "POST";
        token->posts = true;
        token->first_url = TAKE_PTR(realm);
    } else {
        r = buf_add_str(&text, realm);
        if (r == 0)
            r = add_parameters(t, strchr(realm, '?') ? '&' : '?', &text);
        token->first_url = buf_take(&text);
        if (c->user)
            strv_take(&token->headers, basic_header(c));
    }
    return r < 0 ? error_errno(err, r, "ask for a token") : 0;
}

static int ask_for_token(struct transfer *t, struct error *err)
{
    struct client *c = t->client;
    if (!t->response.challenge.realm)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s wants a token but does not say from where", c->name);
    struct transfer *token = transfer_new(c);
    token->method = "GET";
    int r = fill_request(t, token, err);
    if (r < 0) {
        transfer_free(token);
        return r;
    }
    c->token_wanted = true;
    transfer_start(token);
    return 0;
}

bool credentials_get(struct transfer *t, struct error *err)
{
    struct client *c = t->client;
    const struct auth_challenge *a = &t->response.challenge;
    if (t->foreign) {
        (void)complaint_of_status(t, err);
        return false;
    }
    if (++t->refusals > REFUSALS_MAX) {
        refused(t, err);
        return false;
    }
    if (t->token_generation != c->generation) { /* there are newer ones by now */
        transfer_start(t);
        return true;
    }
    if (a->bearer) {
        t->state = TRANSFER_UNAUTHORIZED;
        return c->token_wanted || ask_for_token(t, err) == 0;
    }
    if (!a->basic || !c->user || c->authorization) {
        refused(t, err);
        return false;
    }
    set_authorization(c, basic_header(c));
    transfer_start(t);
    return true;
}

static int take_token(struct transfer *token, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    const struct buf *answer = &token->response.text;
    int r = auth_token_parse(answer->data ? answer->data : "", answer->len, &text, err);
    if (r < 0)
        return error_prefix(err, "%s", token->client->name);
    set_authorization(token->client, xasprintf("Authorization: Bearer %s", text));
    return 0;
}

void credentials_received(struct transfer *token, const struct error *failure)
{
    struct client *c = token->client;
    struct error err = ERROR_INIT;
    if (failure)
        err = *failure;
    else if (take_token(token, &err) == 0)
        failure = NULL;
    c->token_wanted = false;
    struct transfer *next;
    for (struct transfer *t = c->transfers; t; t = next) {
        next = t->next;
        if (t->state != TRANSFER_UNAUTHORIZED || t == token)
            continue;
        if (err.code)
            transfer_fail(t, &err);
        else
            transfer_start(t);
    }
}
