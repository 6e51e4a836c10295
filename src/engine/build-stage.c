/* A stage: what it begins from, its steps in their order, and what history says of them. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"
#include "wire/image/manifest.h"

void build_stage_done(struct build_stage *s)
{
    json_decref(s->image);
    s->image = NULL;
    build_root_done(&s->root);
    strv_free(s->args);
    s->args = NULL;
}

struct build_stage *build_find_stage(struct build *b, const char *name, size_t before)
{
    uint64_t number;
    for (size_t i = 0; i < before; i++)
        if (b->stages[i].def->name && strcasecmp(b->stages[i].def->name, name) == 0)
            return &b->stages[i];
    return parse_u64(name, before - (before > 0), &number) == 0 && number < before
               ? &b->stages[number]
               : NULL;
}

/* --- history --- */

static void add_history(struct build_stage *s, const char *created_by, int64_t created_ns,
                        bool empty)
{
    json_t *entry = json_object();
    struct text64 created = time_format(created_ns);
    /* A step without files of its own is as old as the image: build.c fills that in. */
    if (created_ns)
        json_object_set_new(entry, "created", json_string(created.s));
    json_object_set_new(entry, "created_by", json_string(created_by));
    if (empty)
        json_object_set_new(entry, "empty_layer", json_true());
    json_array_append_new(s->history, entry);
}

void build_stage_note(struct build_stage *s, const char *created_by)
{
    add_history(s, created_by, 0, true);
}

void build_stage_add(struct build_stage *s, struct image_layer *layer, const char *created_by,
                     int64_t created_ns)
{
    if (s->build->o->has_epoch)
        created_ns = s->build->created_ns;
    if (!layer->diff_id) {
        build_stage_note(s, created_by);
        return;
    }
    build_root_close(&s->root);
    s->root.layers = xreallocarray(s->root.layers, s->root.n_layers + 1, sizeof(*s->root.layers));
    s->root.layers[s->root.n_layers++] = *layer;
    *layer = (struct image_layer){0};
    add_history(s, created_by, created_ns, false);
}

/* --- FROM --- */

int build_image_find(struct build *b, const char *name, struct image **ret, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *there = xstrdup(name);
    const char *host = platform_host_architecture();
    int r = b->o->get_image ? b->o->get_image(b->o->get_image_context, b->e, &there, err) : 0;
    if (r == 0)
        r = image_find(b->e->store, there, &image, err);
    if (r < 0)
        return r;
    if (strcmp(image->architecture, host) != 0 || strcmp(image->os, "linux") != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOEXEC,
                         "image %.200s is for %.20s/%.20s, this host builds for linux/%s", name,
                         image->os, image->architecture, host);
    *ret = TAKE_PTR(image);
    return 0;
}

static json_t *member(json_t *o, const char *name, bool list)
{
    json_t *m = json_object_get(o, name);
    if (list ? !json_is_array(m) : !json_is_object(m)) {
        m = list ? json_array() : json_object();
        json_object_set_new(o, name, m);
    }
    return m;
}

static void use_config(struct build_stage *s, json_t *config)
{
    static const char *const others[] = {"container", "container_config", "docker_version", "id",
                                         "parent"};
    s->image = config;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        json_object_del(config, others[i]);
    s->settings = member(config, "config", false);
    s->history = member(config, "history", true);
}

static json_t *empty_config(void)
{
    return json_pack("{s:s, s:{}, s:s, s:[], s:s, s:{s:[], s:s}}", "architecture",
                     platform_host_architecture(), "config", "created", "1970-01-01T00:00:00Z",
                     "history", "os", "linux", "rootfs", "diff_ids", "type", "layers");
}

static int check_platform(const char *platform, struct error *err)
{
    const char *host = platform_host_architecture();
    _cleanup_free_ char *ours = xasprintf("linux/%s", host);
    size_t len = strlen(ours);
    if (strncmp(platform, ours, len) == 0 && (!platform[len] || platform[len] == '/'))
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, ENOEXEC,
                     "platform %.60s: this host builds for %s only", platform, ours);
}

static int begin_from_image(struct build_stage *s, const char *name, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    json_t *config = NULL;
    int r = build_image_find(s->build, name, &image, err);
    if (r == 0)
        r = json_parse(image->config_json, strlen(image->config_json), "image configuration",
                       &config, err);
    if (r < 0)
        return r;
    use_config(s, config);
    build_root_copy_layers(&s->root, image->layers, image->n_layers);
    return 0;
}

static int begin(struct build_stage *s, const struct containerfile_step *step, struct error *err)
{
    struct build *b = s->build;
    struct containerfile_scope scope = build_global_scope(b);
    const char *flag = containerfile_flag(step, "platform");
    _cleanup_free_ char *platform = NULL, *name = NULL;
    int r = containerfile_expand(&scope,
                                 flag             ? flag
                                 : b->o->platform ? b->o->platform
                                                  : "",
                                 &platform, err);
    if (r < 0 || (*platform && (r = check_platform(platform, err)) < 0) ||
        (r = containerfile_expand(&scope, step->words[0], &name, err)) < 0)
        return r;
    if (!*name)
        return error_invalid(err, "FROM of an empty name: a variable in \"%.60s\" has no value",
                             step->words[0]);
    struct build_stage *from = build_find_stage(b, name, s->index);
    if (from) {
        use_config(s, json_deep_copy(from->image));
        build_root_copy_layers(&s->root, from->root.layers, from->root.n_layers);
    } else if (strcmp(name, "scratch") == 0) {
        use_config(s, empty_config());
    } else {
        r = begin_from_image(s, name, err);
    }
    s->n_base = s->root.n_layers;
    return r;
}

/* --- the steps --- */

static int apply_arg(struct build_stage *s, const struct containerfile_step *step,
                     struct error *err)
{
    return build_arg(s->build, s, step, err);
}

static const struct {
    int (*apply)(struct build_stage *s, const struct containerfile_step *step, struct error *err);
    bool notes; /* writes its own history */
} actions[CF_COUNT] = {
    [CF_ADD] = {build_copy, true},
    [CF_ARG] = {apply_arg, false},
    [CF_CMD] = {build_settings_apply, false},
    [CF_COPY] = {build_copy, true},
    [CF_ENTRYPOINT] = {build_settings_apply, false},
    [CF_ENV] = {build_settings_apply, false},
    [CF_EXPOSE] = {build_settings_apply, false},
    [CF_FROM] = {begin, true},
    [CF_HEALTHCHECK] = {build_settings_apply, false},
    [CF_LABEL] = {build_settings_apply, false},
    [CF_MAINTAINER] = {build_settings_apply, false},
    [CF_ONBUILD] = {build_settings_apply, false},
    [CF_RUN] = {build_run, true},
    [CF_SHELL] = {build_settings_apply, false},
    [CF_STOPSIGNAL] = {build_settings_apply, false},
    [CF_USER] = {build_settings_apply, false},
    [CF_VOLUME] = {build_settings_apply, false},
    [CF_WORKDIR] = {build_workdir, true},
};

static char *step_text(const struct containerfile_step *step)
{
    char *text = xstrdup(containerfile_kind_name(step->kind));
    for (size_t i = 0; i < step->n_flags; i++) {
        char *longer = xasprintf("%s --%s=%s", text, step->flags[i].name, step->flags[i].value);
        free(text);
        text = longer;
    }
    char *whole = xasprintf("%s %s", text, step->text);
    free(text);
    return whole;
}

static int run_step(struct build_stage *s, const struct containerfile_step *step, struct error *err)
{
    int r = build_interrupted(err);
    if (r == 0)
        r = actions[step->kind].apply(s, step, err);
    if (r == 0 && !actions[step->kind].notes) {
        _cleanup_free_ char *text = step_text(step);
        build_stage_note(s, text);
    }
    return r < 0 ? error_prefix(err, "%s:%u", s->build->file.name, step->line) : 0;
}

/* What the base wants done in images that begin from it. */
static int run_triggers(struct build_stage *s, unsigned int line, struct error *err)
{
    _cleanup_strv_ char **triggers = build_setting_list(s, "OnBuild");
    int r = 0;
    json_object_del(s->settings, "OnBuild");
    for (size_t i = 0; r == 0 && triggers && triggers[i]; i++) {
        struct containerfile_step step = {.kind = CF_COUNT};
        r = containerfile_parse_line(triggers[i], &step, err);
        if (r == 0 && (step.kind == CF_FROM || step.kind == CF_ONBUILD || step.n_docs > 0))
            r = error_invalid(err, "it cannot be done later");
        step.line = line;
        if (r == 0) {
            build_say(s->build, "ONBUILD %s", triggers[i]);
            r = run_step(s, &step, err);
        } else {
            r = error_prefix(err, "%s:%u: ONBUILD %.100s", s->build->file.name, line, triggers[i]);
        }
        containerfile_step_done(&step);
    }
    return r;
}

int build_stage_run(struct build_stage *s, struct error *err)
{
    struct build *b = s->build;
    int r = 0;
    for (size_t i = s->def->from; r == 0 && i < s->def->end; i++) {
        const struct containerfile_step *step = &b->file.steps[i];
        _cleanup_free_ char *text = step_text(step);
        build_say(b, "STEP %u/%u: %s", ++b->step, b->n_steps, text);
        r = run_step(s, step, err);
        if (r == 0 && i == s->def->from)
            r = run_triggers(s, step->line, err);
    }
    s->done = r == 0;
    return r;
}
