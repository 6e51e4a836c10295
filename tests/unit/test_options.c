/* The option parser: Docker's habits, one command line a row. */
#include "check.h"

#include <string.h>

#include "base/strv.h"
#include "cli_sample.h"

struct parse {
    struct sample_values v;
    struct parsed parsed;
    struct error err;
    const struct command *command;
    char **argv;
    int result;
};

/* line's words are separated by single spaces; "~" stands for an empty word. */
static void parse_line(struct parse *p, const struct command *c, const char *line)
{
    memset(p, 0, sizeof(*p));
    p->command = c;
    p->argv = strv_split(line, ' ');
    for (size_t i = 0; p->argv[i]; i++)
        if (strcmp(p->argv[i], "~") == 0)
            p->argv[i][0] = '\0';
    if (c->init)
        c->init(&p->v);
    p->result = options_parse(c, p->argv, &p->v, &p->parsed, &p->err);
}

static void parse_done(struct parse *p)
{
    free(p->parsed.args);
    options_done(p->command, &p->v);
    strv_free(p->argv);
}

static void check_args(const char *line, const char *wanted)
{
    struct parse p;
    parse_line(&p, &sample_run, line);
    assert_int_equal(p.result, 0);
    char *joined = strv_join(p.parsed.args, "|");
    assert_string_equal(joined, wanted);
    assert_int_equal(p.parsed.n_args, strv_len(p.parsed.args));
    free(joined);
    parse_done(&p);
}

static void test_positional(void **state)
{
    (void)state;
    check_args("busybox", "busybox");
    check_args("-it busybox sh -c -x", "busybox|sh|-c|-x");
    check_args("busybox -d --name=x", "busybox|-d|--name=x");
    check_args("-- busybox -d", "busybox|-d");
    check_args("-d -- -busybox", "-busybox");
    check_args("busybox -- ls", "busybox|--|ls");
    check_args("- x", "-|x");
    check_args("~ x", "|x");
    check_args("-e A -p 80 img", "img");
    check_args("--sig-proxy=false img", "img");
    check_args("--name -x img", "img");
}

static void test_interspersed(void **state)
{
    struct parse p;
    (void)state;
    parse_line(&p, &sample_rm, "a -d b");
    assert_int_equal(p.result, 0);
    assert_true(p.v.flag);
    assert_int_equal(p.parsed.n_args, 2);
    parse_done(&p);
}

static void test_names_after_one_dash(void **state)
{
    (void)state;
    struct command go = sample_rm;
    struct sample_values v = {0};
    struct parsed parsed;
    struct error err = ERROR_INIT;
    char *const argv[] = {(char *)"-detach", (char *)"-name", (char *)"a",
                          (char *)"-it",     (char *)"x",     NULL};
    go.single_dash = true;
    assert_int_equal(options_parse(&go, argv, &v, &parsed, &err), 0);
    assert_true(v.flag && v.interactive && v.tty);
    assert_string_equal(v.name, "a");
    assert_int_equal(parsed.n_args, 1);
    free(parsed.args);
    options_done(&go, &v);
    assert_true(options_parse(&sample_rm, argv, &v, &parsed, &err) < 0);
    free(parsed.args);
    options_done(&sample_rm, &v);
}

static void test_values(void **state)
{
    struct parse p;
    (void)state;
    parse_line(&p, &sample_run,
               "-dit --name=x -p8080:80 -p=81 --publish 82 -e A=1 -e B -e A=2 -m 2g --cpus 1.5 "
               "--for 1m30s -n7 --shares 9 --time -1 --pids-limit=-1 --sig-proxy=false img");
    assert_int_equal(p.result, 0);
    assert_true(p.v.flag && p.v.interactive && p.v.tty && !p.v.on);
    assert_string_equal(p.v.name, "x");
    assert_int_equal(strv_len(p.v.list), 3);
    assert_string_equal(p.v.list[0], "8080:80");
    assert_string_equal(p.v.list[1], "81");
    assert_string_equal(p.v.list[2], "82");
    assert_int_equal(strv_len(p.v.env), 2);
    assert_string_equal(p.v.env[0], "A=2");
    assert_string_equal(p.v.env[1], "B");
    assert_int_equal(p.v.bytes, 2147483648u);
    assert_int_equal(p.v.milli, 1500);
    assert_int_equal(p.v.ms, 90000);
    assert_int_equal(p.v.u32, 7);
    assert_int_equal(p.v.u64, 9);
    assert_int_equal(p.v.i32, -1);
    assert_int_equal(p.v.i64, -1);
    parse_done(&p);
}

static void test_empty_values_and_repeats(void **state)
{
    struct parse p;
    (void)state;
    parse_line(&p, &sample_run, "--name=x --name ~ -d -d=false img");
    assert_int_equal(p.result, 0);
    assert_string_equal(p.v.name, "");
    assert_false(p.v.flag);
    parse_done(&p);
    parse_line(&p, &sample_run, "--name= --detach=T img");
    assert_int_equal(p.result, 0);
    assert_string_equal(p.v.name, "");
    assert_true(p.v.flag);
    parse_done(&p);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *line, *message;
    } rows[] = {
        {"--foo img", "unknown flag: --foo"},
        {"--foo=x img", "unknown flag: --foo"},
        {"--nam x img", "unknown flag: --nam"},
        {"--=x img", "bad flag syntax: --=x"},
        {"-x img", "unknown shorthand flag: 'x' in -x"},
        {"-dxt img", "unknown shorthand flag: 'x' in -dxt"},
        {"--name", "flag needs an argument: --name"},
        {"-dp", "flag needs an argument: 'p' in -dp"},
        {"-m 12x img", "invalid argument \"12x\" for \"-m, --memory\": "},
        {"-m -5 img", "invalid argument \"-5\" for \"-m, --memory\": "},
        {"--cpus 1,5 img", "invalid argument \"1,5\" for \"--cpus\": "},
        {"-n 4294967296 img", "invalid argument \"4294967296\" for \"-n, --last\": "},
        {"--time 2147483648 img", "in range"},
        {"--time - img", "invalid argument \"-\""},
        {"--time --5 img", "invalid argument \"--5\""},
        {"--detach=maybe img", "it must be true or false"},
        {"-e =x img", "it must be KEY=VALUE"},
        {"-e ~ img", "it must be KEY=VALUE"},
        {"", "\"run\" requires at least 1 argument"},
        {"-d", "\"run\" requires at least 1 argument"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct parse p;
        parse_line(&p, &sample_run, rows[i].line);
        assert_int_equal(p.result, -EINVAL);
        assert_int_equal(p.err.kind, ERROR_INVALID);
        if (!strstr(p.err.msg, rows[i].message))
            fail_msg("%s: %s", rows[i].line, p.err.msg);
        assert_null(p.parsed.args);
        parse_done(&p);
    }
}

static void test_counts_and_help(void **state)
{
    struct parse p;
    (void)state;
    parse_line(&p, &sample_rm, "a b c");
    assert_string_equal(p.err.msg, "\"network rm\" requires at most 2 arguments");
    parse_done(&p);
    parse_line(&p, &sample_hidden, "a");
    assert_string_equal(p.err.msg, "\"internal finish\" accepts no arguments");
    parse_done(&p);
    parse_line(&p, &sample_run, "-d --help --nonsense");
    assert_int_equal(p.result, 0);
    assert_true(p.parsed.help);
    parse_done(&p);
    parse_line(&p, &sample_run, "-h");
    assert_true(p.parsed.help);
    parse_done(&p);
    parse_line(&p, &sample_run, "img --help");
    assert_int_equal(p.result, 0);
    assert_false(p.parsed.help);
    parse_done(&p);
}

static void test_find_and_suggest(void **state)
{
    const struct command *c = NULL;
    const struct command_group *g;
    size_t n;
    (void)state;
    char *run[] = {"run", "x", NULL}, *group_run[] = {"container", "run", NULL},
         *rm[] = {"network", "remove", NULL}, *group[] = {"network", "--help", NULL},
         *none[] = {"network", "remov", NULL}, *odd[] = {"network rm", NULL};
    assert_int_equal(command_find(&sample_set, run, &c, &g, &n), COMMAND_FOUND);
    assert_ptr_equal(c, &sample_run);
    assert_int_equal(n, 1);
    assert_int_equal(command_find(&sample_set, group_run, &c, &g, &n), COMMAND_FOUND);
    assert_ptr_equal(c, &sample_run);
    assert_int_equal(n, 2);
    assert_int_equal(command_find(&sample_set, rm, &c, &g, &n), COMMAND_FOUND);
    assert_ptr_equal(c, &sample_rm);
    assert_int_equal(command_find(&sample_set, group, &c, &g, &n), COMMAND_GROUP);
    assert_string_equal(g->name, "network");
    assert_int_equal(command_find(&sample_set, none, &c, &g, &n), COMMAND_UNKNOWN);
    assert_int_equal(command_find(&sample_set, odd, &c, &g, &n), COMMAND_FOUND);
    assert_string_equal(command_suggest(&sample_set, NULL, "rnu"), "run");
    assert_string_equal(command_suggest(&sample_set, NULL, "netwrok"), "network");
    assert_string_equal(command_suggest(&sample_set, &sample_groups[1], "mr"), "rm");
    assert_null(command_suggest(&sample_set, NULL, "xyzzy"));
    assert_null(command_suggest(&sample_set, NULL, "finish"));
}

/* What a printer wrote; owned. */
static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    print(out);
    fclose(out);
    return text;
}

static void print_help(FILE *out)
{
    help_print(out, &sample_set, &sample_run, 50);
}

static void test_help_snapshot(void **state)
{
    (void)state;
    char *text = printed(print_help);
    const char *wanted = "Usage:  proa run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"
                         "\n"
                         "Run a command\n"
                         "\n"
                         "It's what `run` does.\n"
                         "\n"
                         "Aliases:\n"
                         "  proa run, proa container run\n"
                         "\n"
                         "Options:\n"
                         "      --cidfile file     Write the ID\n"
                         "      --cpus decimal     CPUs\n"
                         "  -d, --detach           Run in the background\n"
                         "  -e, --env list         Set an environment\n"
                         "                         variable\n"
                         "      --for duration     How long\n";
    if (strncmp(text, wanted, strlen(wanted)) != 0)
        fail_msg("%s", text);
    assert_null(strstr(text, "--hidden"));
    free(text);
}

static void print_all_help(FILE *out)
{
    help_print_all(out, &sample_set, 80);
    help_print_group(out, &sample_set, &sample_groups[1], 80);
}

static void test_group_help(void **state)
{
    (void)state;
    char *text = printed(print_all_help);
    assert_non_null(strstr(text, "Common Commands:\n  run  Run a command\n"));
    assert_non_null(strstr(text, "  network    Manage networks\n"));
    assert_non_null(strstr(text, "Commands:\n  rm  Remove networks\n"));
    assert_null(strstr(text, "internal"));
    free(text);
}

static void print_man(FILE *out)
{
    man_print(out, &sample_set, &sample_run);
}

static void test_man(void **state)
{
    (void)state;
    char *text = printed(print_man);
    assert_non_null(strstr(text, ".TH PROA-RUN 1"));
    assert_non_null(strstr(text, "\\fB\\-d\\fR, \\fB\\-\\-detach\\fR\nRun in the background"));
    free(text);
}

static void print_completions(FILE *out)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
        if (completion_print(out, &sample_set, shells[i], NULL) < 0)
            abort();
}

static void test_completion(void **state)
{
    struct error err = ERROR_INIT;
    (void)state;
    char *text = printed(print_completions);
    assert_non_null(strstr(text, "'run') options='--help --cidfile"));
    assert_non_null(strstr(text, "'network remove') options="));
    assert_non_null(strstr(text, "#compdef proa"));
    assert_non_null(strstr(text, "'__fish_proa_next network' -a rm -d 'Remove networks'"));
    assert_null(strstr(text, "finish"));
    free(text);
    assert_int_equal(completion_print(stdout, &sample_set, "csh", &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positional),
        cmocka_unit_test(test_interspersed),
        cmocka_unit_test(test_names_after_one_dash),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_empty_values_and_repeats),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_counts_and_help),
        cmocka_unit_test(test_find_and_suggest),
        cmocka_unit_test(test_help_snapshot),
        cmocka_unit_test(test_group_help),
        cmocka_unit_test(test_man),
        cmocka_unit_test(test_completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
