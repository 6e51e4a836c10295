#include "front/cli/registry.h"

#include <string.h>

#include "base/alloc.h"
#include "engine/system.h"
#include "front/cli/board.h"
#include "front/cli/output.h"

void registry_values_init(struct registry_values *v)
{
    v->tls_verify = true;
}

int registry_values_options(struct registry_values *v, struct registry_options *ret,
                            struct error *err)
{
    char *colon = v->creds ? strchr(v->creds, ':') : NULL;
    if (v->creds && (!colon || colon == v->creds))
        return error_invalid(err, "--creds: USER:PASSWORD is wanted");
    if (colon)
        *colon = '\0';
    *ret = (struct registry_options){.config = v->config,
                                     .auth_file = v->auth_file,
                                     .cert_dir = v->cert_dir,
                                     .user = v->creds,
                                     .password = colon ? colon + 1 : NULL,
                                     .insecure = !v->tls_verify};
    return 0;
}

static void show_bar(void *context, const struct image_pull_event *e)
{
    struct board_line line = {.done = e->done,
                              .total = e->total,
                              .over = e->state == LAYER_DONE || e->state == LAYER_EXISTS ||
                                      e->state == LAYER_MOUNTED};
    snprintf(line.label, sizeof(line.label), "%.12s", strchr(e->digest, ':') + 1);
    snprintf(line.state, sizeof(line.state), "%s", image_layer_state_name(e->state));
    board_set(context, e->index, e->n, &line);
}

static void show_json(void *context, const struct image_pull_event *e)
{
    (void)context;
    printf("{\"layer\":\"%s\",\"state\":\"%s\",\"bytes\":%llu,\"total\":%llu}\n", e->digest,
           image_layer_state_name(e->state), (unsigned long long)e->done,
           (unsigned long long)e->total);
    fflush(stdout);
}

int cli_pull(struct engine *e, const struct image_pull *how, enum pull_report report,
             struct image_pulled *ret, struct error *err)
{
    struct image_pull with = *how;
    _cleanup_free_ struct board *board = xnew(struct board);
    board_begin(board);
    board->active &= report == PULL_BARS;
    if (report != PULL_QUIET)
        with.event = report == PULL_JSON ? show_json : show_bar;
    with.context = board;
    int r = image_pull(e->store, &with, ret, err);
    board_end(board);
    return r;
}

int cli_push(struct engine *e, const struct image_push *how, enum pull_report report,
             struct image_pushed *ret, struct error *err)
{
    struct image_push with = *how;
    _cleanup_free_ struct board *board = xnew(struct board);
    board_begin(board);
    board->active &= report == PULL_BARS;
    if (report != PULL_QUIET)
        with.event = report == PULL_JSON ? show_json : show_bar;
    with.context = board;
    int r = image_push(e->store, &with, ret, err);
    board_end(board);
    return r;
}

/* Under the name it has in the store: whether it is there. */
static int find_there(struct engine *e, const char *name, bool *ret, struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    struct error why = ERROR_INIT;
    int r = image_find(e->store, name, &image, &why);
    *ret = r == 0;
    if (r < 0 && why.kind != ERROR_NOT_FOUND)
        return error_set(err, why.kind, why.code, "%s", why.msg);
    return 0;
}

static char *store_name(const struct reference *ref)
{
    _cleanup_free_ char *repository = reference_store_name(ref, NULL);
    if (ref->digest)
        return xasprintf("%s@%s", repository, ref->digest);
    return xasprintf("%s:%s", repository, ref->tag ? ref->tag : "latest");
}

static int get(struct engine *e, const struct reference *ref, const struct registry_options *o,
               const char *platform, struct error *err)
{
    _cleanup_(image_pulled_done) struct image_pulled pulled = {0};
    const struct image_pull how = {.from = ref, .registry = o, .platform = platform};
    return cli_pull(e, &how, PULL_BARS, &pulled, err);
}

int cli_pull_for_run(struct engine *e, const char *policy, const char *platform,
                     struct registry_values *v, char **image, struct error *err)
{
    _cleanup_(reference_done) struct reference ref = {0};
    struct registry_options o;
    bool always = policy && strcmp(policy, "always") == 0, there = false;
    int r;
    if (policy && strcmp(policy, "never") == 0)
        return 0;
    if (policy && !always && strcmp(policy, "missing") != 0)
        return error_invalid(err, "--pull: \"%.40s\" is neither always, missing nor never", policy);
    if (!always && ((r = find_there(e, *image, &there, err)) < 0 || there))
        return r;
    if ((r = registry_values_options(v, &o, err)) < 0)
        return r;
    if ((r = registry_resolve(&o, *image, &ref, err)) < 0)
        return error_prefix(err, "no such image here");
    _cleanup_free_ char *name = store_name(&ref);
    if (!always && ((r = find_there(e, name, &there, err)) < 0))
        return r;
    if (!there && (r = get(e, &ref, &o, platform, err)) < 0)
        return r;
    xreplace(image, name);
    return 0;
}
