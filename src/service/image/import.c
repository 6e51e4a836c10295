/* A root file system archive becomes an image of one layer. */
#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/image/internal.h"
#include "service/trust/trust.h"
#include "wire/image/digest.h"
#include "wire/image/manifest.h"

/* The changes are wrong before a long archive was read, or not at all. */
static int check_changes(const struct image_import *how, struct error *err)
{
    _cleanup_free_ char *unused = NULL;
    struct image_config_new n = {.diff_id = DIGEST_PREFIX, .changes = how->changes};
    return image_config_make(&n, &unused, err);
}

static int finish_row(struct image_draft *d, const struct image_import *how, const char *name,
                      struct error *err)
{
    _cleanup_free_ char *config = NULL;
    struct image_config_new n = {
        .diff_id = d->row.layers[0].diff_id,
        .message = how->message,
        .changes = how->changes,
        .created_ns = time_now_ns(),
    };
    int r = image_config_make(&n, &config, err);
    if (r < 0)
        return r;
    d->row.id = image_text_digest(config, strlen(config));
    d->row.architecture = xstrdup(platform_host_architecture());
    d->row.os = xstrdup("linux");
    d->row.created_ns = n.created_ns;
    if (name)
        strv_add(&d->row.names, name);
    return image_draft_blob(d, d->row.id, config, strlen(config), err);
}

int image_import(struct store *s, const struct image_import *how, char **ret_id, struct error *err)
{
    _cleanup_work_ struct image_work work = {.fd = -EBADF};
    _cleanup_(image_draft_done) struct image_draft draft = {.work = &work};
    _cleanup_free_ char *name = NULL;
    struct image_helper source = {
        .in = how->fd, .need_end = true, .progress = how->progress, .context = how->context};
    int r;
    if (how->name && (r = image_name_parse(how->name, &name, err)) < 0)
        return r;
    if ((r = check_changes(how, err)) < 0 ||
        (r = trust_check_local(s, TRUST_TRANSPORT_TAR, NULL, err)) < 0)
        return error_prefix(err, "import");
    if ((r = image_work_begin(s, &work, err)) < 0)
        return r;
    if ((r = image_draft_layer(&draft, &source, NULL, NULL, err)) < 0)
        return error_prefix(err, "import");
    if ((r = finish_row(&draft, how, name, err)) < 0 || (r = image_draft_publish(&draft, err)) < 0)
        return r;
    *ret_id = xstrdup(draft.row.id);
    return 0;
}
