/* Every verb's table, defined beside its handler. */
#pragma once

#include "front/command/command.h"

extern const struct command_set proa_commands;

extern const struct command cmd_run, cmd_create;
extern const struct command cmd_start, cmd_stop, cmd_kill, cmd_restart, cmd_rm, cmd_pause,
    cmd_unpause, cmd_rename, cmd_wait;
extern const struct command cmd_exec, cmd_attach, cmd_console;
extern const struct command cmd_ps, cmd_port;
extern const struct command cmd_logs, cmd_top, cmd_stats, cmd_cp;
extern const struct command cmd_inspect, cmd_container_inspect, cmd_image_inspect, cmd_image_export;
extern const struct command cmd_save, cmd_history, cmd_export, cmd_diff, cmd_commit, cmd_fsck;
extern const struct command cmd_images, cmd_import, cmd_load, cmd_tag, cmd_rmi, cmd_image_prune;
extern const struct command cmd_pull, cmd_push, cmd_login, cmd_logout, cmd_image_tags,
    cmd_image_referrers;
extern const struct command cmd_build, cmd_builder_prune;
extern const struct command cmd_network_addresses, cmd_network_connect, cmd_network_disconnect;
extern const struct command cmd_network_create, cmd_network_key, cmd_network_ls,
    cmd_network_inspect, cmd_network_rm, cmd_network_prune;
extern const struct command cmd_policy_apply, cmd_policy_ls, cmd_policy_inspect, cmd_policy_rm,
    cmd_policy_test, cmd_policy_explain, cmd_policy_suggest, cmd_flows, cmd_capture;
extern const struct command cmd_volume_create, cmd_volume_ls, cmd_volume_inspect, cmd_volume_rm,
    cmd_volume_prune;
extern const struct command cmd_receive;
extern const struct command cmd_migrate;
extern const struct command cmd_snapshot_create, cmd_snapshot_ls, cmd_snapshot_inspect,
    cmd_snapshot_restore, cmd_snapshot_clone, cmd_snapshot_rm, cmd_snapshot_export,
    cmd_snapshot_import, cmd_snapshot_flatten;
extern const struct command cmd_sign, cmd_verify, cmd_trust_show, cmd_trust_check, cmd_trust_keygen;
extern const struct command cmd_container_prune, cmd_system_prune, cmd_system_df, cmd_info,
    cmd_version, cmd_kernel_ls, cmd_kernel_add, cmd_kernel_default, cmd_kernel_rm;
extern const struct command cmd_registry_serve, cmd_registry_ls, cmd_registry_rm,
    cmd_registry_prune, cmd_internal_keep_pushed;
extern const struct command cmd_help, cmd_completion, cmd_internal_finish, cmd_internal_man;
extern const struct command cmd_internal_spare;
extern const struct command cmd_healthcheck, cmd_internal_health, cmd_internal_lease, cmd_update;
