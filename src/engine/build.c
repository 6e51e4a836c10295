/*
 * A build from its options to its image:
 *
 *   context    the directory, or the archive on stdin; the Containerfile
 *   plan       the ARGs before the first FROM; which stages the wanted one needs
 *   stages     in the order of the file (build-stage.c)
 *   image      labels, history, creation time; rows and files in one transaction
 *
 * Signals that ask the process to end are noticed between files and while a command runs; then the
 * build fails like any other.
 */
#include "engine/build.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-internal.h"
#include "wire/image/manifest.h"

static volatile sig_atomic_t signalled;

static const int end_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void note_signal(int signum)
{
    signalled = signum;
}

int build_interrupted(struct error *err)
{
    return signalled ? error_set(err, ERROR_SYSTEM, ECANCELED, "interrupted") : 0;
}

void build_say(struct build *b, const char *fmt, ...)
{
    va_list ap;
    if (!b->o->report.line)
        return;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    b->o->report.line(b->o->report.context, text);
}

/* --- plan --- */

static int read_globals(struct build *b, struct error *err)
{
    int r = build_global_init(b, err);
    for (size_t i = 0; r == 0 && i < b->file.stages[0].from; i++)
        if ((r = build_arg(b, NULL, &b->file.steps[i], err)) < 0)
            (void)error_prefix(err, "%s:%u", b->file.name, b->file.steps[i].line);
    return r;
}

static void need(struct build *b, size_t index);

static void need_named(struct build *b, const char *name, size_t before)
{
    struct build_stage *s = build_find_stage(b, name, before);
    if (s)
        need(b, s->index);
}

/* The word after "from=" of a RUN --mount. */
static void need_mount(struct build *b, const char *mount, size_t before)
{
    _cleanup_strv_ char **parts = strv_split(mount, ',');
    const char *from = env_get(parts, "from");
    if (from)
        need_named(b, from, before);
}

static void need_of_step(struct build *b, const struct containerfile_step *step, size_t before)
{
    struct containerfile_scope scope = build_global_scope(b);
    _cleanup_free_ char *name = NULL;
    if (step->kind == CF_FROM && containerfile_expand(&scope, step->words[0], &name, NULL) == 0)
        need_named(b, name, before);
    for (size_t i = 0; i < step->n_flags; i++) {
        if (strcmp(step->flags[i].name, "from") == 0)
            need_named(b, step->flags[i].value, before);
        if (strcmp(step->flags[i].name, "mount") == 0)
            need_mount(b, step->flags[i].value, before);
    }
}

static void need(struct build *b, size_t index)
{
    struct build_stage *s = &b->stages[index];
    if (s->needed)
        return;
    s->needed = true;
    b->n_steps += (unsigned int)(s->def->end - s->def->from);
    for (size_t i = s->def->from; i < s->def->end; i++)
        need_of_step(b, &b->file.steps[i], index);
}

static int plan(struct build *b, struct build_stage **ret, struct error *err)
{
    size_t n = b->file.n_stages;
    b->stages = xcalloc(n, sizeof(*b->stages));
    for (size_t i = 0; i < n; i++)
        b->stages[i] = (struct build_stage){
            .build = b, .def = &b->file.stages[i], .index = i, .root = {.fd = -EBADF}};
    struct build_stage *wanted =
        b->o->target ? build_find_stage(b, b->o->target, n) : &b->stages[n - 1];
    if (!wanted)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%s has no stage \"%.60s\"", b->file.name,
                         b->o->target);
    need(b, wanted->index);
    *ret = wanted;
    return 0;
}

/* --- the image --- */

static int add_labels(struct build *b, struct build_stage *s, struct error *err)
{
    json_t *labels = json_object_get(s->settings, "Labels");
    for (size_t i = 0; b->o->labels && b->o->labels[i]; i++) {
        const char *text = b->o->labels[i], *equals = strchrnul(text, '=');
        if (equals == text || !containerfile_text_valid(text, strlen(text)))
            return error_invalid(err, "--label \"%.60s\": use NAME=VALUE", text);
        if (!json_is_object(labels)) {
            labels = json_object();
            json_object_set_new(s->settings, "Labels", labels);
        }
        _cleanup_free_ char *name = xstrndup(text, (size_t)(equals - text));
        json_object_set_new(labels, name, json_string(*equals ? equals + 1 : ""));
    }
    return 0;
}

static void set_created(struct build_stage *s, int64_t created_ns)
{
    struct text64 created = time_format(created_ns);
    json_t *entry;
    size_t i;
    json_object_set_new(s->image, "created", json_string(created.s));
    json_array_foreach(s->history, i,
                       entry) if (json_is_object(entry) && !json_object_get(entry, "created"))
        json_object_set_new(entry, "created", json_string(created.s));
}

static void set_layers(struct build_stage *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->root.n_layers; i++)
        json_array_append_new(list, json_string(s->root.layers[i].diff_id));
    json_object_set_new(s->image, "rootfs",
                        json_pack("{s:o, s:s}", "diff_ids", list, "type", "layers"));
}

/* An image of the same ingredients is as old as the first that was made of them. */
static int find_created(struct build *b, struct build_stage *s, int64_t *ret, struct error *err)
{
    struct sha256 h;
    struct image_layer none = {0};
    bool found = false;
    *ret = b->created_ns;
    if (b->o->has_epoch)
        return 0;
    json_object_set_new(s->image, "created", json_null());
    _cleanup_free_ char *text = json_to_text(s->image);
    build_key_begin(&h, s, "IMAGE");
    sha256_add_text(&h, text);
    struct build_key key = build_key_end(&h);
    int r = b->o->no_cache ? 0 : image_build_cached(&b->image, key.text, &none, ret, &found, err);
    if (r == 0 && !found)
        r = image_build_unchanged(&b->image, key.text, b->created_ns, err);
    return r;
}

static int parse_names(struct build *b, char ***ret, struct error *err)
{
    _cleanup_strv_ char **names = strv_copy(NULL);
    for (size_t i = 0; b->o->names && b->o->names[i]; i++) {
        char *name = NULL;
        int r = image_name_parse(b->o->names[i], &name, err);
        if (r < 0)
            return r;
        strv_take(&names, name);
    }
    *ret = TAKE_PTR(names);
    return 0;
}

static int publish(struct build *b, struct build_stage *s, char *const *names, char **ret_id,
                   struct error *err)
{
    int64_t created_ns = 0;
    int r;
    if ((r = add_labels(b, s, err)) < 0 || (b->o->squash && (r = build_squash(s, err)) < 0))
        return r;
    set_layers(s);
    if ((r = find_created(b, s, &created_ns, err)) < 0)
        return r;
    set_created(s, created_ns);
    _cleanup_free_ char *config = json_to_text(s->image);
    const char *variant = json_string_value(json_object_get(s->image, "variant"));
    struct image_build_result result = {
        .config = config,
        .architecture = platform_host_architecture(),
        .variant = variant,
        .created_ns = created_ns,
        .layers = s->root.layers,
        .n_layers = s->root.n_layers,
        .names = names,
    };
    return image_build_publish(&b->image, &result, ret_id, err);
}

/* --- all of it --- */

static int prepare(struct build *b, struct build_stage **ret, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(CONTAINERFILE_MAX_BYTES);
    _cleanup_free_ char *name = NULL;
    int r = build_context_open(b, &text, &name, err);
    if (r == 0)
        r = containerfile_parse(text.data ? text.data : "", text.len, name, &b->file, err);
    if (r == 0)
        r = read_globals(b, err);
    return r < 0 ? r : plan(b, ret, err);
}

static void warn_unused(struct build *b)
{
    for (size_t i = 0; b->o->build_args && b->o->build_args[i]; i++)
        if (!b->args_used[i] && strncmp(b->o->build_args[i], "SOURCE_DATE_EPOCH=", 18) != 0)
            build_say(b, "[warning] no ARG takes --build-arg %.*s",
                      (int)strcspn(b->o->build_args[i], "="), b->o->build_args[i]);
}

static int run_stages(struct build *b, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->file.n_stages; i++)
        if (b->stages[i].needed)
            r = build_stage_run(&b->stages[i], err);
    return r;
}

static void build_done(struct build *b)
{
    build_box_end(b);
    for (size_t i = 0; b->stages && i < b->file.n_stages; i++)
        build_stage_done(&b->stages[i]);
    for (size_t i = 0; i < b->n_images; i++)
        build_root_done(&b->images[i]);
    build_root_done(&b->context);
    if (b->mounts)
        umount2(b->mounts, MNT_DETACH | UMOUNT_NOFOLLOW);
    image_build_end(&b->image);
    ignore_done(&b->ignore);
    containerfile_done(&b->file);
    strv_free(b->global_args);
    free(b->args_used);
    free(b->stages);
    free(b->images);
    free(b->mounts);
}

static int run(struct build *b, char **ret_id, struct error *err)
{
    struct build_stage *wanted = NULL;
    _cleanup_strv_ char **names = NULL;
    int r;
    if ((r = parse_names(b, &names, err)) < 0 ||
        (r = image_build_begin(b->e->store, &b->image, err)) < 0 ||
        (r = prepare(b, &wanted, err)) < 0 || (r = run_stages(b, err)) < 0)
        return r;
    warn_unused(b);
    return publish(b, wanted, names, ret_id, err);
}

int engine_build(struct engine *e, const struct build_options *o, char **ret_id, struct error *err)
{
    struct build b = {.e = e,
                      .o = o,
                      .image = {.work_fd = -EBADF, .held = -EBADF, .lock = -EBADF},
                      .context = {.fd = -EBADF},
                      .port = {.fd = -EBADF},
                      .run_lock = -EBADF,
                      .created_ns = o->has_epoch ? o->epoch_s * 1000000000 : time_now_ns(),
                      .newest_ns = o->has_epoch ? o->epoch_s * 1000000000 : INT64_MAX};
    const struct sigaction catch = {.sa_handler = note_signal};
    struct sigaction before[ARRAY_SIZE(end_signals)];
    signalled = 0;
    for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
        sigaction(end_signals[i], &catch, &before[i]);
    int r = run(&b, ret_id, err);
    build_done(&b);
    for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
        sigaction(end_signals[i], &before[i], NULL);
    return r;
}

int engine_build_prune(struct engine *e, int64_t older_than_s, uint64_t *ret_bytes,
                       struct error *err)
{
    int64_t before = older_than_s > 0 ? time_now_ns() - older_than_s * 1000000000 : INT64_MAX;
    int r = image_build_forget(e->store, before, ret_bytes, err);
    if (r < 0 || older_than_s > 0)
        return r;
    _cleanup_free_ char *mounts = path_join(e->store->root, "cache/build");
    *ret_bytes += path_disk_use(mounts);
    r = path_remove_tree(AT_FDCWD, mounts);
    return r < 0 ? error_errno(err, r, "remove %s", mounts) : 0;
}
