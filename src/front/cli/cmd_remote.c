/* Looking at a repository in its registry, and removing from it. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/cli/commands.h"
#include "front/cli/output.h"
#include "front/cli/registry.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/registry/remote.h"

/* --- image tags --- */

struct remote_values {
    struct registry_values registry;
};
static const struct cli_option remote_table[] = {
    REGISTRY_OPTIONS(struct remote_values),
};

static void remote_init(void *values)
{
    registry_values_init(&((struct remote_values *)values)->registry);
}

static int handle_tags(struct cli *cli, void *values, char **args)
{
    struct remote_values *v = values;
    struct error err = ERROR_INIT;
    struct registry_options o;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_strv_ char **tags = NULL;
    (void)cli;
    if (registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_resolve(&o, args[0], &of, &err) < 0 || registry_tags(&o, &of, &tags, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; tags[i]; i++)
        puts(tags[i]);
    return 0;
}

const struct command cmd_image_tags = {
    .name = "image tags",
    .usage = "[OPTIONS] HOST[:PORT]/NAME",
    .summary = "List the tags that a repository has in its registry",
    .sets = {OPTION_SET(remote_table)},
    .values_size = sizeof(struct remote_values),
    .init = remote_init,
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_tags,
};

/* --- image referrers --- */

struct referrers_values {
    struct list_values list;
    struct registry_values registry;
};
static const struct cli_option referrers_table[] = {
    LIST_OPTIONS(struct referrers_values),
    REGISTRY_OPTIONS(struct referrers_values),
};
static const struct column referrers_columns[] = {
    {"DIGEST", "Digest", true, true},
    {"TYPE", "Type", true, true},
    {"SIZE", "Size", true},
};
static const struct list_spec referrers_spec = {referrers_columns, ARRAY_SIZE(referrers_columns),
                                                "Digest"};

static void referrers_init(void *values)
{
    registry_values_init(&((struct referrers_values *)values)->registry);
}

static json_t *referrer_row(const json_t *entry)
{
    json_t *row = json_object();
    const char *type = json_string_value(json_object_get(entry, "artifactType"));
    if (!type)
        type = json_string_value(json_object_get(entry, "mediaType"));
    json_int_t size = json_integer_value(json_object_get(entry, "size"));
    row_set(row, "Digest", json_string_value(json_object_get(entry, "digest")));
    row_set(row, "Type", type ? type : "");
    row_set(row, "Size", format_size(size > 0 ? (uint64_t)size : 0).s);
    return row;
}

static int handle_referrers(struct cli *cli, void *values, char **args)
{
    struct referrers_values *v = values;
    static const char *const no_filters[] = {NULL};
    struct error err = ERROR_INIT;
    struct registry_options o;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_json_ json_t *list = NULL, *rows = json_array();
    json_t *entry;
    size_t i;
    (void)cli;
    if (filters_check(v->list.filters, no_filters, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_resolve(&o, args[0], &of, &err) < 0 ||
        registry_referrers(&o, &of, &list, &err) < 0)
        return cli_failed(&err);
    json_array_foreach(list, i, entry)
    {
        json_array_append_new(rows, referrer_row(entry));
    }
    return list_print(&referrers_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_image_referrers = {
    .name = "image referrers",
    .usage = "[OPTIONS] HOST[:PORT]/NAME[:TAG|@DIGEST]",
    .summary = "List what refers to an image in its registry, as signatures do",
    .sets = {OPTION_SET(referrers_table)},
    .values_size = sizeof(struct referrers_values),
    .init = referrers_init,
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_referrers,
};

/* --- image rm --remote --- */

int cli_remove_remote(struct registry_values *v, const char *name, struct error *err)
{
    struct registry_options o;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_free_ char *digest = NULL;
    int r;
    if ((r = registry_values_options(v, &o, err)) < 0 ||
        (r = registry_resolve(&o, name, &of, err)) < 0 ||
        (r = registry_delete(&o, &of, &digest, err)) < 0)
        return r;
    printf("Deleted: %s/%s@%s\n", of.registry, of.repository, digest);
    return 0;
}
