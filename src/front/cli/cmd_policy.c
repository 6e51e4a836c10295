/* policy apply, ls, inspect, rm, test, explain. */
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/policy.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/policy/policy.h"
#include "wire/yaml/yaml.h"

static const char *kind_word(int kind)
{
    return kind == POLICY_ADMIN ? "AdminNetworkPolicy" : "NetworkPolicy";
}

/* "shop/web", or "guard" of the administrators. */
static char *full_name(const char *stack, const char *name)
{
    return xasprintf("%s%s%s", stack, *stack ? "/" : "", name);
}

/* --- apply --- */

struct apply_values {
    bool dry_run;
};
static const struct cli_option apply_table[] = {
    OPT_FLAG(0, "dry-run", struct apply_values, dry_run, "Only read the files"),
};

struct documents {
    struct policy_document *list;
    size_t n;
};

static int read_one(const char *path, struct documents *all, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(YAML_MAX_BYTES);
    bool standard = strcmp(path, "-") == 0;
    _cleanup_close_ int opened = standard ? -EBADF : open(path, O_RDONLY | O_CLOEXEC);
    struct policy_document *list;
    size_t n;
    if (!standard && opened < 0)
        return error_errno(err, errno, "open %s", path);
    int r = fd_read_to_end(standard ? 0 : opened, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    r = policy_parse(text.data ? text.data : "", text.len, standard ? "standard input" : path,
                     &list, &n, err);
    if (r < 0)
        return r;
    all->list = xreallocarray(all->list, all->n + n + 1, sizeof(*all->list));
    memcpy(all->list + all->n, list, n * sizeof(*list));
    all->n += n;
    free(list);
    return 0;
}

static int apply(struct cli *cli, const struct documents *all, struct error *err)
{
    static const char *const words[] = {"created", "configured", "unchanged"};
    enum policy_outcome *outcomes = xcalloc(all->n + 1, sizeof(*outcomes));
    struct engine *e;
    int r = cli_engine(cli, &e, err);
    if (r == 0)
        r = engine_policy_apply(e, all->list, all->n, outcomes, err);
    for (size_t i = 0; r == 0 && i < all->n; i++) {
        const struct policy *p = &all->list[i].policy;
        _cleanup_free_ char *name = full_name(p->stack, p->name);
        printf("%s %s %s\n", kind_word((int)p->kind), name, words[outcomes[i]]);
    }
    free(outcomes);
    return r;
}

static int handle_apply(struct cli *cli, void *values, char **args)
{
    const struct apply_values *v = values;
    struct error err = ERROR_INIT;
    struct documents all = {.n = 0};
    int r = 0;
    for (size_t i = 0; r == 0 && args[i]; i++)
        r = read_one(args[i], &all, &err);
    if (r == 0 && all.n == 0)
        r = error_invalid(&err, "there is no policy in what was given");
    if (r == 0 && !v->dry_run)
        r = apply(cli, &all, &err);
    policy_documents_free(all.list, all.n);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_policy_apply = {
    .name = "policy apply",
    .usage = "[OPTIONS] FILE|- [FILE...]",
    .summary = "Make policies what files say, all at once",
    .description = "The files are YAML in the words of Kubernetes: NetworkPolicy (of a stack) and "
                   "AdminNetworkPolicy (over all). What was applied under the same name is "
                   "replaced. No packet passes in between, and connections that are forbidden now "
                   "end.",
    .sets = {OPTION_SET(apply_table)},
    .values_size = sizeof(struct apply_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .completes = COMPLETES_FILE,
    .section = SECTION_GROUPED,
    .run = handle_apply,
};

/* --- ls --- */

struct ls_values {
    struct list_values list;
};
static const struct cli_option ls_table[] = {LIST_OPTIONS(struct ls_values)};
static const struct column ls_columns[] = {
    {"NAME", "Name", true, true},       {"KIND", "Kind", true},
    {"STACK", "Stack", true},           {"PRIORITY", "Priority", true},
    {"CREATED AT", "CreatedAt", false}, {"CREATED", "CreatedSince", true},
};
static const struct list_spec ls_spec = {ls_columns, ARRAY_SIZE(ls_columns), "Name"};
static const char *const ls_filters[] = {"name", "stack", "kind", NULL};

static bool policy_matches(const struct store_policy *p, const char *filter)
{
    const char *w;
    if ((w = filter_value(filter, "name")))
        return strstr(p->name, w) != NULL;
    if ((w = filter_value(filter, "stack")))
        return strcmp(p->stack, w) == 0;
    return strcmp(kind_word(p->kind), filter_value(filter, "kind")) == 0;
}

static json_t *policy_row(const struct store_policy *p)
{
    json_t *row = json_object();
    row_set(row, "Name", p->name);
    row_set(row, "Kind", kind_word(p->kind));
    row_set(row, "Stack", p->stack);
    if (p->kind == POLICY_ADMIN)
        row_setf(row, "Priority", "%u", p->priority);
    else
        row_set(row, "Priority", "");
    row_set_age(row, "CreatedSince", "CreatedAt", p->created_ns);
    return row;
}

static int handle_ls(struct cli *cli, void *values, _unused_ char **args)
{
    const struct ls_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct store_policy *list;
    size_t n;
    if (filters_check(v->list.filters, ls_filters, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        store_policy_list(e->store, &list, &n, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        bool shown = true;
        for (size_t f = 0; v->list.filters && v->list.filters[f]; f++)
            shown &= policy_matches(&list[i], v->list.filters[f]);
        if (shown)
            json_array_append_new(rows, policy_row(&list[i]));
    }
    store_policy_list_free(list, n);
    return list_print(&ls_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_policy_ls = {
    .name = "policy ls",
    .aliases = "policy list",
    .usage = "[OPTIONS]",
    .summary = "List policies, in the order in which they are asked",
    .description = "Filters: name, stack, kind.",
    .sets = {OPTION_SET(ls_table)},
    .values_size = sizeof(struct ls_values),
    .section = SECTION_GROUPED,
    .run = handle_ls,
};

/* --- inspect --- */

struct inspect_values {
    char *format;
};
static const struct cli_option inspect_table[] = {
    OPT_STRING('f', "format", struct inspect_values, format, "string", "Print with a template"),
};

static int inspect_one(struct engine *e, const char *name, json_t *all, struct error *err)
{
    struct store_policy p;
    int r = policy_find(e->store, name, &p, err);
    if (r < 0)
        return r;
    json_t *document = json_loads(p.json, 0, NULL);
    json_array_append_new(all, document ? document : json_object());
    store_policy_done(&p);
    return 0;
}

static int handle_inspect(struct cli *cli, void *values, char **args)
{
    const struct inspect_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_json_ json_t *all = json_array();
    int r = cli_engine(cli, &e, &err);
    for (size_t i = 0; r == 0 && args[i]; i++)
        r = inspect_one(e, args[i], all, &err);
    if (r == 0)
        r = inspect_print(all, v->format, &err);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_policy_inspect = {
    .name = "policy inspect",
    .usage = "[OPTIONS] POLICY [POLICY...]",
    .summary = "Show policies as they were applied",
    .description = "POLICY is NAME, STACK/NAME, or /NAME for one of the administrators'. What is "
                   "printed can be applied.",
    .sets = {OPTION_SET(inspect_table)},
    .values_size = sizeof(struct inspect_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .section = SECTION_GROUPED,
    .run = handle_inspect,
};

/* --- rm --- */

struct rm_values {
    bool force;
};
static const struct cli_option rm_table[] = {
    OPT_FLAG('f', "force", struct rm_values, force, "Do not fail when it does not exist"),
};

static int rm_one(struct engine *e, const char *name, void *context, struct error *err)
{
    const struct rm_values *v = context;
    int r = engine_policy_remove(e, name, err);
    return r < 0 && v->force && err->kind == ERROR_NOT_FOUND ? 1 : r;
}

static int handle_rm(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, rm_one, values);
}

const struct command cmd_policy_rm = {
    .name = "policy rm",
    .aliases = "policy remove",
    .usage = "[OPTIONS] POLICY [POLICY...]",
    .summary = "Remove policies",
    .sets = {OPTION_SET(rm_table)},
    .values_size = sizeof(struct rm_values),
    .min_args = 1,
    .max_args = ARGS_MANY,
    .section = SECTION_GROUPED,
    .run = handle_rm,
};

/* --- test --- */

/* "80", "80/udp". */
static int parse_target(const char *text, uint8_t *ret_protocol, uint16_t *ret_port,
                        struct error *err)
{
    static const struct {
        const char *word;
        uint8_t number;
    } known[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}};
    const char *slash = strchr(text, '/');
    _cleanup_free_ char *digits = xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));
    uint64_t port;
    if (parse_u64(digits, 65535, &port) < 0 || port == 0)
        return error_invalid(err, "\"%.64s\" is not a port: PORT[/tcp|udp|sctp]", text);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(slash ? slash + 1 : "tcp", known[i].word) == 0) {
            *ret_protocol = known[i].number;
            *ret_port = (uint16_t)port;
            return 0;
        }
    return error_invalid(err, "\"%.64s\" is not a port: PORT[/tcp|udp|sctp]", text);
}

struct test_values {
    bool json, batch;
};
static const struct cli_option test_table[] = {
    OPT_FLAG(0, "json", struct test_values, json, "Print an object"),
    OPT_FLAG(0, "batch", struct test_values, batch,
             "Read questions from standard input, a line each: FROM TO PORT"),
};

static void print_answer(bool json, bool allow, const char *why)
{
    if (!json) {
        printf("%s: %s\n", allow ? "allow" : "deny", why);
        return;
    }
    _cleanup_json_ json_t *o = json_pack("{s:b, s:s}", "Allowed", allow, "Reason", why);
    _cleanup_free_ char *text = json_to_text(o);
    puts(text);
}

static int answer(struct engine *e, const struct policy_book *book, char *const *words, bool json,
                  bool *ret_allow, struct error *err)
{
    _cleanup_free_ char *why = NULL;
    uint8_t protocol = 0;
    uint16_t port = 0;
    if (strv_len(words) != 3)
        return error_invalid(err, "a question is FROM TO PORT");
    int r = parse_target(words[2], &protocol, &port, err);
    if (r == 0)
        r = engine_policy_ask(e, book, words[0], words[1], protocol, port, ret_allow, &why, err);
    if (r == 0)
        print_answer(json, *ret_allow, why);
    return r;
}

static int answer_lines(struct engine *e, const struct policy_book *book, bool json,
                        struct error *err)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int r = 0;
    while (r == 0 && (len = getline(&line, &size, stdin)) > 0) {
        bool allow;
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        _cleanup_strv_ char **words = strv_split(line, ' ');
        r = answer(e, book, words, json, &allow, err);
    }
    return r;
}

static int handle_test(struct cli *cli, void *values, char **args)
{
    const struct test_values *v = values;
    struct error err = ERROR_INIT;
    struct policy_book book = {.n = 0};
    struct engine *e;
    bool allow = true;
    int r = cli_engine(cli, &e, &err);
    if (r == 0)
        r = policy_book_read(e, &book, &err);
    if (r == 0)
        r = v->batch ? answer_lines(e, &book, v->json, &err)
                     : answer(e, &book, args, v->json, &allow, &err);
    policy_book_done(&book);
    if (r < 0) {
        (void)cli_failed(&err);
        return 125;
    }
    return allow ? 0 : 1;
}

const struct command cmd_policy_test = {
    .name = "policy test",
    .usage = "[OPTIONS] FROM TO PORT[/PROTOCOL]",
    .summary = "Say whether a connection is allowed, and by which rule",
    .description = "FROM and TO are instances, addresses, \"host\" or \"world\"; TO may be the "
                   "name of an outside host. No packet is sent, no name asked for. The status is 0 "
                   "when it is allowed, 1 when it is denied, 125 when it "
                   "cannot be said.",
    .sets = {OPTION_SET(test_table)},
    .values_size = sizeof(struct test_values),
    .max_args = 3,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_test,
};

/* --- explain --- */

static int handle_explain(struct cli *cli, _unused_ void *values, char **args)
{
    _cleanup_strv_ char **lines = NULL;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (cli_engine(cli, &e, &err) < 0 || engine_policy_explain(e, args[0], &lines, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; lines[i]; i++)
        puts(lines[i]);
    return 0;
}

const struct command cmd_policy_explain = {
    .name = "policy explain",
    .usage = "INSTANCE",
    .summary = "Show which rules an instance is under, in their order",
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_GROUPED,
    .run = handle_explain,
};
