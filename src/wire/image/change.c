/*
 * CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR as a Dockerfile has
 * them: JSON lists or plain words, NAME=VALUE pairs with quotes and backslashes.
 */
#include "wire/image/change.h"

#include <ctype.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"

static int bad_change(const char *line, struct error *err)
{
    return error_invalid(err, "change \"%.200s\" is not understood", line);
}

/* Splits at blanks outside of quotes; quotes and backslashes are taken away. */
static int split_words(const char *text, char ***ret)
{
    _cleanup_strv_ char **words = strv_copy(NULL);
    _cleanup_free_ char *word = xcalloc(strlen(text) + 1, 1);
    size_t len = 0;
    char quote = 0;
    bool any = false;
    for (const char *p = text; *p; p++) {
        if (*p == '\\' && p[1] && quote != '\'') {
            word[len++] = *++p;
            any = true;
        } else if (quote ? *p == quote : (*p == '"' || *p == '\'')) {
            quote = quote ? 0 : *p;
            any = true;
        } else if (!quote && isspace((unsigned char)*p)) {
            word[len] = '\0';
            if (any)
                strv_add(&words, word);
            len = 0;
            any = false;
        } else {
            word[len++] = *p;
            any = true;
        }
    }
    word[len] = '\0';
    if (any)
        strv_add(&words, word);
    *ret = TAKE_PTR(words);
    return quote ? -EINVAL : 0;
}

/* ["a","b"]: NULL when the text is not a JSON list of strings. */
static json_t *parse_list(const char *text)
{
    json_t *list = NULL, *item;
    size_t i;
    if (*text != '[' || json_parse(text, strlen(text), "list", &list, NULL) < 0)
        return NULL;
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int change_command(json_t *settings, const char *key, const char *text)
{
    json_t *list = parse_list(text);
    if (!list)
        list = json_pack("[s,s,s]", "/bin/sh", "-c", text);
    return json_object_set_new(settings, key, list) < 0 ? -EINVAL : 0;
}

static int change_string(json_t *settings, const char *key, const char *text)
{
    return json_object_set_new(settings, key, json_string(text)) < 0 ? -EINVAL : 0;
}

static json_t *member(json_t *settings, const char *key, json_t *(*make)(void))
{
    json_t *o = json_object_get(settings, key);
    if (!o || json_is_null(o)) { /* Docker writes null for none */
        o = make();
        json_object_set_new(settings, key, o);
    }
    return o;
}

static void set_env(json_t *env, const char *pair)
{
    size_t name_len = strcspn(pair, "=") + 1, i;
    json_t *item;
    json_array_foreach(env, i, item)
    {
        if (strncmp(json_string_value(item), pair, name_len) == 0) {
            json_array_set_new(env, i, json_string(pair));
            return;
        }
    }
    json_array_append_new(env, json_string(pair));
}

static int set_pair(json_t *settings, bool env, const char *name, const char *value)
{
    if (!*name || strchr(name, '='))
        return -EINVAL;
    _cleanup_json_ json_t *checked = json_pack("{s:s}", name, value); /* NULL when not UTF-8 */
    if (!checked)
        return -EINVAL;
    if (env) {
        _cleanup_free_ char *pair = xasprintf("%s=%s", name, value);
        set_env(member(settings, "Env", json_array), pair);
    } else {
        json_object_set_new(member(settings, "Labels", json_object), name, json_string(value));
    }
    return 0;
}

static int change_pairs(json_t *settings, const char *key, const char *text)
{
    bool env = strcmp(key, "Env") == 0;
    _cleanup_strv_ char **words = NULL;
    int r = split_words(text, &words);
    if (r < 0)
        return r;
    if (!strchr(words[0], '=')) { /* the old form: NAME VALUE... */
        const char *value = text + strcspn(text, " \t");
        value += strspn(value, " \t");
        return *value ? set_pair(settings, env, words[0], value) : -EINVAL;
    }
    for (size_t i = 0; r == 0 && words[i]; i++) {
        char *equals = strchr(words[i], '=');
        if (!equals)
            return -EINVAL;
        *equals = '\0';
        r = set_pair(settings, env, words[i], equals + 1);
    }
    return r;
}

static int change_volumes(json_t *settings, const char *key, const char *text)
{
    _cleanup_json_ json_t *list = parse_list(text);
    _cleanup_strv_ char **words = NULL;
    json_t *item;
    size_t i;
    if (!list) {
        if (split_words(text, &words) < 0)
            return -EINVAL;
        list = json_from_strv(words);
    }
    json_array_foreach(list, i, item)
    {
        const char *path = json_string_value(item);
        if (!path || path[0] != '/')
            return -EINVAL;
        json_object_set_new(member(settings, key, json_object), path, json_object());
    }
    return 0;
}

static int change_ports(json_t *settings, const char *key, const char *text)
{
    _cleanup_strv_ char **words = NULL;
    if (split_words(text, &words) < 0)
        return -EINVAL;
    for (size_t i = 0; words[i]; i++) {
        uint64_t port;
        char *slash = strchr(words[i], '/');
        const char *protocol = slash ? slash + 1 : "tcp";
        if (slash)
            *slash = '\0';
        if (parse_u64(words[i], 65535, &port) < 0 || port == 0 ||
            (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0 &&
             strcmp(protocol, "sctp") != 0))
            return -EINVAL;
        _cleanup_free_ char *name = xasprintf("%u/%s", (unsigned int)port, protocol);
        json_object_set_new(member(settings, key, json_object), name, json_object());
    }
    return 0;
}

static const struct {
    const char *instruction, *key;
    int (*apply)(json_t *settings, const char *key, const char *text);
} changes[] = {
    {"CMD", "Cmd", change_command},
    {"ENTRYPOINT", "Entrypoint", change_command},
    {"ENV", "Env", change_pairs},
    {"EXPOSE", "ExposedPorts", change_ports},
    {"LABEL", "Labels", change_pairs},
    {"STOPSIGNAL", "StopSignal", change_string},
    {"USER", "User", change_string},
    {"VOLUME", "Volumes", change_volumes},
    {"WORKDIR", "WorkingDir", change_string},
};

int image_change_apply(json_t *settings, const char *line, struct error *err)
{
    line += strspn(line, " \t");
    size_t len = strcspn(line, " \t");
    const char *text = line + len + strspn(line + len, " \t");
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        if (strlen(changes[i].instruction) != len ||
            strncasecmp(changes[i].instruction, line, len) != 0)
            continue;
        return *text && changes[i].apply(settings, changes[i].key, text) == 0
                   ? 0
                   : bad_change(line, err);
    }
    return bad_change(line, err);
}
