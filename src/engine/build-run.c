/* RUN: what is executed, by which key it is known, and the layer of what it has changed. */
#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/build-internal.h"
#include "engine/pipeline.h"
#include "kernel/tree.h"

struct run {
    struct build_stage *s;
    const struct containerfile_step *step;
    char **argv, **env;
    const char *network;
    char *script; /* a here-document that begins with "#!": executed as a file */
    char *shown;  /* the command for history and messages */
    struct build_mounts mounts;
};

static void run_done(struct run *r)
{
    strv_free(r->argv);
    strv_free(r->env);
    free(r->script);
    free(r->shown);
    build_mounts_done(&r->mounts);
}

/* --- what is executed --- */

/* The whole command is one here-document: its body is the script. */
static bool is_script(const struct containerfile_step *step)
{
    return step->n_docs == 1 && strncmp(step->text, "<<", 2) == 0 && !strpbrk(step->text, " \t");
}

static void use_script(struct run *r)
{
    _cleanup_free_ char *text = containerfile_doc_text(&r->step->docs[0]);
    if (strncmp(text, "#!", 2) == 0) {
        r->script = TAKE_PTR(text);
        strv_addf(&r->argv, "/dev/pipes/%s", r->step->docs[0].name);
        return;
    }
    const struct containerfile_step shell = {.text = text};
    r->argv = build_command(r->s, &shell);
}

/* The shell reads the here-documents itself. */
static void use_docs(struct run *r)
{
    char *text = xstrdup(r->step->text);
    for (size_t i = 0; i < r->step->n_docs; i++) {
        const struct containerfile_doc *doc = &r->step->docs[i];
        char *longer = xasprintf("%s\n%s%s", text, doc->text, doc->name);
        free(text);
        text = longer;
    }
    const struct containerfile_step shell = {.text = text};
    r->argv = build_command(r->s, &shell);
    free(text);
}

static void find_command(struct run *r)
{
    if (is_script(r->step))
        use_script(r);
    else if (r->step->n_docs > 0)
        use_docs(r);
    else
        r->argv = build_command(r->s, r->step);
    r->shown = strv_join(r->argv, " ");
}

static int find_network(struct run *r, struct error *err)
{
    const char *flag = containerfile_flag(r->step, "network"), *given = r->s->build->o->network;
    r->network = flag ? flag : given ? given : "default";
    if (strcmp(r->network, "default") != 0 && strcmp(r->network, "none") != 0 &&
        strcmp(r->network, "host") != 0)
        return error_invalid(err, "network \"%.60s\": one of default, none, host", r->network);
    if (r->s->build->o->vm && strcmp(r->network, "host") == 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine has its own network stack and cannot share the host's");
    const char *security = containerfile_flag(r->step, "security");
    if (security && strcmp(security, "sandbox") != 0)
        return error_set(err, ERROR_DENIED, EPERM,
                         "--security=%.40s: steps always run with the profile of a container",
                         security);
    return 0;
}

/* --- what it has changed --- */

struct harvest {
    struct build *b;
    int upper;
    const struct build_key *key;
    struct image_layer layer;
};

static int send_changes(void *context, int fd, struct error *err)
{
    const struct harvest *h = context;
    return tree_send_changes(&h->upper, 1, h->b->newest_ns, fd, err);
}

static int make_layer(void *context, int fd, struct error *err)
{
    struct harvest *h = context;
    return image_build_layer(&h->b->image, fd, h->key->text, h->b->created_ns, &h->layer, err);
}

static int keep_changes(struct run *r, int upper, const struct build_key *key,
                        const char *created_by, struct error *err)
{
    struct build *b = r->s->build;
    struct harvest h = {.b = b, .upper = upper, .key = key};
    bool changed = false;
    int rc = tree_has_changes(upper, &changed, err);
    if (rc == 0)
        rc = changed ? pipeline_run(send_changes, make_layer, &h, err)
                     : image_build_unchanged(&b->image, key->text, b->created_ns, err);
    if (rc == 0)
        build_stage_add(r->s, &h.layer, created_by, b->created_ns);
    return rc;
}

/* --- all of it --- */

static int make_key(struct run *r, struct build_key *ret, struct error *err)
{
    struct sha256 h;
    build_key_begin(&h, r->s, "RUN");
    build_key_add_list(&h, r->argv);
    sha256_add_text(&h, r->script);
    build_key_add_list(&h, r->env);
    sha256_add_text(&h, build_setting(r->s, "User"));
    sha256_add_text(&h, build_setting(r->s, "WorkingDir"));
    sha256_add_text(&h, r->network);
    sha256_add_u64(&h, r->s->build->o->vm);
    int rc = build_mounts_key(r->s, &r->mounts, &h, err);
    if (rc == 0)
        *ret = build_key_end(&h);
    return rc;
}

static int add_script(struct run *r, struct spec_mounts *mounts, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    if (!r->script)
        return 0;
    int rc = build_mount_text(r->s->build, r->script, strlen(r->script), 0755, 0, 0, &path, err);
    if (rc == 0)
        build_mounts_add(mounts, "bind", path, r->argv[0], NULL, true);
    return rc;
}

static int execute(struct run *r, const struct build_key *key, const char *created_by,
                   struct error *err)
{
    _cleanup_strv_ char **env = build_environment(r->s, true);
    _cleanup_(build_box_done) struct build_box box = {.stage = r->s,
                                                      .argv = r->argv,
                                                      .network = r->network,
                                                      .networks = {(char *)r->network, NULL},
                                                      .changes = -EBADF};
    int status = 0, rc;
    if ((rc = build_namespace(r->s->build, err)) < 0 ||
        (rc = build_mounts_make(r->s, &r->mounts, &box.mounts, &env, err)) < 0 ||
        (rc = add_script(r, &box.mounts, err)) < 0)
        return rc;
    box.env = env;
    if ((rc = build_box_run(&box, &status, err)) < 0)
        return rc;
    if (status != 0)
        return error_invalid(err, "RUN %.300s: exit code %d", r->shown, status);
    return keep_changes(r, box.changes, key, created_by, err);
}

int build_run(struct build_stage *s, const struct containerfile_step *step, struct error *err)
{
    _cleanup_(run_done) struct run r = {.s = s, .step = step};
    struct build_key key;
    int rc = find_network(&r, err);
    if (rc < 0 || (rc = build_mounts_parse(s, step, &r.mounts, err)) < 0)
        return rc;
    find_command(&r);
    r.env = build_environment(s, false);
    _cleanup_free_ char *created_by = xasprintf("RUN %s", r.shown);
    if ((rc = make_key(&r, &key, err)) < 0)
        return rc;
    rc = build_key_use(s, &key, created_by, err);
    return rc != 0 ? MIN(rc, 0) : execute(&r, &key, created_by, err);
}
