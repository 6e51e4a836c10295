#include "engine/place.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "service/network/network.h"

#define CONTAINER "container:"

void place_done(struct place *p)
{
    free(p->network);
    free(p->ip);
    free(p->ip6);
    free(p->mac);
    strv_free(p->aliases);
    memset(p, 0, sizeof(*p));
}

void places_done(struct places *p)
{
    for (size_t i = 0; i < p->n; i++)
        place_done(&p->list[i]);
    free(p->list);
    free(p->container);
    memset(p, 0, sizeof(*p));
}

static int set_once(char **field, const char *key, const char *value, struct error *err)
{
    if (*field)
        return error_invalid(err, "--network: \"%s\" is there twice", key);
    if (!*value)
        return error_invalid(err, "--network: \"%s\" needs a value", key);
    *field = xstrdup(value);
    return 0;
}

/* "key=value" of either language. */
static int set_word(struct place *p, const char *word, struct error *err)
{
    const struct {
        const char *key;
        char **field;
    } words[] = {{"name", &p->network},
                 {"ip", &p->ip},
                 {"ip6", &p->ip6},
                 {"mac", &p->mac},
                 {"mac-address", &p->mac}};
    const char *equals = strchr(word, '=');
    if (!equals)
        return error_invalid(err, "--network: \"%.64s\" is no key=value", word);
    _cleanup_free_ char *key = xstrndup(word, (size_t)(equals - word));
    if (strcmp(key, "alias") == 0 && equals[1]) {
        strv_add(&p->aliases, equals + 1);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(key, words[i].key) == 0)
            return set_once(words[i].field, key, equals + 1, err);
    return error_invalid(err, "--network: \"%.64s\" is not known: ip, ip6, mac, alias", key);
}

static int parse_words(const char *text, struct place *p, struct error *err)
{
    _cleanup_strv_ char **words = strv_split(text, ',');
    int r = 0;
    for (size_t i = 0; r == 0 && words[i]; i++)
        r = set_word(p, words[i], err);
    return r;
}

int place_parse(const char *text, struct place *ret, struct error *err)
{
    static const char *const defaults[] = {"default", "bridge"};
    _cleanup_(place_done) struct place p = {NULL};
    const char *colon = strchr(text, ':'), *equals = strchr(text, '=');
    int r = 0;
    if (equals && (!colon || equals < colon)) { /* Docker's */
        r = parse_words(text, &p, err);
    } else {
        p.network = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
        if (colon)
            r = colon[1]
                    ? parse_words(colon + 1, &p, err)
                    : error_invalid(err, "--network \"%.64s\": nothing behind the colon", text);
    }
    if (r == 0 && (!p.network || !*p.network))
        r = error_invalid(err, "--network \"%.64s\" names no network", text);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(defaults); i++)
        if (strcmp(p.network, defaults[i]) == 0)
            xreplace(&p.network, NETWORK_DEFAULT);
    if (r < 0)
        return r;
    *ret = p;
    p = (struct place){NULL};
    return 0;
}

char *place_text(const struct place *p)
{
    const struct {
        const char *key, *value;
    } words[] = {{"ip", p->ip}, {"ip6", p->ip6}, {"mac", p->mac}};
    char **parts = strv_copy(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (words[i].value)
            strv_addf(&parts, "%s=%s", words[i].key, words[i].value);
    for (size_t i = 0; p->aliases && p->aliases[i]; i++)
        strv_addf(&parts, "alias=%s", p->aliases[i]);
    _cleanup_free_ char *joined = strv_join(parts, ",");
    strv_free(parts);
    return *joined ? xasprintf("%s:%s", p->network, joined) : xstrdup(p->network);
}

/* --- all of them --- */

static bool parse_mode(const char *text, struct places *p)
{
    if (strcmp(text, "none") == 0)
        p->mode = PLACE_NONE;
    else if (strcmp(text, "host") == 0)
        p->mode = PLACE_HOST;
    else if (strncmp(text, CONTAINER, strlen(CONTAINER)) == 0)
        p->mode = PLACE_CONTAINER;
    else
        return false;
    if (p->mode == PLACE_CONTAINER)
        p->container = xstrdup(text + strlen(CONTAINER));
    return true;
}

bool places_has(const struct places *p, const char *network)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i].network, network) == 0)
            return true;
    return false;
}

/* Takes it. */
static int take_place(struct places *p, struct place *one, struct error *err)
{
    if (p->n == BUNDLE_NETWORKS_MAX) {
        place_done(one);
        return error_set(err, ERROR_LIMIT, E2BIG, "an instance can be on %d networks at most",
                         BUNDLE_NETWORKS_MAX);
    }
    p->list = xreallocarray(p->list, p->n + 1, sizeof(*p->list));
    p->list[p->n++] = *one;
    return 0;
}

int places_add(struct places *p, const struct place *one, struct error *err)
{
    struct place copy = {.network = xstrdup(one->network),
                         .ip = xstrdup(one->ip),
                         .ip6 = xstrdup(one->ip6),
                         .mac = xstrdup(one->mac),
                         .aliases = one->aliases ? strv_copy(one->aliases) : NULL};
    return take_place(p, &copy, err);
}

void places_remove(struct places *p, const char *network)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i].network, network) == 0) {
            place_done(&p->list[i]);
            memmove(&p->list[i], &p->list[i + 1], (p->n - i - 1) * sizeof(*p->list));
            p->n--;
            return;
        }
}

static int add_place(struct places *p, const char *text, struct error *err)
{
    struct place one;
    int r = place_parse(text, &one, err);
    if (r < 0)
        return r;
    if (places_has(p, one.network)) {
        r = error_invalid(err, "--network %s is there twice", one.network);
        place_done(&one);
        return r;
    }
    return take_place(p, &one, err);
}

/* --ip and the like, which name no network. */
static int add_common(const struct create_options *o, struct places *p, struct error *err)
{
    const struct {
        const char *flag, *value;
        size_t field;
    } words[] = {{"--ip", o->ip, offsetof(struct place, ip)},
                 {"--ip6", o->ip6, offsetof(struct place, ip6)},
                 {"--mac-address", o->mac, offsetof(struct place, mac)}};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(words); i++) {
        if (!words[i].value)
            continue;
        if (p->n != 1)
            return error_invalid(err,
                                 "%s needs one network to speak of; with several say "
                                 "--network NAME:ip=...",
                                 words[i].flag);
        r = set_once((char **)((char *)&p->list[0] + words[i].field), words[i].flag, words[i].value,
                     err);
    }
    if (p->n == 0 && strv_len(o->network_aliases) > 0)
        return error_invalid(err, "--network-alias needs a network");
    for (size_t n = 0; r == 0 && n < p->n; n++)
        for (size_t i = 0; o->network_aliases && o->network_aliases[i]; i++)
            strv_add(&p->list[n].aliases, o->network_aliases[i]);
    return r;
}

int places_parse(const struct create_options *o, struct places *ret, struct error *err)
{
    static char *const none_given[] = {(char *)NETWORK_DEFAULT, NULL};
    _cleanup_places_ struct places p = {.mode = PLACE_NETWORKS};
    char *const *networks = strv_len(o->networks) > 0 ? o->networks : none_given;
    int r = 0;
    for (size_t i = 0; r == 0 && networks[i]; i++) {
        if (!parse_mode(networks[i], &p))
            r = add_place(&p, networks[i], err);
        else if (networks[1])
            r = error_invalid(err, "--network %s stands alone", networks[i]);
    }
    if (r == 0)
        r = add_common(o, &p, err);
    if (r < 0)
        return r;
    *ret = p;
    p = (struct places){.mode = PLACE_NETWORKS};
    return 0;
}

bool place_is_host(const struct create_options *o)
{
    return o->networks && o->networks[0] && strcmp(o->networks[0], "host") == 0;
}
