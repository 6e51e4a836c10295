/*
 * /etc/proa/registries.json, all members optional:
 *
 *   {"short-names": {"debian": "docker.io/library/debian"},
 *    "registries": {
 *      "docker.io":       {"mirrors": ["mirror.example", "http://10.0.0.1:5000"], "stall": "30s"},
 *      "lab.example:5000": {"insecure": true}}}
 *
 * A short name is a whole repository without its tag. A mirror is a registry, or its address with
 * http:// or https://; mirrors are tried first, for reading only, and may be listed with settings
 * of their own. "insecure" lets https go unverified, and http be used where there is no https.
 * "stall" is how long a registry may send (almost) nothing.
 */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/registry/registry.h"

#define DEFAULT_FILE "/etc/proa/registries.json"
#define HUB          "docker.io"
#define HUB_HOST     "registry-1.docker.io"
#define STALL_MS     30000

static const char *file_of(const struct registry_options *o)
{
    return o->config ? o->config : DEFAULT_FILE;
}

/* An empty object where there is no file, unless it was asked for by name. */
static int load(const struct registry_options *o, json_t **ret, struct error *err)
{
    json_t *config = NULL;
    struct error failure = ERROR_INIT;
    int r = json_parse_file(AT_FDCWD, file_of(o), &config, &failure);
    if (r == -ENOENT && !o->config) {
        *ret = json_object();
        return 0;
    }
    if (r == 0 && !json_is_object(config)) {
        json_decref(config);
        return error_invalid(err, "%s: is no JSON object", file_of(o));
    }
    if (r < 0)
        return error_set(err, failure.kind, failure.code, "%s", failure.msg);
    *ret = config;
    return 0;
}

static int not_short(const struct registry_options *o, const struct reference *r, const char *text,
                     struct error *err)
{
    return error_invalid(err,
                         "\"%.100s\" does not say which registry it is from: write " HUB
                         "/%s%.100s, or put \"%.100s\" into the short-names of %s",
                         text, strchr(r->repository, '/') ? "" : "library/", text, r->repository,
                         file_of(o));
}

int registry_resolve(const struct registry_options *o, const char *text, struct reference *ret,
                     struct error *err)
{
    _cleanup_(reference_done) struct reference typed = {0}, full = {0};
    _cleanup_json_ json_t *config = NULL;
    json_t *names = NULL;
    const char *target = NULL;
    int r = reference_parse(text, &typed, err);
    if (r < 0)
        return r;
    if (typed.registry) {
        *ret = typed;
        memset(&typed, 0, sizeof(typed));
        return 0;
    }
    if ((r = load(o, &config, err)) < 0 ||
        (r = json_get_object(config, file_of(o), "short-names", &names, err)) < 0 ||
        (r = json_get_string(names, "short-names", typed.repository, &target, err)) < 0)
        return r;
    if (!target)
        return not_short(o, &typed, text, err);
    if ((r = reference_parse(target, &full, err)) < 0)
        return error_prefix(err, "%s: short-names", file_of(o));
    if (!full.registry || full.tag || full.digest)
        return error_invalid(err, "%s: short-names: \"%.100s\" must be HOST/REPOSITORY", file_of(o),
                             target);
    *ret = (struct reference){.registry = TAKE_PTR(full.registry),
                              .repository = TAKE_PTR(full.repository),
                              .tag = TAKE_PTR(typed.tag),
                              .digest = TAKE_PTR(typed.digest)};
    return 0;
}

void registry_endpoints_free(struct registry_endpoint *list)
{
    for (struct registry_endpoint *e = list; e && e->host; e++) {
        free(e->host);
        free(e->url);
    }
    free(list);
}

struct settings {
    bool insecure;
    uint32_t stall_s;
    char **mirrors;
};

static int read_settings(const struct registry_options *o, const json_t *config, const char *name,
                         struct settings *ret, struct error *err)
{
    json_t *all = NULL, *own = NULL;
    const char *stall = NULL, *where = file_of(o);
    uint64_t stall_ms = STALL_MS;
    int r;
    if ((r = json_get_object(config, where, "registries", &all, err)) < 0 ||
        (r = json_get_object(all, "registries", name, &own, err)) < 0 ||
        (r = json_get_bool(own, name, "insecure", &ret->insecure, err)) < 0 ||
        (r = json_get_string(own, name, "stall", &stall, err)) < 0 ||
        (r = json_get_strv(own, name, "mirrors", &ret->mirrors, err)) < 0)
        return r;
    if (stall && (parse_duration(stall, &stall_ms) < 0 || stall_ms < 1000 || stall_ms > 3600000))
        return error_invalid(err, "%s: %s: \"stall\" is a time from 1s to 1h", where, name);
    ret->stall_s = (uint32_t)(stall_ms / 1000);
    return 0;
}

struct list {
    struct registry_endpoint *items;
    size_t n;
};

static void add(struct list *l, const char *scheme, const char *host, bool verify, uint32_t stall_s)
{
    bool hub = strcmp(host, HUB) == 0;
    l->items = xreallocarray(l->items, l->n + 2, sizeof(*l->items));
    l->items[l->n++] = (struct registry_endpoint){
        .host = xstrdup(host),
        .url = xasprintf("%s://%s", scheme, hub ? HUB_HOST : host),
        .verify = verify,
        .stall_s = stall_s,
    };
    memset(&l->items[l->n], 0, sizeof(*l->items));
}

/* HOST[:PORT], which may have a scheme before it. */
static int add_ways(struct list *l, const char *where, const struct settings *s, struct error *err)
{
    bool http = strncmp(where, "http://", 7) == 0, https = strncmp(where, "https://", 8) == 0;
    const char *host = http ? where + 7 : https ? where + 8 : where;
    if (!reference_host_ok(host))
        return error_invalid(err, "\"%.100s\" is no registry: HOST[:PORT] is", where);
    if (!http)
        add(l, "https", host, !s->insecure, s->stall_s);
    if (http || (!https && s->insecure))
        add(l, "http", host, false, s->stall_s);
    return 0;
}

static int add_mirrors(struct list *l, const struct registry_options *o, const json_t *config,
                       char *const *mirrors, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && mirrors && mirrors[i]; i++) {
        struct settings own = {0};
        const char *name = strstr(mirrors[i], "://") ? strstr(mirrors[i], "://") + 3 : mirrors[i];
        r = read_settings(o, config, name, &own, err);
        if (r == 0)
            r = add_ways(l, mirrors[i], &own, err);
    }
    return r;
}

int registry_endpoints(const struct registry_options *o, const char *registry, bool for_writing,
                       struct registry_endpoint **ret, struct error *err)
{
    _cleanup_json_ json_t *config = NULL;
    struct settings s = {0};
    struct list l = {0};
    int r = load(o, &config, err);
    if (r == 0)
        r = read_settings(o, config, registry, &s, err);
    if (r == 0 && !for_writing)
        r = add_mirrors(&l, o, config, s.mirrors, err);
    s.insecure |= o->insecure;
    if (r == 0)
        r = add_ways(&l, registry, &s, err);
    strv_free(s.mirrors);
    if (r < 0)
        registry_endpoints_free(l.items);
    else
        *ret = l.items;
    return r;
}
