#include <string.h>

#include "base/text.h"
#include "runtime/monitor/monitor.h"

#define DEFAULT_LOG_BYTES ((uint64_t)16 << 20)
#define MIN_LOG_BYTES     ((uint64_t)4096)
#define DEFAULT_LOG_FILES 2
#define MAX_LOG_FILES     1000

static int parse_fd(const char *value, int *ret)
{
    uint64_t n;
    if (parse_u64(value, 1 << 20, &n) < 0 || n < 3)
        return -EINVAL;
    *ret = (int)n;
    return 0;
}

static int append_fd(int *fds, size_t *n, size_t max, const char *value)
{
    if (*n == max)
        return -E2BIG;
    int r = parse_fd(value, &fds[*n]);
    if (r == 0)
        ++*n;
    return r;
}

/* "POSITION:FD" */
static int put_lease_fd(struct monitor_options *o, const char *value)
{
    unsigned int position = (unsigned int)(value[0] - '0');
    return position < BUNDLE_NETWORKS_MAX && value[1] == ':'
               ? parse_fd(value + 2, &o->lease_fds[position])
               : -EINVAL;
}

/* Options with a value; -ENOENT for one that is not known. */
static int set_option(struct monitor_options *o, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **field;
    } strings[] = {{"--id", &o->id},
                   {"--bundle", &o->bundle},
                   {"--run-dir", &o->run_dir},
                   {"--root", &o->root},
                   {"--finish", &o->finish}};
    const struct {
        const char *name;
        int *field;
    } fds[] = {{"--ready-fd", &o->ready_fd},
               {"--attach-fd", &o->attach_fd},
               {"--network-fd", &o->network_fd}};
    const struct {
        const char *name;
        uint64_t *field;
    } numbers[] = {{"--log-max", &o->log_max_bytes},
                   {"--health-interval", &o->health.interval_ms},
                   {"--health-start-interval", &o->health.start_interval_ms},
                   {"--health-start-period", &o->health.start_period_ms}};
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        if (strcmp(name, strings[i].name) == 0) {
            *strings[i].field = value;
            return *value ? 0 : -EINVAL;
        }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (strcmp(name, fds[i].name) == 0)
            return parse_fd(value, fds[i].field);
    if (strcmp(name, "--hold-fd") == 0)
        return append_fd(o->hold_fds, &o->n_hold_fds, MONITOR_MAX_HOLD, value);
    if (strcmp(name, "--tap-fd") == 0)
        return append_fd(o->tap_fds, &o->n_tap_fds, BUNDLE_NETWORKS_MAX, value);
    if (strcmp(name, "--lease-fd") == 0)
        return put_lease_fd(o, value);
    if (strcmp(name, "--kind") == 0)
        return runtime_kind_from_name(value, &o->kind);
    if (strcmp(name, "--size") == 0)
        return terminal_size_parse(value, &o->size);
    if (strcmp(name, "--restart") == 0)
        return restart_parse(value, &o->restart);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        if (strcmp(name, numbers[i].name) == 0)
            return parse_u64(value, INT64_MAX, numbers[i].field);
    if (strcmp(name, "--free-cards") == 0)
        return parse_u32(value, &o->free_cards);
    if (strcmp(name, "--log-files") == 0)
        return parse_u32(value, &o->log_files);
    return -ENOENT;
}

int monitor_options_parse(int argc, char **argv, struct monitor_options *ret, struct error *err)
{
    struct monitor_options o = {.log_max_bytes = DEFAULT_LOG_BYTES,
                                .log_files = DEFAULT_LOG_FILES,
                                .ready_fd = -EBADF,
                                .attach_fd = -EBADF,
                                .network_fd = -EBADF};
    for (size_t i = 0; i < BUNDLE_NETWORKS_MAX; i++)
        o.lease_fds[i] = -EBADF;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--terminal") == 0) {
            o.terminal = true;
        } else if (strcmp(argv[i], "--stdin") == 0) {
            o.open_stdin = true;
        } else if (strcmp(argv[i], "--spare") == 0) {
            o.spare = true;
        } else {
            const char *value = i + 1 < argc ? argv[i + 1] : "";
            int r = set_option(&o, argv[i], value);
            if (r == -ENOENT)
                return error_invalid(err, "unknown option %s", argv[i]);
            if (r < 0)
                return error_invalid(err, "%s %s: bad value", argv[i], value);
            i++;
        }
    }
    if (!o.id || !o.bundle || !o.run_dir)
        return error_invalid(err, "--id, --bundle and --run-dir are needed");
    if (o.log_max_bytes < MIN_LOG_BYTES)
        return error_invalid(err, "--log-max is at least %llu bytes",
                             (unsigned long long)MIN_LOG_BYTES);
    if (o.health.interval_ms && (!o.finish || !o.root))
        return error_invalid(err, "--health-interval needs --finish and --root");
    if (o.log_files < 1 || o.log_files > MAX_LOG_FILES)
        return error_invalid(err, "--log-files is between 1 and %d", MAX_LOG_FILES);
    *ret = o;
    return 0;
}
