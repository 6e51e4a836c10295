/*
 * commit. What the instance has changed becomes a layer on top of its image, and what it was
 * started with becomes the new image's configuration, as Docker has it. A running container stands
 * still while its files are read; a machine reads its own files, so it cannot.
 */
#include "service/image/commit.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/archive.h"
#include "engine/engine-internal.h"
#include "engine/pipeline.h"

struct commit {
    struct subject *subject;
    struct image_commit *image;
};

static int send_layer(void *context, int fd, struct error *err)
{
    const struct commit *c = context;
    return subject_ops(c->subject)->send_tree(&c->subject->target, TREE_LAYER, fd, err);
}

static int receive_layer(void *context, int fd, struct error *err)
{
    struct commit *c = context;
    return image_commit_layer(c->image, fd, err);
}

/* NAME="VALUE" with what a change's quotes need escaped. */
static void add_pair(char ***changes, const char *instruction, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (!equals)
        return;
    _cleanup_free_ char *value = xcalloc(2 * strlen(equals) + 1, 1);
    size_t n = 0;
    for (const char *p = equals + 1; *p; p++) {
        if (*p == '"' || *p == '\\')
            value[n++] = '\\';
        value[n++] = *p;
    }
    strv_addf(changes, "%s %.*s=\"%s\"", instruction, (int)(equals - pair), pair, value);
}

static void add_list(char ***changes, const char *instruction, char *const *words)
{
    _cleanup_json_ json_t *list = json_from_strv(words);
    _cleanup_free_ char *text = json_to_text(list);
    strv_addf(changes, "%s %s", instruction, text);
}

static void add_text(char ***changes, const char *instruction, const char *text)
{
    if (text && *text)
        strv_addf(changes, "%s %s", instruction, text);
}

/* The options of the instance as changes of its image. */
static char **changes_of(const struct create_options *o, char *const *more)
{
    char **changes = strv_copy(NULL);
    char *const none[] = {NULL}, *const entrypoint[] = {o->entrypoint, NULL};
    for (size_t i = 0; o->env && o->env[i]; i++)
        add_pair(&changes, "ENV", o->env[i]);
    for (size_t i = 0; o->labels && o->labels[i]; i++)
        add_pair(&changes, "LABEL", o->labels[i]);
    if (o->entrypoint)
        add_list(&changes, "ENTRYPOINT", *o->entrypoint ? entrypoint : none);
    if (o->command && o->command[0])
        add_list(&changes, "CMD", o->command);
    else if (o->entrypoint)
        add_list(&changes, "CMD", none); /* the image's belongs to the image's entrypoint */
    add_text(&changes, "USER", o->user);
    add_text(&changes, "WORKDIR", o->working_dir);
    add_text(&changes, "STOPSIGNAL", o->stop_signal);
    for (size_t i = 0; more && more[i]; i++)
        strv_add(&changes, more[i]);
    return changes;
}

static int read_layer(struct commit *c, bool pause, struct error *err)
{
    struct subject *s = c->subject;
    bool still =
        pause && s->status.alive && s->record.kind == RUNTIME_CONTAINER && !subject_paused(s);
    int r = still ? subject_pause(s, err) : 0;
    if (r < 0)
        return r;
    r = pipeline_run(send_layer, receive_layer, c, err);
    if (still) {
        struct error later = ERROR_INIT;
        int thawed = subject_unpause(s, r < 0 ? &later : err);
        r = r < 0 ? r : thawed;
    }
    return r;
}

int engine_commit(struct engine *e, const struct commit_options *o, char **ret_id,
                  struct error *err)
{
    _cleanup_subject_ struct subject s = SUBJECT_INIT;
    _cleanup_image_ struct image *parent = NULL;
    _cleanup_commit_ struct image_commit *commit = NULL;
    _cleanup_strv_ char **changes = NULL;
    _cleanup_free_ char *command = NULL;
    int r;
    if ((r = subject_open(e, o->reference, SUBJECT_LOCKED, &s, err)) < 0 ||
        (r = subject_needs_tree(&s, err)) < 0 ||
        (r = image_find(e->store, s.record.image_id, &parent, err)) < 0)
        return r;
    changes = changes_of(&s.options, o->changes);
    if (s.options.command && s.options.command[0])
        command = strv_join(s.options.command, " ");
    const struct image_commit_as as = {
        .name = o->name,
        .created_by = command,
        .author = o->author,
        .message = o->message,
        .changes = changes,
    };
    if ((r = image_commit_check(parent, &as, err)) < 0 ||
        (r = image_commit_begin(e->store, parent, &commit, err)) < 0)
        return r;
    struct commit c = {.subject = &s, .image = commit};
    r = read_layer(&c, o->pause, err);
    return r < 0 ? r : image_commit_finish(commit, &as, ret_id, err);
}
