/* start, state, kill, delete, pause, resume: what is done to a container that was created. */
#include <signal.h>

#include "base/alloc.h"
#include "base/process.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"

/* Opens, does, reports. */
static int with_container(const struct cli *cli, const char *id,
                          int (*action)(struct oci_container *c, struct error *err))
{
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    oci_container_init(&c);
    int r = oci_open(cli, id, true, &c, &err);
    if (r == 0)
        r = action(&c, &err);
    oci_warn(cli, &c);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

static int handle_start(struct cli *cli, void *values, char **args)
{
    (void)values;
    return with_container(cli, args[0], oci_container_start);
}

static int pause_it(struct oci_container *c, struct error *err)
{
    return oci_container_freeze(c, true, err);
}

static int handle_pause(struct cli *cli, void *values, char **args)
{
    (void)values;
    return with_container(cli, args[0], pause_it);
}

static int resume_it(struct oci_container *c, struct error *err)
{
    return oci_container_freeze(c, false, err);
}

static int handle_resume(struct cli *cli, void *values, char **args)
{
    (void)values;
    return with_container(cli, args[0], resume_it);
}

static int handle_state(struct cli *cli, void *values, char **args)
{
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    (void)values;
    oci_container_init(&c);
    if (oci_open(cli, args[0], false, &c, &err) < 0)
        return oci_failed(cli, &err, 1);
    _cleanup_free_ char *text = oci_container_state_json(&c, oci_container_status(&c), true);
    puts(text);
    return 0;
}

struct kill_values {
    bool all;
};
static const struct cli_option kill_table[] = {
    OPT_FLAG('a', "all", struct kill_values, all, "Signal every process, not the first only"),
};

static int handle_kill(struct cli *cli, void *values, char **args)
{
    const struct kill_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    int signum = SIGTERM;
    oci_container_init(&c);
    int r = args[1] ? signal_parse(args[1], &signum, &err) : 0;
    if (r == 0 && (r = oci_open(cli, args[0], false, &c, &err)) == 0)
        r = oci_container_kill(&c, signum, v->all, &err);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

struct delete_values {
    bool force;
};
static const struct cli_option delete_table[] = {
    OPT_FLAG('f', "force", struct delete_values, force, "Kill it first; no error when it is gone"),
};

static int handle_delete(struct cli *cli, void *values, char **args)
{
    const struct delete_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    oci_container_init(&c);
    int r = oci_open(cli, args[0], true, &c, &err);
    if (r == -ENOENT && v->force)
        return 0;
    if (r == 0)
        r = oci_container_delete(&c, v->force, &err);
    oci_warn(cli, &c);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

#define ONE_CONTAINER .min_args = 1, .max_args = 1, .completes = COMPLETES_INSTANCE

const struct command cmd_start = {
    .name = "start",
    .usage = "ID",
    .summary = "Execute the process of a container that was created",
    ONE_CONTAINER,
    .section = SECTION_COMMON,
    .run = handle_start,
};

const struct command cmd_state = {
    .name = "state",
    .usage = "ID",
    .summary = "Print the state of a container as JSON",
    ONE_CONTAINER,
    .section = SECTION_COMMON,
    .run = handle_state,
};

const struct command cmd_kill = {
    .name = "kill",
    .usage = "[OPTIONS] ID [SIGNAL]",
    .summary = "Send a signal to a container's first process (default TERM)",
    .sets = {OPTION_SET(kill_table)},
    .values_size = sizeof(struct kill_values),
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_kill,
};

const struct command cmd_delete = {
    .name = "delete",
    .usage = "[OPTIONS] ID",
    .summary = "Delete a container that has stopped",
    .sets = {OPTION_SET(delete_table)},
    .values_size = sizeof(struct delete_values),
    ONE_CONTAINER,
    .section = SECTION_COMMON,
    .run = handle_delete,
};

const struct command cmd_pause = {
    .name = "pause",
    .usage = "ID",
    .summary = "Stop all processes of a container where they are",
    ONE_CONTAINER,
    .section = SECTION_COMMON,
    .run = handle_pause,
};

const struct command cmd_resume = {
    .name = "resume",
    .usage = "ID",
    .summary = "Let a paused container go on",
    ONE_CONTAINER,
    .section = SECTION_COMMON,
    .run = handle_resume,
};
