/* events: statistics and out-of-memory of a container, as JSON lines. */
#include "base/alloc.h"
#include "base/json.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"

struct events_values {
    uint64_t interval_ms;
    bool stats;
};

static const struct cli_option events_table[] = {
    OPT_DURATION(0, "interval", struct events_values, interval_ms, "duration",
                 "Time between statistics (default 5s)"),
    OPT_FLAG(0, "stats", struct events_values, stats, "Print the statistics once and leave"),
};

static void events_init(void *values)
{
    ((struct events_values *)values)->interval_ms = 5000;
}

static int print_line(void *context, const json_t *event, struct error *err)
{
    _cleanup_free_ char *text = json_to_text(event);
    (void)context;
    puts(text);
    return fflush(stdout) == 0 ? 0 : error_errno(err, errno, "write to standard output");
}

static int handle_events(struct cli *cli, void *values, char **args)
{
    const struct events_values *v = values;
    _cleanup_oci_container_ struct oci_container c;
    struct error err = ERROR_INIT;
    const struct oci_events how = {
        .once = v->stats,
        .interval_ms = (int64_t)MIN(v->interval_ms, (uint64_t)INT32_MAX),
        .line = print_line,
    };
    oci_container_init(&c);
    int r = how.interval_ms > 0 ? 0 : error_invalid(&err, "--interval must be above 0");
    if (r == 0 && (r = oci_open(cli, args[0], false, &c, &err)) == 0)
        r = oci_container_events(&c, &how, &err);
    return r < 0 ? oci_failed(cli, &err, 1) : 0;
}

const struct command cmd_events = {
    .name = "events",
    .usage = "[OPTIONS] ID",
    .summary = "Print statistics and lack of memory as JSON lines until the container ends",
    .sets = {OPTION_SET(events_table)},
    .values_size = sizeof(struct events_values),
    .init = events_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_events,
};
