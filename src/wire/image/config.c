#include "wire/image/config.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "wire/image/change.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

#define WHAT            "image configuration"
#define RESERVED_LABELS "proa."

void image_config_done(struct image_config *c)
{
    char **vectors[] = {c->diff_ids,      c->entrypoint, c->cmd,   c->env,
                        c->exposed_ports, c->volumes,    c->labels};
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
        strv_free(vectors[i]);
    free(c->architecture);
    free(c->os);
    free(c->variant);
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
    memset(c, 0, sizeof(*c));
}

static int copy_string(const json_t *o, const char *key, char **ret, struct error *err)
{
    const char *s = NULL;
    int r = json_get_string(o, WHAT, key, &s, err);
    if (r == 0 && s && *s)
        *ret = xstrdup(s);
    return r;
}

/* The keys of an object, sorted by nothing but the document. */
static int copy_keys(const json_t *o, const char *key, char ***ret, struct error *err)
{
    json_t *set = NULL, *value;
    const char *name;
    int r = json_get_object(o, WHAT, key, &set, err);
    if (r < 0 || !set)
        return r;
    *ret = strv_copy(NULL);
    json_object_foreach(set, name, value)
    {
        strv_add(ret, name);
    }
    return 0;
}

static int copy_labels(const json_t *o, struct image_config *c, struct error *err)
{
    json_t *set = NULL, *value;
    const char *name;
    int r = json_get_object(o, WHAT, "Labels", &set, err);
    if (r < 0 || !set)
        return r;
    c->labels = strv_copy(NULL);
    json_object_foreach(set, name, value)
    {
        if (!json_is_string(value))
            return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": a label is no string");
        if (strncmp(name, RESERVED_LABELS, strlen(RESERVED_LABELS)) != 0)
            strv_addf(&c->labels, "%s=%s", name, json_string_value(value));
    }
    return 0;
}

static int parse_settings(const json_t *o, struct image_config *c, struct error *err)
{
    json_t *s = NULL;
    int r = json_get_object(o, WHAT, "config", &s, err);
    if (r < 0 || !s)
        return r;
    if ((r = json_get_strv(s, WHAT, "Entrypoint", &c->entrypoint, err)) < 0 ||
        (r = json_get_strv(s, WHAT, "Cmd", &c->cmd, err)) < 0 ||
        (r = json_get_strv(s, WHAT, "Env", &c->env, err)) < 0 ||
        (r = copy_keys(s, "ExposedPorts", &c->exposed_ports, err)) < 0 ||
        (r = copy_keys(s, "Volumes", &c->volumes, err)) < 0 ||
        (r = copy_string(s, "User", &c->user, err)) < 0 ||
        (r = copy_string(s, "WorkingDir", &c->working_dir, err)) < 0 ||
        (r = copy_string(s, "StopSignal", &c->stop_signal, err)) < 0)
        return r;
    for (size_t i = 0; c->env && c->env[i]; i++)
        if (!strchr(c->env[i], '=') || c->env[i][0] == '=')
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             WHAT ": \"%.60s\" in Env is no NAME=VALUE", c->env[i]);
    return copy_labels(s, c, err);
}

static int parse_rootfs(const json_t *o, struct image_config *c, struct error *err)
{
    json_t *rootfs = NULL;
    const char *type = NULL;
    int r;
    if ((r = json_get_object(o, WHAT, "rootfs", &rootfs, err)) < 0)
        return r;
    if (!rootfs)
        return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": no \"rootfs\"");
    if ((r = json_get_string(rootfs, WHAT, "type", &type, err)) < 0 ||
        (r = json_get_strv(rootfs, WHAT, "diff_ids", &c->diff_ids, err)) < 0)
        return r;
    if (!type || strcmp(type, "layers") != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": rootfs is not made of layers");
    if (!c->diff_ids)
        c->diff_ids = strv_copy(NULL);
    if (strv_len(c->diff_ids) > MANIFEST_LAYERS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, WHAT ": more than %u layers",
                         MANIFEST_LAYERS_MAX);
    for (size_t i = 0; c->diff_ids[i]; i++)
        if (!digest_valid(c->diff_ids[i]))
            return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": a diff id is no sha256 digest");
    return 0;
}

static int parse_top(const json_t *o, struct image_config *c, struct error *err)
{
    const char *created = NULL;
    int r;
    if ((r = copy_string(o, "architecture", &c->architecture, err)) < 0 ||
        (r = copy_string(o, "os", &c->os, err)) < 0 ||
        (r = copy_string(o, "variant", &c->variant, err)) < 0 ||
        (r = json_get_string(o, WHAT, "created", &created, err)) < 0)
        return r;
    if (!c->architecture || !c->os)
        return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": no \"architecture\" or \"os\"");
    if (created && time_parse(created, &c->created_ns) < 0)
        c->created_ns = 0; /* a decoration: no reason to refuse the image */
    return 0;
}

int image_config_parse(const char *text, size_t len, struct image_config *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(image_config_done) struct image_config c = {0};
    int r = json_parse(text, len, WHAT, &o, err);
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": is no JSON object");
    if ((r = parse_top(o, &c, err)) < 0 || (r = parse_rootfs(o, &c, err)) < 0 ||
        (r = parse_settings(o, &c, err)) < 0)
        return r;
    *ret = c;
    memset(&c, 0, sizeof(c));
    return 0;
}

static json_t *member(json_t *o, const char *key, json_t *(*make)(void))
{
    json_t *m = json_object_get(o, key);
    if (!m || json_is_null(m)) {
        m = make();
        json_object_set_new(o, key, m);
    }
    return m;
}

/* The parent's document, whose shape image_config_parse has checked, or a new one. */
static int begin_document(const struct image_config_new *n, json_t **ret, struct error *err)
{
    /* What Docker once noted of the container that an image was made from. */
    static const char *const gone[] = {"container", "container_config", "id", "parent"};
    _cleanup_(image_config_done) struct image_config checked = {0};
    if (!n->parent) {
        *ret = json_pack("{s:s, s:s}", "architecture", platform_host_architecture(), "os", "linux");
        return 0;
    }
    int r = image_config_parse(n->parent, strlen(n->parent), &checked, err);
    if (r == 0 && strv_len(checked.diff_ids) >= MANIFEST_LAYERS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG,
                         "the image has %u layers already, and no more fit", MANIFEST_LAYERS_MAX);
    if (r == 0)
        r = json_parse(n->parent, strlen(n->parent), WHAT, ret, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(gone); i++)
        json_object_del(*ret, gone[i]);
    return r;
}

static int set_text(json_t *o, const char *key, const char *text, struct error *err)
{
    if (text && json_object_set_new(o, key, json_string(text)) < 0)
        return error_invalid(err, "the %s is no UTF-8 text", key);
    return 0;
}

static int add_history(json_t *o, const struct image_config_new *n, struct error *err)
{
    _cleanup_json_ json_t *step = json_object();
    int r;
    if ((r = set_text(step, "created", time_format(n->created_ns).s, err)) < 0 ||
        (r = set_text(step, "created_by", n->created_by ? n->created_by : "proa import", err)) <
            0 ||
        (r = set_text(step, "author", n->author, err)) < 0 ||
        (r = set_text(step, "comment", n->message, err)) < 0)
        return r;
    if (json_array_append(member(o, "history", json_array), step) < 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, WHAT ": \"history\" is no list");
    return 0;
}

int image_config_make(const struct image_config_new *n, char **ret_json, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    int r;
    if ((r = begin_document(n, &o, err)) < 0 ||
        (r = set_text(o, "created", time_format(n->created_ns).s, err)) < 0 ||
        (r = set_text(o, "author", n->author, err)) < 0 || (r = add_history(o, n, err)) < 0)
        return r;
    json_t *rootfs = member(o, "rootfs", json_object), *settings = member(o, "config", json_object);
    json_object_set_new(rootfs, "type", json_string("layers"));
    json_array_append_new(member(rootfs, "diff_ids", json_array), json_string(n->diff_id));
    for (size_t i = 0; n->changes && n->changes[i]; i++)
        if ((r = image_change_apply(settings, n->changes[i], err)) < 0)
            return r;
    *ret_json = json_to_text(o);
    return 0;
}
