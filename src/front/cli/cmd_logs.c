/* logs: the workload's own output, as it was, on the stream it came from. */
#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "engine/observe.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct logs_values {
    char *tail, *since, *until;
    bool follow, timestamps;
};
static const struct cli_option logs_table[] = {
    OPT_FLAG('f', "follow", struct logs_values, follow, "Follow the output"),
    OPT_STRING(0, "since", struct logs_values, since, "string",
               "Show what came after a time (2026-01-02T13:23:37Z) or for a while (42m)"),
    OPT_STRING('n', "tail", struct logs_values, tail, "string",
               "Lines to show from the end (default all)"),
    OPT_FLAG('t', "timestamps", struct logs_values, timestamps, "Show the time of each line"),
    OPT_STRING(0, "until", struct logs_values, until, "string",
               "Show what came before a time or up to a while ago"),
};

static int parse_when(const char *text, const char *option, int64_t *ret, struct error *err)
{
    if (!text || time_parse(text, ret) == 0)
        return 0;
    return error_invalid(err,
                         "invalid argument \"%s\" for \"--%s\": it must be a time such as "
                         "2026-01-02T13:23:37Z, or a while such as 42m",
                         text, option);
}

static int parse_tail(const char *text, int64_t *ret, struct error *err)
{
    uint64_t n;
    *ret = -1;
    if (!text || strcmp(text, "all") == 0 || strcmp(text, "-1") == 0)
        return 0;
    if (parse_u64(text, INT64_MAX, &n) < 0)
        return error_invalid(
            err, "invalid argument \"%s\" for \"--tail\": it must be a number or all", text);
    *ret = (int64_t)n;
    return 0;
}

static int write_entry(void *context, int stream, int64_t time_ns, const char *text, size_t len)
{
    const struct log_options *o = context;
    FILE *out = stream == STDERR_FILENO ? stderr : stdout;
    if (out == stderr)
        fflush(stdout); /* so that both keep their order where they end in one place */
    if (o->timestamps)
        fprintf(out, "%s ", time_format(time_ns).s);
    if (fwrite(text, 1, len, out) != len || (o->follow && fflush(out) != 0))
        return -EPIPE;
    return 0;
}

static int handle_logs(struct cli *cli, void *values, char **args)
{
    struct logs_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct log_options o = {.follow = v->follow, .timestamps = v->timestamps};
    if (parse_when(v->since, "since", &o.since_ns, &err) < 0 ||
        parse_when(v->until, "until", &o.until_ns, &err) < 0 ||
        parse_tail(v->tail, &o.tail, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        engine_logs(e, args[0], &o, write_entry, &o, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_logs = {
    .name = "logs",
    .aliases = "container logs",
    .usage = "[OPTIONS] NAME",
    .summary = "Print what an instance wrote",
    .sets = {OPTION_SET(logs_table)},
    .values_size = sizeof(struct logs_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_COMMON,
    .run = handle_logs,
};
