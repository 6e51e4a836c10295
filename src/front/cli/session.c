#include "front/cli/session.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "front/cli/main.h"
#include "runtime/rootless/rootless.h"

enum { ENV_FILE_MAX = 1 << 20 };

int cli_engine(struct cli *cli, struct engine **ret, struct error *err)
{
    if (!cli->engine) {
        int r = rootless_enter(err);
        if (r == 0)
            r = engine_open(cli->root, &cli->engine, err);
        if (r < 0)
            return r;
        const struct global_values *globals = cli->globals;
        cli->engine->store->policy = xstrdup(globals ? globals->policy : NULL);
        for (size_t i = 0; cli->engine->notices && cli->engine->notices[i]; i++)
            output_warning("note: %s", cli->engine->notices[i]);
    }
    *ret = cli->engine;
    return 0;
}

int cli_failed(const struct error *err)
{
    output_error(err->msg);
    return 1;
}

int cli_for_each(struct cli *cli, char *const *args, bool echo, cli_action action, void *context)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    int code = 0;
    if (cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; args[i]; i++) {
        error_clear(&err);
        int r = action(e, args[i], context, &err);
        if (r < 0) {
            code = cli_failed(&err);
        } else if (echo && r == 0) {
            puts(args[i]);
            fflush(stdout);
        }
    }
    return code;
}

int cli_read_lines(char *const *files, char ***list, struct error *err)
{
    for (size_t i = 0; files && files[i]; i++) {
        _cleanup_free_ char *text = NULL;
        int r = file_read(AT_FDCWD, files[i], ENV_FILE_MAX, &text);
        if (r < 0)
            return error_errno(err, r, "read %s", files[i]);
        _cleanup_strv_ char **lines = strv_split(text, '\n');
        for (size_t l = 0; lines[l]; l++) {
            char *line = lines[l] + strspn(lines[l], " \t");
            line[strcspn(line, "\r")] = '\0';
            if (*line == '=')
                return error_invalid(err, "%s: line %zu has no name before \"=\"", files[i], l + 1);
            if (*line && *line != '#')
                strv_add(list, line);
        }
    }
    return 0;
}

int cli_environment(char *const *env, char *const *files, char ***ret, struct error *err)
{
    _cleanup_strv_ char **all = NULL, **result = NULL;
    int r = cli_read_lines(files, &all, err);
    if (r < 0)
        return r;
    for (size_t i = 0; env && env[i]; i++)
        strv_add(&all, env[i]);
    for (size_t i = 0; all && all[i]; i++) {
        const char *value = strchr(all[i], '=') ? "" : getenv(all[i]);
        if (!value)
            continue;
        _cleanup_free_ char *entry =
            strchr(all[i], '=') ? xstrdup(all[i]) : xasprintf("%s=%s", all[i], value);
        env_set(&result, entry);
    }
    *ret = TAKE_PTR(result);
    return 0;
}

int cli_check_terminal(bool terminal, bool interactive, struct error *err)
{
    if (terminal && interactive && !isatty(STDIN_FILENO))
        return error_invalid(err, "the input device is not a TTY; leave out -t");
    return 0;
}

struct short_id short_id(const char *id, bool whole)
{
    struct short_id s;
    const char *colon = id ? strchr(id, ':') : NULL;
    if (!id)
        id = "";
    if (whole)
        snprintf(s.s, sizeof(s.s), "%s", id);
    else
        snprintf(s.s, sizeof(s.s), "%.12s", colon ? colon + 1 : id);
    return s;
}
