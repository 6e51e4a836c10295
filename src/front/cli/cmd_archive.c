/* An instance's files: export, diff, commit. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/archive.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"

/* --- export --- */

struct export_values {
    char *output;
};
static const struct cli_option export_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'o', "output", struct export_values, output, "string",
              "Write to a file instead of stdout"),
};

/* The archive appears under its name when it is complete. */
static int export_to_file(struct engine *e, const char *reference, const char *path,
                          struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? error_errno(err, errno, "open %s", path)
                      : engine_export(e, reference, fd, err);
    }
    _cleanup_free_ char *other = xasprintf("%s.%d.unfinished", path, (int)getpid());
    _cleanup_close_ int fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, "create %s", other);
    int r = engine_export(e, reference, fd, err);
    if (r == 0 && rename(other, path) < 0)
        r = error_errno(err, errno, "create %s", path);
    if (r < 0)
        unlink(other);
    return r;
}

static int handle_export(struct cli *cli, void *values, char **args)
{
    const struct export_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    if (!v->output && isatty(STDOUT_FILENO)) {
        error_invalid(&err, "an archive is not written to a terminal: use --output, or redirect "
                            "stdout");
        return cli_failed(&err);
    }
    int r = cli_engine(cli, &e, &err);
    if (r == 0)
        r = v->output ? export_to_file(e, args[0], v->output, &err)
                      : engine_export(e, args[0], STDOUT_FILENO, &err);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_export = {
    .name = "export",
    .aliases = "container export",
    .usage = "[OPTIONS] INSTANCE",
    .summary = "Write an instance's file system to a tar archive",
    .description = "The instance may be running or not; a machine must be running. What is mounted "
                   "into it (volumes, for one) is left out.",
    .sets = {OPTION_SET(export_table)},
    .values_size = sizeof(struct export_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_export,
};

/* --- diff --- */

struct diff_values {
    char *format;
};
static const struct cli_option diff_table[] = {
    OPT_STRING(0, "format", struct diff_values, format, "string", "json: print them as JSON"),
};

static void print_json(char *const *lines)
{
    static const struct {
        char kind;
        const char *word;
    } words[] = {{'C', "changed"}, {'A', "added"}, {'D', "deleted"}};
    _cleanup_json_ json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        json_t *list = json_array();
        for (size_t n = 0; lines[n]; n++)
            if (lines[n][0] == words[i].kind)
                json_array_append_new(list, json_text(lines[n] + 2));
        if (json_array_size(list) > 0)
            json_object_set(o, words[i].word, list);
        json_decref(list);
    }
    _cleanup_free_ char *text = json_to_text(o);
    puts(text);
}

static int handle_diff(struct cli *cli, void *values, char **args)
{
    const struct diff_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_strv_ char **lines = NULL;
    int r = 0;
    if (v->format && strcmp(v->format, "json") != 0)
        r = error_invalid(&err, "--format is json, not \"%.40s\"", v->format);
    if (r < 0 || cli_engine(cli, &e, &err) < 0 ||
        engine_diff(e, args[0], args[1], &lines, &err) < 0)
        return cli_failed(&err);
    if (v->format)
        print_json(lines);
    for (size_t i = 0; !v->format && lines[i]; i++)
        puts(lines[i]);
    return 0;
}

const struct command cmd_diff = {
    .name = "diff",
    .aliases = "container diff,image diff",
    .usage = "[OPTIONS] INSTANCE|IMAGE [IMAGE]",
    .summary = "Show what an instance has changed of its image",
    .description =
        "A line for each path: A for added, C for changed, D for deleted. Of an image: what "
        "its last layer changes. Of two: what the second has changed of the first.",
    .sets = {OPTION_SET(diff_table)},
    .values_size = sizeof(struct diff_values),
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_diff,
};

/* --- commit --- */

struct commit_values {
    char *author, *message;
    char **changes;
    bool pause, quiet;
};
static const struct cli_option commit_table[] = {
    OPT_STRING('a', "author", struct commit_values, author, "string", "Who made it"),
    OPT_STRING('m', "message", struct commit_values, message, "string", "Set a history message"),
    OPT_LIST('c', "change", struct commit_values, changes, "list",
             "Apply a Dockerfile instruction (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, "
             "WORKDIR, STOPSIGNAL)"),
    OPT_FLAG('p', "pause", struct commit_values, pause,
             "Let a running container stand still meanwhile (the default)"),
    OPT_FLAG('q', "quiet", struct commit_values, quiet, NULL),
};

static void commit_init(void *values)
{
    ((struct commit_values *)values)->pause = true;
}

static int handle_commit(struct cli *cli, void *values, char **args)
{
    const struct commit_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    _cleanup_free_ char *id = NULL;
    struct commit_options o = {
        .reference = args[0],
        .name = args[1],
        .author = v->author,
        .message = v->message,
        .changes = v->changes,
        .pause = v->pause,
    };
    if (cli_engine(cli, &e, &err) < 0 || engine_commit(e, &o, &id, &err) < 0)
        return cli_failed(&err);
    puts(id);
    return 0;
}

const struct command cmd_commit = {
    .name = "commit",
    .aliases = "container commit",
    .usage = "[OPTIONS] INSTANCE [REPOSITORY[:TAG]]",
    .summary = "Make an image of what an instance has changed",
    .description = "A machine must be running, and goes on while its files are read.",
    .sets = {OPTION_SET(commit_table)},
    .values_size = sizeof(struct commit_values),
    .init = commit_init,
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_commit,
};
