/* From words to a handler: the verb is looked up, its options are parsed, and it is run. */
#include <string.h>

#include "base/alloc.h"
#include "front/command/command.h"
#include "front/command/report.h"

int command_usage_error(const struct command_set *set, const char *name, const char *message,
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
    return command_usage_error(set, group ? group->name : NULL, message, 1);
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
        code = command_usage_error(cli->set, c->name, err.msg, c->usage_exit);
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
        return command_usage_error(set, group->name, message, 1);
    }
    help_print_group(asked ? stdout : stderr, set, group, output_wrap_columns());
    return asked ? 0 : 1;
}

static int nothing_asked(const struct command_set *set)
{
    help_print_all(stderr, set, output_wrap_columns());
    return 1;
}

int command_dispatch(struct cli *cli, char *const *words)
{
    const struct command *c;
    const struct command_group *group;
    size_t n;
    if (!words[0])
        return nothing_asked(cli->set);
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
