/*
 * What $NAME is worth in a step: ENV hides ARG; an ARG that --build-arg gives hides its default;
 * one without either takes what the ARG of that name before the first FROM is worth.
 */
#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"
#include "wire/image/manifest.h"

/* Known without being declared where FROM is concerned; a stage has to declare them. */
static const char *const platform_names[] = {"BUILD", "TARGET"};
/* Known to every RUN without being declared, as Docker has it; not part of any key. */
static const char *const proxy_names[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                          "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
                                          "ALL_PROXY",  "all_proxy"};

static const char *find(char *const *list, const char *name, size_t len)
{
    for (size_t i = 0; list && list[i]; i++)
        if (strncmp(list[i], name, len) == 0 && list[i][len] == '=')
            return list[i] + len + 1;
    return NULL;
}

static const char *find_env(const json_t *settings, const char *name, size_t len)
{
    const json_t *env = json_object_get(settings, "Env");
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *pair = json_string_value(json_array_get(env, i));
        if (pair && strncmp(pair, name, len) == 0 && pair[len] == '=')
            return pair + len + 1;
    }
    return NULL;
}

static const char *lookup(void *context, const char *name, size_t len)
{
    const struct build_stage *s = context;
    const char *value = find_env(s->settings, name, len);
    return value ? value : find(s->args, name, len);
}

static const char *lookup_global(void *context, const char *name, size_t len)
{
    const struct build *b = context;
    return find(b->global_args, name, len);
}

struct containerfile_scope build_scope(struct build_stage *s)
{
    return (struct containerfile_scope){lookup, s, s->build->file.escape};
}

struct containerfile_scope build_global_scope(struct build *b)
{
    return (struct containerfile_scope){lookup_global, b, b->file.escape};
}

int build_expand(struct build_stage *s, const char *word, char **ret, struct error *err)
{
    struct containerfile_scope scope = build_scope(s);
    return containerfile_expand(&scope, word, ret, err);
}

static const char *given_value(struct build *b, const char *name, size_t len)
{
    for (size_t i = 0; b->o->build_args && b->o->build_args[i]; i++)
        if (strncmp(b->o->build_args[i], name, len) == 0 && b->o->build_args[i][len] == '=') {
            b->args_used[i] = true;
            return b->o->build_args[i] + len + 1;
        }
    return NULL;
}

static void set_arg(char ***list, const char *name, size_t len, const char *value)
{
    _cleanup_free_ char *pair = xasprintf("%.*s=%s", (int)len, name, value);
    env_set(list, pair);
}

int build_global_init(struct build *b, struct error *err)
{
    const char *architecture = platform_host_architecture();
    for (size_t i = 0; b->o->build_args && b->o->build_args[i]; i++) {
        const char *arg = b->o->build_args[i];
        if (arg[0] == '=' || !strchr(arg, '=') || !containerfile_text_valid(arg, strlen(arg)))
            return error_invalid(err, "--build-arg \"%.60s\": use NAME=VALUE", arg);
    }
    b->args_used = xcalloc(strv_len(b->o->build_args) + 1, sizeof(*b->args_used));
    for (size_t i = 0; i < ARRAY_SIZE(platform_names); i++) {
        strv_addf(&b->global_args, "%sPLATFORM=linux/%s", platform_names[i], architecture);
        strv_addf(&b->global_args, "%sOS=linux", platform_names[i]);
        strv_addf(&b->global_args, "%sARCH=%s", platform_names[i], architecture);
        strv_addf(&b->global_args, "%sVARIANT=", platform_names[i]);
    }
    if (b->o->has_epoch)
        strv_addf(&b->global_args, "SOURCE_DATE_EPOCH=%lld", (long long)b->o->epoch_s);
    return 0;
}

/* One word of an ARG: NAME or NAME=DEFAULT. */
static int declare(struct build *b, struct build_stage *s, const char *word, struct error *err)
{
    struct containerfile_scope scope = s ? build_scope(s) : build_global_scope(b);
    _cleanup_free_ char *value = NULL;
    size_t len = strcspn(word, "=");
    if (len == 0 ||
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") < len)
        return error_invalid(err, "\"%.60s\" is no name of an ARG", word);
    const char *given = given_value(b, word, len);
    int r = 0;
    if (given)
        value = xstrdup(given);
    else if (word[len] == '=')
        r = containerfile_expand(&scope, word + len + 1, &value, err);
    else if (s)
        value = xstrdup(find(b->global_args, word, len));
    if (r == 0 && value)
        set_arg(s ? &s->args : &b->global_args, word, len, value);
    return r;
}

int build_arg(struct build *b, struct build_stage *s, const struct containerfile_step *step,
              struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && step->words[i]; i++)
        r = declare(b, s, step->words[i], err);
    return r;
}

char **build_environment(const struct build_stage *s, bool proxies)
{
    char **env = strv_copy(NULL);
    for (size_t i = 0; proxies && i < ARRAY_SIZE(proxy_names); i++) {
        const char *value = given_value(s->build, proxy_names[i], strlen(proxy_names[i]));
        if (value)
            set_arg(&env, proxy_names[i], strlen(proxy_names[i]), value);
    }
    for (size_t i = 0; s->args && s->args[i]; i++)
        env_set(&env, s->args[i]);
    const json_t *own = json_object_get(s->settings, "Env");
    for (size_t i = 0; i < json_array_size(own); i++) {
        const char *pair = json_string_value(json_array_get(own, i));
        if (pair && strchr(pair, '='))
            env_set(&env, pair);
    }
    return env;
}
