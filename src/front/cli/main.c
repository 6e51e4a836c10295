/*
 * Nothing is done before the verb is known: no locale, no configuration, no store. A verb that
 * needs the engine opens it (session.h); it is closed here.
 */
#include "front/cli/main.h"

#include "front/cli/commands.h"
#include "front/cli/session.h"

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
        return command_usage_error(set, NULL, err.msg, 1);
    }
    cli.root = globals.root;
    cli.globals = &globals;
    if (globals.version)
        printf("Proa version %s\n", PROA_VERSION);
    else if (parsed.help)
        help_print_all(stdout, set, output_wrap_columns());
    else
        code = command_dispatch(&cli, parsed.args);
    code = output_finish(code);
    engine_close(cli.engine);
    free(parsed.args);
    options_done(set->global, &globals);
    return code;
}
