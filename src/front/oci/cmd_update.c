/* update: other limits for a container that is there. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/text.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"
#include "runtime/container/ops.h"

struct update_values {
    char *resources;
    char *memory, *memory_reservation, *memory_swap, *kernel_memory, *kernel_memory_tcp;
    char *cpuset_cpus, *cpuset_mems;
    int64_t cpu_period, cpu_quota, cpu_share, cpu_rt_period, cpu_rt_runtime, cpu_burst, cpu_idle;
    int64_t pids_limit, blkio_weight;
};

static const struct cli_option update_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'r', "resources", struct update_values, resources, "file",
              "The limits as JSON (linux.resources), - for standard input"),
    OPT_STRING('m', "memory", struct update_values, memory, "bytes", "Memory, -1 for no limit"),
    OPT_STRING(0, "memory-reservation", struct update_values, memory_reservation, "bytes",
               "Memory below which nothing is taken back"),
    OPT_STRING(0, "memory-swap", struct update_values, memory_swap, "bytes",
               "Memory and swap together, -1 for no limit"),
    OPT_STRING(0, "kernel-memory", struct update_values, kernel_memory, "bytes", NULL),
    OPT_STRING(0, "kernel-memory-tcp", struct update_values, kernel_memory_tcp, "bytes", NULL),
    OPT_STRING(0, "cpuset-cpus", struct update_values, cpuset_cpus, "list", "Processors to run on"),
    OPT_STRING(0, "cpuset-mems", struct update_values, cpuset_mems, "list", "Memory nodes to use"),
    OPT_I64(0, "cpu-period", struct update_values, cpu_period, "us", "Period of the CPU quota"),
    OPT_I64(0, "cpu-quota", struct update_values, cpu_quota, "us", "CPU time in each period"),
    OPT_I64(0, "cpu-share", struct update_values, cpu_share, "number", "Share of the CPU"),
    OPT_I64(0, "cpu-shares", struct update_values, cpu_share, "number", NULL),
    OPT_I64(0, "cpu-rt-period", struct update_values, cpu_rt_period, "us",
            "Period of realtime processes"),
    OPT_I64(0, "cpu-rt-runtime", struct update_values, cpu_rt_runtime, "us",
            "CPU time of realtime processes in each period"),
    OPT_I64(0, "cpu-burst", struct update_values, cpu_burst, "us",
            "CPU time that may be saved up for later"),
    OPT_I64(0, "cpu-idle", struct update_values, cpu_idle, "0|1",
            "Run only when nothing else wants to"),
    OPT_I64(0, "pids-limit", struct update_values, pids_limit, "number",
            "Processes, -1 for no limit"),
    OPT_I64(0, "blkio-weight", struct update_values, blkio_weight, "number",
            "Share of block devices, 10 to 1000"),
};

static void update_init(void *values)
{
    struct update_values *v = values;
    v->cpu_period = v->cpu_quota = v->cpu_share = v->cpu_rt_period = v->cpu_rt_runtime = OCI_UNSET;
    v->cpu_burst = v->cpu_idle = v->pids_limit = v->blkio_weight = OCI_UNSET;
}

/* A size, or -1. */
static int size_limit(const char *text, int64_t *ret, struct error *err)
{
    uint64_t bytes;
    if (!text)
        return 0;
    if (strcmp(text, "-1") == 0) {
        *ret = -1;
        return 0;
    }
    if (parse_size(text, &bytes) < 0 || bytes > INT64_MAX)
        return error_invalid(err, "\"%.32s\" is no size", text);
    *ret = (int64_t)bytes;
    return 0;
}

static void set_if_given(int64_t value, int64_t *member)
{
    if (value != OCI_UNSET)
        *member = value;
}

static int from_options(const struct update_values *v, struct oci_resources *res, struct error *err)
{
    int r;
    if ((r = size_limit(v->memory, &res->memory_limit, err)) < 0 ||
        (r = size_limit(v->memory_reservation, &res->memory_reservation, err)) < 0 ||
        (r = size_limit(v->memory_swap, &res->memory_swap, err)) < 0 ||
        (r = size_limit(v->kernel_memory, &res->memory_kernel, err)) < 0 ||
        (r = size_limit(v->kernel_memory_tcp, &res->memory_kernel_tcp, err)) < 0)
        return r;
    set_if_given(v->cpu_period, &res->cpu_period);
    set_if_given(v->cpu_quota, &res->cpu_quota);
    set_if_given(v->cpu_share, &res->cpu_shares);
    set_if_given(v->cpu_rt_period, &res->cpu_realtime_period);
    set_if_given(v->cpu_rt_runtime, &res->cpu_realtime_runtime);
    set_if_given(v->cpu_burst, &res->cpu_burst);
    set_if_given(v->cpu_idle, &res->cpu_idle);
    set_if_given(v->pids_limit, &res->pids_limit);
    set_if_given(v->blkio_weight, &res->block_weight);
    if (v->cpuset_cpus)
        xreplace(&res->cpuset_cpus, v->cpuset_cpus);
    if (v->cpuset_mems)
        xreplace(&res->cpuset_mems, v->cpuset_mems);
    return 0;
}

static int from_file(const char *path, struct oci_resources *res, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(JSON_MAX_BYTES);
    _cleanup_close_ int file = -EBADF;
    bool standard = strcmp(path, "-") == 0;
    if (!standard && (file = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return error_errno(err, errno, "open %s", path);
    int r = fd_read_to_end(standard ? 0 : file, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    return oci_resources_parse(text.data ? text.data : "", text.len, res, err);
}

/* Writers of Docker's and containerd's kind write 0 where they mean nothing. */
static void drop_zeros(struct oci_resources *res)
{
    int64_t *const members[] = {
        &res->memory_limit,        &res->memory_reservation, &res->memory_swap,
        &res->memory_kernel,       &res->memory_kernel_tcp,  &res->cpu_shares,
        &res->cpu_quota,           &res->cpu_period,         &res->cpu_realtime_runtime,
        &res->cpu_realtime_period, &res->pids_limit,         &res->block_weight,
        &res->block_leaf_weight,
    };
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (*members[i] == 0)
            *members[i] = OCI_UNSET;
    if (res->cpuset_cpus && !*res->cpuset_cpus) {
        free(res->cpuset_cpus);
        res->cpuset_cpus = NULL;
    }
    if (res->cpuset_mems && !*res->cpuset_mems) {
        free(res->cpuset_mems);
        res->cpuset_mems = NULL;
    }
}

static int handle_update(struct cli *cli, void *values, char **args)
{
    const struct update_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    _cleanup_(oci_resources_done) struct oci_resources res;
    struct error err = ERROR_INIT;
    oci_container_init(&c);
    oci_resources_init(&res);
    int r = v->resources ? from_file(v->resources, &res, &err) : from_options(v, &res, &err);
    drop_zeros(&res);
    if (r == 0 && (r = oci_open(cli, args[0], true, &c, &err)) == 0)
        r = oci_container_update(&c, &res, &err);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

const struct command cmd_update = {
    .name = "update",
    .usage = "[OPTIONS] ID",
    .summary = "Change the limits of a container",
    .sets = {OPTION_SET(update_table)},
    .values_size = sizeof(struct update_values),
    .init = update_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_update,
};
