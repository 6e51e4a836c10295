/* The list of all verbs, and what stands before them on a command line. */
#include "front/cli/commands.h"

#include "front/cli/main.h"

static const struct command *const commands[] = {
    &cmd_run,
    &cmd_create,
    &cmd_start,
    &cmd_stop,
    &cmd_kill,
    &cmd_restart,
    &cmd_rm,
    &cmd_ps,
    &cmd_logs,
    &cmd_exec,
    &cmd_attach,
    &cmd_wait,
    &cmd_inspect,
    &cmd_top,
    &cmd_stats,
    &cmd_cp,
    &cmd_export,
    &cmd_diff,
    &cmd_commit,
    &cmd_pause,
    &cmd_unpause,
    &cmd_rename,
    &cmd_port,
    &cmd_container_inspect,
    &cmd_container_prune,
    &cmd_images,
    &cmd_pull,
    &cmd_push,
    &cmd_login,
    &cmd_logout,
    &cmd_image_tags,
    &cmd_image_referrers,
    &cmd_import,
    &cmd_load,
    &cmd_save,
    &cmd_history,
    &cmd_tag,
    &cmd_rmi,
    &cmd_image_inspect,
    &cmd_image_prune,
    &cmd_network_create,
    &cmd_network_ls,
    &cmd_network_inspect,
    &cmd_network_rm,
    &cmd_network_prune,
    &cmd_volume_create,
    &cmd_volume_ls,
    &cmd_volume_inspect,
    &cmd_volume_rm,
    &cmd_volume_prune,
    &cmd_info,
    &cmd_version,
    &cmd_system_df,
    &cmd_fsck,
    &cmd_system_prune,
    &cmd_kernel_ls,
    &cmd_kernel_add,
    &cmd_completion,
    &cmd_help,
    &cmd_internal_finish,
    &cmd_internal_man,
};

static const struct command_group groups[] = {
    {"container", "Manage instances, containers and machines alike", false},
    {"image", "Manage images", false},
    {"kernel", "Manage the kernels that machines run on", false},
    {"network", "Manage networks", false},
    {"system", "Manage Proa as a whole", false},
    {"volume", "Manage volumes", false},
    {"internal", "What Proa's own programs call", true},
};

static const struct cli_option global_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "root", struct global_values, root, "directory",
              "Where the state is kept (PROA_ROOT, /var/lib/proa)"),
    OPT_FLAG('v', "version", struct global_values, version, "Print the version and leave"),
};

static const struct command global = {
    .name = "proa",
    .usage = "[OPTIONS] COMMAND",
    .summary = "",
    .sets = {OPTION_SET(global_table)},
    .values_size = sizeof(struct global_values),
    .max_args = ARGS_MANY,
    .stop_at_argument = true,
};

/* How each kind of word is completed: the command whose output lines are the candidates. */
static const char *const sources[COMPLETES_COMMAND + 1] = {
    [COMPLETES_INSTANCE] = "ps -a --format '{{.Names}}'",
    [COMPLETES_RUNNING] = "ps --format '{{.Names}}'",
    [COMPLETES_IMAGE] = "images --format '{{.Repository}}:{{.Tag}}'",
    [COMPLETES_NETWORK] = "network ls --format '{{.Name}}'",
    [COMPLETES_VOLUME] = "volume ls --format '{{.Name}}'",
};

const struct command_set proa_commands = {
    .program = "proa",
    .tagline = "One image, two kinds: containers and light virtual machines under one command",
    .commands = commands,
    .n_commands = ARRAY_SIZE(commands),
    .groups = groups,
    .n_groups = ARRAY_SIZE(groups),
    .global = &global,
    .sources = sources,
};
