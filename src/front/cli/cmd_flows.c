/* flows, policy suggest, capture: what the networks carry. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/flows.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

#define FOLLOW_MS 500

/* --- flows --- */

struct flows_values {
    struct list_values list;
    char *from, *to, *since;
    bool denied, follow;
};
static const struct cli_option flows_table[] = {
    OPT_FLAG(0, "denied", struct flows_values, denied, "Only what was not let through"),
    OPT_FLAG('f', "follow", struct flows_values, follow, "Go on, and show what is new"),
    OPT_STRING(0, "format", struct flows_values, list.format, "string",
               "Print with a template, or json"),
    OPT_STRING(0, "from", struct flows_values, from, "name",
               "Only from this instance, address, host or world"),
    OPT_FLAG(0, "no-trunc", struct flows_values, list.no_trunc, "Do not shorten anything"),
    OPT_STRING(0, "since", struct flows_values, since, "string",
               "Only what was seen since a time, or for a while (10m)"),
    OPT_STRING(0, "to", struct flows_values, to, "name",
               "Only to this instance, name outside, address, host or world"),
};
static const struct column flows_columns[] = {
    {"LAST SEEN", "LastSeen", true}, {"VERDICT", "Verdict", true}, {"FROM", "From", true, true},
    {"TO", "To", true, true},        {"PORT", "Port", true},       {"COUNT", "Count", true},
    {"RULE", "Rule", true, true},    {"AT", "At", false},          {"SOURCE", "Source", false},
    {"TARGET", "Target", false},
};
static const struct list_spec flows_spec = {flows_columns, ARRAY_SIZE(flows_columns), "From"};

static void set_port(json_t *row, const struct flow *f)
{
    static const struct {
        uint8_t number;
        const char *word;
    } known[] = {{IPPROTO_TCP, "tcp"},
                 {IPPROTO_UDP, "udp"},
                 {IPPROTO_SCTP, "sctp"},
                 {IPPROTO_ICMP, "icmp"},
                 {IPPROTO_ICMPV6, "icmpv6"}};
    const char *word = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].number == f->protocol)
            word = known[i].word;
    if (f->more)
        row_set(row, "Port", "*");
    else if (f->verdict == FLOW_FORGED)
        row_setf(row, "Port", "frame %04x", f->type);
    else if (f->port)
        row_setf(row, "Port", "%u/%s", f->port, word ? word : "?");
    else if (word)
        row_set(row, "Port", word);
    else
        row_setf(row, "Port", "protocol %u", f->protocol);
}

static json_t *flow_row(const struct flow_view *v)
{
    static const char *const words[] = {[FLOW_ALLOWED] = "allowed",
                                        [FLOW_DENIED] = "denied",
                                        [FLOW_STRAY] = "denied",
                                        [FLOW_LIMITED] = "limited",
                                        [FLOW_FORGED] = "forged"};
    bool forged = v->flow.verdict == FLOW_FORGED, anybody = forged || v->flow.more;
    json_t *row = json_object();
    row_set_age(row, "LastSeen", "At", v->flow.last_ns);
    row_set(row, "Verdict", words[v->flow.verdict]);
    row_set(row, "From", v->from);
    row_set(row, "To", v->to);
    set_port(row, &v->flow);
    row_setf(row, "Count", "%llu", (unsigned long long)v->flow.count);
    row_set(row, "Rule", v->rule);
    row_set(row, "Source", forged ? "" : policy_address_text(v->flow.from).s);
    row_set(row, "Target", anybody ? "" : policy_address_text(v->flow.to).s);
    return row;
}

/* Those that were not there before, or have grown. A forged frame has no addresses: its link and
 * hardware address tell it apart. */
static bool is_news(const struct flow_view *v, const struct flow_view *before, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct flow *a = &v->flow, *b = &before[i].flow;
        if (a->verdict == b->verdict && a->from.n == b->from.n && a->to.n == b->to.n &&
            a->protocol == b->protocol && a->port == b->port && a->type == b->type &&
            strcmp(v->from, before[i].from) == 0 && strcmp(v->to, before[i].to) == 0)
            return a->count > b->count;
    }
    return true;
}

static int print_flows(const struct list_values *how, const struct flow_view *list, size_t n,
                       const struct flow_view *before, size_t n_before, bool follow,
                       struct error *err)
{
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; i < n; i++)
        if (!follow || is_news(&list[i], before, n_before))
            json_array_append_new(rows, flow_row(&list[i]));
    if (follow && json_array_size(rows) == 0)
        return 0;
    int r = list_print(&flows_spec, how, rows, err);
    fflush(stdout);
    return r;
}

static int follow_flows(struct engine *e, const struct flows_values *v,
                        const struct flow_filter *filter, struct error *err)
{
    struct list_values how = v->list;
    struct flow_view *before = NULL, *list = NULL;
    size_t n_before = 0, n = 0;
    int r = 0;
    while (r == 0 && !ferror(stdout)) {
        r = engine_flows(e, filter, &list, &n, err);
        if (r == 0)
            r = print_flows(&how, list, n, before, n_before, true, err);
        if (!how.format && n > 0) /* the heading stands once */
            how.format =
                (char *)"{{.At}}  {{.Verdict}}  {{.From}} -> {{.To}}  {{.Port}}  {{.Rule}}";
        flow_views_free(before, n_before);
        before = list;
        n_before = n;
        list = NULL;
        poll(NULL, 0, FOLLOW_MS);
    }
    flow_views_free(before, n_before);
    return r;
}

static int parse_since(const char *text, int64_t *ret, struct error *err)
{
    *ret = 0;
    if (!text || time_parse(text, ret) == 0)
        return 0;
    return error_invalid(err, "\"%.64s\" is neither a time nor a while such as 10m", text);
}

static int handle_flows(struct cli *cli, void *values, _unused_ char **args)
{
    const struct flows_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct flow_filter filter = {.from = v->from, .to = v->to, .denied = v->denied};
    struct flow_view *list = NULL;
    size_t n = 0;
    if (parse_since(v->since, &filter.since_ns, &err) < 0 || cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    if (v->follow)
        return follow_flows(e, v, &filter, &err) < 0 ? cli_failed(&err) : 0;
    int r = engine_flows(e, &filter, &list, &n, &err);
    if (r == 0)
        r = print_flows(&v->list, list, n, NULL, 0, false, &err);
    flow_views_free(list, n);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_flows = {
    .name = "flows",
    .usage = "[OPTIONS]",
    .summary = "Show who talked to whom, and what was refused",
    .description = "Of the last day, by name: each pair and port once, with the number of "
                   "connections that were let through, or of packets that were not, and the rule "
                   "that says so. \"forged\" is what an instance sent as somebody else.",
    .sets = {OPTION_SET(flows_table)},
    .values_size = sizeof(struct flows_values),
    .section = SECTION_OTHER,
    .run = handle_flows,
};

/* --- policy suggest --- */

struct suggest_values {
    char *since;
};
static const struct cli_option suggest_table[] = {
    OPT_STRING(0, "since", struct suggest_values, since, "string",
               "Of what was seen since a time, or for a while (10m)"),
};

static int handle_suggest(struct cli *cli, void *values, _unused_ char **args)
{
    const struct suggest_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *text = NULL;
    int64_t since;
    if (parse_since(v->since, &since, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        engine_policy_suggest(e, since, &text, &err) < 0)
        return cli_failed(&err);
    fputs(text, stdout);
    return 0;
}

const struct command cmd_policy_suggest = {
    .name = "policy suggest",
    .usage = "[OPTIONS]",
    .summary = "Write the policies that allow what was seen, and nothing else",
    .description = "What is printed can be given to `policy apply` when it has been read.",
    .sets = {OPTION_SET(suggest_table)},
    .values_size = sizeof(struct suggest_values),
    .section = SECTION_GROUPED,
    .run = handle_suggest,
};

/* --- capture --- */

struct capture_values {
    char *file, *network;
    uint64_t count;
};
static const struct cli_option capture_table[] = {
    OPT_U64('c', "count", struct capture_values, count, "number", "End after so many packets"),
    OPT_STRING(0, "network", struct capture_values, network, "name", "On this of its networks"),
    OPT_NAMED(COMPLETES_FILE, 'w', "write", struct capture_values, file, "file",
              "Write to a file (standard output)"),
};

/* A descriptor that can be read when the command is interrupted: what was written is whole. */
static int interrupts(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int handle_capture(struct cli *cli, void *values, char **args)
{
    const struct capture_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    bool standard = !v->file || strcmp(v->file, "-") == 0;
    _cleanup_close_ int file = -EBADF, stop = -EBADF;
    int r = 0;
    if (standard && isatty(STDOUT_FILENO))
        r = error_invalid(&err, "packets are no text: say -w FILE, or send them to a program");
    if (r == 0)
        r = cli_engine(cli, &e, &err);
    if (r == 0 && !standard) {
        file = open(v->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        r = file < 0 ? error_errno(&err, errno, "open %s", v->file) : 0;
    }
    if (r == 0) {
        stop = interrupts();
        r = engine_capture(e, args[0], v->network, standard ? STDOUT_FILENO : file, v->count, stop,
                           &err);
    }
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_capture = {
    .name = "capture",
    .usage = "[OPTIONS] INSTANCE",
    .summary = "Write the packets of an instance in pcap form",
    .description = "As they are on the instance's link, before any rule of the host. For tcpdump "
                   "and Wireshark: proa capture web | tcpdump -r -",
    .sets = {OPTION_SET(capture_table)},
    .values_size = sizeof(struct capture_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_capture,
};
