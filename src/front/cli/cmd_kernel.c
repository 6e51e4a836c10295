/* kernel ls, add, default, rm. */
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/kernel.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

/* --- ls --- */

struct ls_values {
    struct list_values list;
};
static const struct cli_option ls_table[] = {LIST_OPTIONS(struct ls_values)};

static const struct column ls_columns[] = {
    {"NAME", "Name", true, true}, {"VERSION", "Version", true}, {"SOURCE", "Source", true},
    {"DEFAULT", "Default", true}, {"IN USE", "InUse", true},    {"SIZE", "Size", true},
};
static const struct list_spec ls_spec = {ls_columns, ARRAY_SIZE(ls_columns), "Name"};
static const char *const ls_filters[] = {"name", NULL};

static int kernel_row(struct engine *e, const struct vm_kernel *k, json_t *rows, struct error *err)
{
    _cleanup_free_ char *user = NULL;
    int r = engine_kernel_user(e, k->name, &user, err);
    if (r < 0)
        return r;
    json_t *row = json_object();
    row_set(row, "Name", k->name);
    row_set(row, "Version", k->version);
    row_set(row, "Source", k->own ? "file" : "package");
    row_set(row, "Default", k->is_default ? "yes" : "no");
    row_set(row, "InUse", user ? "yes" : "no");
    row_set(row, "Size", format_size(k->size_bytes).s);
    json_array_append_new(rows, row);
    return 0;
}

static bool is_shown(const struct vm_kernel *k, char *const *filters)
{
    for (size_t i = 0; filters && filters[i]; i++)
        if (!strstr(k->name, filter_value(filters[i], "name")))
            return false;
    return true;
}

static int handle_ls(struct cli *cli, void *values, char **args)
{
    const struct ls_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct vm_kernel *list;
    _cleanup_json_ json_t *rows = json_array();
    (void)args;
    int r = filters_check(v->list.filters, ls_filters, &err);
    if (r < 0 || (r = cli_engine(cli, &e, &err)) < 0 ||
        (r = vm_kernel_list(e->store->root, &list, &err)) < 0)
        return cli_failed(&err);
    for (const struct vm_kernel *k = list; r == 0 && k->name; k++)
        if (is_shown(k, v->list.filters))
            r = kernel_row(e, k, rows, &err);
    vm_kernel_list_free(list);
    return r < 0 || list_print(&ls_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_kernel_ls = {
    .name = "kernel ls",
    .aliases = "kernel list",
    .usage = "[OPTIONS]",
    .summary = "List the kernels that machines can run on",
    .description = "Filters: name.",
    .sets = {OPTION_SET(ls_table)},
    .values_size = sizeof(struct ls_values),
    .section = SECTION_GROUPED,
    .run = handle_ls,
};

/* --- add --- */

struct add_values {
    char *name, *modules;
};
static const struct cli_option add_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "modules", struct add_values, modules, "directory",
              "Where its modules are (/lib/modules/VERSION): those that machines need are taken"),
    OPT_STRING(0, "name", struct add_values, name, "string",
               "Call it so (a package's version, or what the kernel calls itself)"),
};

static int handle_add(struct cli *cli, void *values, char **args)
{
    const struct add_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    size_t len = args[0] ? strlen(args[0]) : 0;
    bool package = len > 4 && strcmp(args[0] + len - 4, ".deb") == 0;
    struct kernel_addition a = {.name = v->name,
                                .modules = v->modules,
                                .package = package ? args[0] : NULL,
                                .image = package ? NULL : args[0]};
    if (v->modules && !a.image) {
        error_invalid(&err, "--modules goes with a kernel's file; a package has its own");
        return cli_failed(&err);
    }
    return cli_engine(cli, &e, &err) < 0 || engine_kernel_add(e, &a, &err) < 0 ? cli_failed(&err)
                                                                               : 0;
}

const struct command cmd_kernel_add = {
    .name = "kernel add",
    .usage = "[OPTIONS] [PACKAGE.deb|VMLINUZ|VMLINUX]",
    .summary = "Prepare a kernel for machines: Debian's cloud kernel, or the one given",
    .description =
        "Without an argument Debian's cloud kernel is downloaded and unpacked, not installed. A "
        "file is a bzImage or an ELF kernel with a PVH entry. A kernel that is added so becomes "
        "the default only by `proa kernel default`. What it was made with is renewed in all "
        "kernels after an update of Proa.",
    .sets = {OPTION_SET(add_table)},
    .values_size = sizeof(struct add_values),
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_GROUPED,
    .run = handle_add,
};

/* --- default, rm --- */

static int handle_default(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)values;
    return cli_engine(cli, &e, &err) < 0 || engine_kernel_set_default(e, args[0], &err) < 0
               ? cli_failed(&err)
               : 0;
}

const struct command cmd_kernel_default = {
    .name = "kernel default",
    .usage = "KERNEL",
    .summary = "Choose the kernel of machines that ask for none",
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_default,
};

static int rm_one(struct engine *e, const char *name, void *context, struct error *err)
{
    (void)context;
    return engine_kernel_remove(e, name, err);
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, rm_one, values);
}

const struct command cmd_kernel_rm = {
    .name = "kernel rm",
    .aliases = "kernel remove",
    .usage = "KERNEL [KERNEL...]",
    .summary = "Remove one or more kernels that no instance uses",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .section = SECTION_GROUPED,
    .run = handle_rm,
};
