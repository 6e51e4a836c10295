/* Consoles of machines: the serial one, as attach has it, and the screen. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "engine/instance.h"
#include "engine/observe.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct console_values {
    char *screenshot, *detach_keys;
    bool vnc;
};
static const struct cli_option console_table[] = {
    OPT_STRING(0, "detach-keys", struct console_values, detach_keys, "string",
               "Keys that detach (ctrl-p,ctrl-q)"),
    OPTION(OPTION_STRING, char *, 0, "screenshot", struct console_values, screenshot, "file",
           "Write what the screen shows into a file, as PNG", .completes = COMPLETES_FILE),
    OPT_FLAG(0, "vnc", struct console_values, vnc, "Print how the screen is seen"),
};

static int show_vnc(struct engine *e, const char *name, struct error *err)
{
    _cleanup_free_ char *path = NULL;
    int r = engine_screen(e, name, &path, err);
    if (r < 0)
        return r;
    printf("%s\n", path);
    fprintf(stderr,
            "A VNC viewer that knows Unix sockets takes this path: vncviewer %s\n"
            "From another host: ssh -L 5900:%s root@THIS-HOST, then vncviewer localhost:5900\n",
            path, path);
    return 0;
}

/* The file appears when it is complete. */
static int take_screenshot(struct engine *e, const char *name, const char *file, struct error *err)
{
    _cleanup_free_ char *making = xasprintf("%s.%d.unfinished", file, (int)getpid());
    _cleanup_close_ int fd = open(making, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_errno(err, errno, "create %s", making);
    int r = engine_screenshot(e, name, fd, err);
    if (r == 0 && rename(making, file) < 0)
        r = error_errno(err, errno, "create %s", file);
    if (r < 0)
        unlink(making);
    return r;
}

static int sit_down(struct engine *e, const struct console_values *v, const char *name,
                    int *ret_status, struct error *err)
{
    struct monitor_end end = {0};
    /* A signal of the terminal's is not meant for the machine. */
    struct attach_options how = {.forward_stdin = true, .detach_keys = v->detach_keys};
    int r = engine_attach(e, name, &how, &end, err);
    *ret_status = r < 0 || end.detached ? 0 : end.lost ? 1 : end.exit_code;
    return r;
}

static int handle_console(struct cli *cli, void *values, char **args)
{
    const struct console_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    int status = 0, r = cli_engine(cli, &e, &err);
    if (r == 0 && v->screenshot)
        r = take_screenshot(e, args[0], v->screenshot, &err);
    if (r == 0 && v->vnc)
        r = show_vnc(e, args[0], &err);
    if (r == 0 && !v->vnc && !v->screenshot)
        r = sit_down(e, v, args[0], &status, &err);
    return r < 0 ? cli_failed(&err) : status;
}

const struct command cmd_console = {
    .name = "console",
    .usage = "[OPTIONS] NAME",
    .summary = "Sit at a machine's serial console, or see its screen",
    .description = "Without options it is `proa attach`; ctrl-p ctrl-q leaves the machine running.",
    .sets = {OPTION_SET(console_table)},
    .values_size = sizeof(struct console_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_RUNNING,
    .section = SECTION_OTHER,
    .run = handle_console,
};
