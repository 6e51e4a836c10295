/*
 * Nothing is done before the verb is known: no locale, no configuration, no store. A verb that
 * needs the engine opens it (session.h); it is closed here.
 */
#include "front/cli/main.h"

#include <string.h>

#include "base/alloc.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

/* One line: what is wrong, and where help is. name NULL: the program's own. */
static int usage_error(const struct command_set *set, const char *name, const char *message,
                       int code)
{
    bool stopped = *message && message[strlen(message) - 1] == '?';
    output_warning("%.400s%s See '%s%s%s --help'.", message, stopped ? "" : ".", set->program,
                   name ? " " : "", name ? name : "");
    return code ? code : 1;
}

static int unknown_command(const struct command_set *set, const struct command_group *group,
                           char *const *words)
{
    const char *word = group ? words[1] : words[0];
    const char *nearest = command_suggest(set, group, word);
    char message[512];
    snprintf(message, sizeof(message), "'%s%s%.100s' is not a %s command%s%s%s",
             group ? group->name : "", group ? " " : "", word, set->program,
             nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return usage_error(set, group ? group->name : NULL, message, 1);
}

static int run_command(struct cli *cli, const struct command *c, char *const *argv)
{
    struct error err = ERROR_INIT;
    struct parsed parsed;
    _cleanup_free_ void *values = xcalloc(1, c->values_size + 1);
    int code;
    cli->command = c;
    if (c->init)
        c->init(values);
    if (options_parse(c, argv, values, &parsed, &err) < 0) {
        code = usage_error(cli->set, c->name, err.msg, c->usage_exit);
    } else if (parsed.help) {
        help_print(stdout, cli->set, c, output_wrap_columns());
        code = 0;
    } else {
        code = c->run(cli, values, parsed.args);
    }
    if (parsed.args)
        free(parsed.args);
    options_done(c, values);
    return code;
}

/* A group without a verb does nothing: its help, as asked for or as an answer to a mistake. */
static int group_alone(const struct command_set *set, const struct command_group *group,
                       const char *option)
{
    char message[128];
    bool asked = option && (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0);
    if (option && !asked) {
        snprintf(message, sizeof(message), "unknown flag: %.80s", option);
        return usage_error(set, group->name, message, 1);
    }
    help_print_group(asked ? stdout : stderr, set, group, output_wrap_columns());
    return asked ? 0 : 1;
}

static int dispatch(struct cli *cli, char *const *words)
{
    const struct command *c;
    const struct command_group *group;
    size_t n;
    switch (command_find(cli->set, words, &c, &group, &n)) {
    case COMMAND_FOUND:
        return run_command(cli, c, words + n);
    case COMMAND_GROUP:
        return group_alone(cli->set, group, words[1]);
    case COMMAND_UNKNOWN:
        break;
    }
    return unknown_command(cli->set, group, words);
}

static int nothing_asked(const struct command_set *set)
{
    help_print_all(stderr, set, output_wrap_columns());
    return 1;
}

int cli_main(char *const *argv)
{
    const struct command_set *set = &proa_commands;
    struct error err = ERROR_INIT;
    struct global_values globals = {0};
    struct parsed parsed;
    struct cli cli = {.set = set};
    int code = 0;
    if (options_parse(set->global, argv + 1, &globals, &parsed, &err) < 0) {
        options_done(set->global, &globals);
        return usage_error(set, NULL, err.msg, 1);
    }
    cli.root = globals.root;
    if (globals.version)
        printf("Proa version %s\n", PROA_VERSION);
    else if (parsed.help)
        help_print_all(stdout, set, output_wrap_columns());
    else if (parsed.n_args == 0)
        code = nothing_asked(set);
    else
        code = dispatch(&cli, parsed.args);
    code = output_finish(code);
    engine_close(cli.engine);
    free(parsed.args);
    options_done(set->global, &globals);
    return code;
}
