/* Steps that change what the image says of itself, and no file: one function each, and a table. */
#include <ctype.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"

#define EXPOSE_RANGE_MAX 4096u

static const char *const default_shell[] = {"/bin/sh", "-c", NULL};

const char *build_setting(const struct build_stage *s, const char *name)
{
    const char *value = json_string_value(json_object_get(s->settings, name));
    return value && *value ? value : NULL;
}

char **build_setting_list(const struct build_stage *s, const char *name)
{
    const json_t *list = json_object_get(s->settings, name);
    char **words = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        strv_add(&words, word ? word : "");
    }
    return words;
}

char *build_path(const struct build_stage *s, const char *path)
{
    const char *workdir = build_setting(s, "WorkingDir");
    _cleanup_free_ char *joined =
        *path == '/' ? xstrdup(path) : path_join(workdir ? workdir : "/", path);
    return path_normalize(joined);
}

char **build_command(const struct build_stage *s, const struct containerfile_step *step)
{
    if (step->exec_form)
        return strv_copy(step->words);
    char **words = build_setting_list(s, "Shell");
    if (!words)
        words = strv_copy((char *const *)default_shell);
    strv_add(&words, step->text);
    return words;
}

static void set_string(struct build_stage *s, const char *key, const char *value)
{
    json_object_set_new(s->settings, key, json_string(value));
}

static json_t *member(struct build_stage *s, const char *key, bool list)
{
    json_t *o = json_object_get(s->settings, key);
    if (list ? !json_is_array(o) : !json_is_object(o)) {
        o = list ? json_array() : json_object();
        json_object_set_new(s->settings, key, o);
    }
    return o;
}

static void set_env(json_t *env, const char *name, const char *value)
{
    _cleanup_free_ char *pair = xasprintf("%s=%s", name, value);
    size_t len = strlen(name) + 1;
    for (size_t i = 0; i < json_array_size(env); i++) {
        const char *old = json_string_value(json_array_get(env, i));
        if (old && strncmp(old, pair, len) == 0) {
            json_array_set_new(env, i, json_string(pair));
            return;
        }
    }
    json_array_append_new(env, json_string(pair));
}

/* All of one ENV see what was set before it, not each other. */
static int apply_pairs(struct build_stage *s, const struct containerfile_step *step,
                       struct error *err)
{
    _cleanup_strv_ char **values = strv_copy(NULL);
    bool env = step->kind == CF_ENV;
    for (size_t i = 0; step->words[i]; i++) {
        char *value = NULL;
        int r = build_expand(s, step->words[i], &value, err);
        if (r < 0)
            return r;
        strv_take(&values, value);
    }
    json_t *to = member(s, env ? "Env" : "Labels", env);
    for (size_t i = 0; values[i]; i += 2) {
        if (!*values[i] || (env && strchr(values[i], '=')))
            return error_invalid(err, "\"%.60s\" is no name", values[i]);
        if (env)
            set_env(to, values[i], values[i + 1]);
        else
            json_object_set_new(to, values[i], json_string(values[i + 1]));
    }
    return 0;
}

static int apply_command(struct build_stage *s, const struct containerfile_step *step,
                         struct error *err)
{
    bool cmd = step->kind == CF_CMD;
    _cleanup_strv_ char **words = build_command(s, step);
    (void)err;
    json_object_set_new(s->settings, cmd ? "Cmd" : "Entrypoint", json_from_strv(words));
    if (cmd)
        s->cmd_set = true;
    else if (!s->cmd_set) /* the base's arguments are not for this program */
        json_object_del(s->settings, "Cmd");
    return 0;
}

static int apply_shell(struct build_stage *s, const struct containerfile_step *step,
                       struct error *err)
{
    (void)err;
    json_object_set_new(s->settings, "Shell", json_from_strv(step->words));
    return 0;
}

static int apply_user(struct build_stage *s, const struct containerfile_step *step,
                      struct error *err)
{
    _cleanup_free_ char *value = NULL;
    int r = build_expand(s, step->text, &value, err);
    if (r == 0)
        set_string(s, "User", value);
    return r;
}

static int apply_stop_signal(struct build_stage *s, const struct containerfile_step *step,
                             struct error *err)
{
    _cleanup_free_ char *value = NULL;
    int number, r = build_expand(s, step->text, &value, err);
    if (r == 0)
        r = signal_parse(value, &number, err);
    if (r == 0)
        set_string(s, "StopSignal", value);
    return r;
}

static int apply_maintainer(struct build_stage *s, const struct containerfile_step *step,
                            struct error *err)
{
    (void)err;
    json_object_set_new(s->image, "author", json_string(step->text));
    return 0;
}

static int apply_volume(struct build_stage *s, const struct containerfile_step *step,
                        struct error *err)
{
    for (size_t i = 0; step->words[i]; i++) {
        _cleanup_free_ char *value = NULL;
        int r = build_expand(s, step->words[i], &value, err);
        if (r < 0)
            return r;
        if (!*value)
            return error_invalid(err, "VOLUME of an empty path");
        _cleanup_free_ char *path = build_path(s, value);
        json_object_set_new(member(s, "Volumes", false), path, json_object());
    }
    return 0;
}

/* PORT[-PORT][/tcp|udp|sctp] */
static int expose(struct build_stage *s, const char *text, struct error *err)
{
    _cleanup_free_ char *copy = xstrdup(text);
    char *slash = strchr(copy, '/'), *protocol = slash ? slash + 1 : NULL;
    uint64_t first, last;
    if (slash)
        *slash = '\0';
    for (char *p = protocol; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    char *dash = strchr(copy, '-');
    if (dash)
        *dash = '\0';
    if (parse_u64(copy, 65535, &first) < 0 || parse_u64(dash ? dash + 1 : copy, 65535, &last) < 0 ||
        first == 0 || last < first || last - first >= EXPOSE_RANGE_MAX ||
        (protocol && strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0 &&
         strcmp(protocol, "sctp") != 0))
        return error_invalid(err, "EXPOSE \"%.60s\": use PORT[-PORT][/tcp|udp|sctp]", text);
    for (; first <= last; first++) {
        _cleanup_free_ char *name =
            xasprintf("%u/%s", (unsigned int)first, protocol ? protocol : "tcp");
        json_object_set_new(member(s, "ExposedPorts", false), name, json_object());
    }
    return 0;
}

static int apply_expose(struct build_stage *s, const struct containerfile_step *step,
                        struct error *err)
{
    struct containerfile_scope scope = build_scope(s);
    int r = 0;
    for (size_t i = 0; r == 0 && step->words[i]; i++) {
        _cleanup_strv_ char **ports = NULL;
        r = containerfile_expand_words(&scope, step->words[i], &ports, err);
        for (size_t k = 0; r == 0 && ports[k]; k++)
            r = expose(s, ports[k], err);
    }
    return r;
}

static int apply_onbuild(struct build_stage *s, const struct containerfile_step *step,
                         struct error *err)
{
    (void)err;
    json_array_append_new(member(s, "OnBuild", true), json_string(step->text));
    return 0;
}

/* Durations are nanoseconds in the configuration; absent ones are inherited. */
static int health_number(json_t *o, const struct containerfile_step *step, const char *flag,
                         const char *key, bool duration, struct error *err)
{
    const char *value = containerfile_flag(step, flag);
    uint64_t number;
    if (!value)
        return 0;
    if ((duration ? parse_duration(value, &number) : parse_u64(value, 1000000, &number)) < 0 ||
        number > INT64_MAX / 1000000)
        return error_invalid(err, "--%s=%.40s: use %s", flag, value,
                             duration ? "a duration such as 30s" : "a number");
    json_object_set_new(o, key, json_integer((json_int_t)(duration ? number * 1000000 : number)));
    return 0;
}

static int apply_health(struct build_stage *s, const struct containerfile_step *step,
                        struct error *err)
{
    static const struct {
        const char *flag, *key;
        bool duration;
    } numbers[] = {{"interval", "Interval", true},
                   {"timeout", "Timeout", true},
                   {"start-period", "StartPeriod", true},
                   {"start-interval", "StartInterval", true},
                   {"retries", "Retries", false}};
    _cleanup_json_ json_t *o = json_object();
    json_t *test = json_array();
    bool none = step->words && !step->exec_form;
    json_object_set_new(o, "Test", test);
    json_array_append_new(test, json_string(none ? "NONE" : step->exec_form ? "CMD" : "CMD-SHELL"));
    for (size_t i = 0; step->exec_form && step->words[i]; i++)
        json_array_append_new(test, json_string(step->words[i]));
    if (!step->words)
        json_array_append_new(test, json_string(step->text));
    int r = 0;
    for (size_t i = 0; r == 0 && !none && i < ARRAY_SIZE(numbers); i++)
        r = health_number(o, step, numbers[i].flag, numbers[i].key, numbers[i].duration, err);
    if (r == 0)
        json_object_set(s->settings, "Healthcheck", o);
    return r;
}

int build_settings_apply(struct build_stage *s, const struct containerfile_step *step,
                         struct error *err)
{
    static int (*const apply[CF_COUNT])(struct build_stage *, const struct containerfile_step *,
                                        struct error *) = {
        [CF_CMD] = apply_command,
        [CF_ENTRYPOINT] = apply_command,
        [CF_ENV] = apply_pairs,
        [CF_EXPOSE] = apply_expose,
        [CF_HEALTHCHECK] = apply_health,
        [CF_LABEL] = apply_pairs,
        [CF_MAINTAINER] = apply_maintainer,
        [CF_ONBUILD] = apply_onbuild,
        [CF_SHELL] = apply_shell,
        [CF_STOPSIGNAL] = apply_stop_signal,
        [CF_USER] = apply_user,
        [CF_VOLUME] = apply_volume,
    };
    return apply[step->kind](s, step, err);
}
