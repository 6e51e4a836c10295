/* build: an image from a Containerfile; builder prune: what its cache keeps. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build.h"
#include "front/cli/commands.h"
#include "front/cli/registry.h"
#include "front/cli/session.h"
#include "front/command/safetext.h"

#define TAIL_BYTES     ((size_t)4096)
#define EXIT_CANCELLED 130

struct build_values {
    char **names, **build_args, **labels, **secrets, **add_hosts, **ulimits;
    char *file, *target, *platform, *network, *iidfile, *epoch, *progress;
    bool no_cache, squash, pull, quiet, vm, force_rm, rm;
    struct registry_values registry;
};

static const struct cli_option build_table[] = {
    OPT_LIST('t', "tag", struct build_values, names, "list", "Name the image REPOSITORY[:TAG]"),
    OPT_NAMED(COMPLETES_FILE, 'f', "file", struct build_values, file, "string",
              "Read this Containerfile (- is stdin); else Containerfile or Dockerfile of PATH"),
    OPT_STRING(0, "target", struct build_values, target, "stage", "Build this stage"),
    OPT_KEY_VALUE(0, "build-arg", struct build_values, build_args, "list",
                  "Give an ARG a value (NAME takes it from the environment)"),
    OPT_KEY_VALUE(0, "label", struct build_values, labels, "list", "Set a label of the image"),
    OPT_LIST(0, "secret", struct build_values, secrets, "list",
             "Give RUN --mount=type=secret a file: id=NAME[,src=FILE|env=VARIABLE]"),
    OPT_STRING(0, "platform", struct build_values, platform, "string",
               "Refuse to build for another platform than OS/ARCHITECTURE"),
    OPT_STRING(0, "network", struct build_values, network, "string",
               "Network of RUN: default, none or host"),
    OPT_LIST(0, "add-host", struct build_values, add_hosts, "list",
             "Add NAME:ADDRESS to /etc/hosts of RUN"),
    OPT_LIST(0, "ulimit", struct build_values, ulimits, "list", "Limits of RUN"),
    OPT_FLAG(0, "no-cache", struct build_values, no_cache, "Take nothing from the build cache"),
    OPT_FLAG(0, "squash", struct build_values, squash, "Make one layer of all new ones"),
    OPT_FLAG(0, "pull", struct build_values, pull,
             "Ask the registry for newer base images; without it only missing ones are pulled"),
    REGISTRY_OPTIONS(struct build_values),
    OPT_STRING(0, "source-date-epoch", struct build_values, epoch, "seconds",
               "No time in the image is later: the same input gives the same digest "
               "(SOURCE_DATE_EPOCH)"),
    OPT_FLAG(0, "vm", struct build_values, vm,
             "Run the steps in light machines, behind a kernel of their own"),
    OPT_NAMED(COMPLETES_FILE, 0, "iidfile", struct build_values, iidfile, "file",
              "Write the image's id to a file"),
    OPT_FLAG('q', "quiet", struct build_values, quiet, "Print the image's id only"),
    OPT_STRING(0, "progress", struct build_values, progress, "string", "auto or plain"),
    /* Nothing is left of a container here, whatever is asked for. */
    OPT_FLAG(0, "rm", struct build_values, rm, NULL),
    OPT_FLAG(0, "force-rm", struct build_values, force_rm, NULL),
};

/* What a quiet build would have printed last, for when it fails. */
struct output {
    bool quiet;
    char tail[TAIL_BYTES];
    size_t len;
};

static void show_line(void *context, const char *text)
{
    const struct output *o = context;
    if (o->quiet)
        return;
    _cleanup_free_ char *safe = text_safe_for(stdout, text);
    puts(safe);
    fflush(stdout);
}

static void keep_tail(struct output *o, const char *data, size_t len)
{
    if (len >= TAIL_BYTES) {
        memcpy(o->tail, data + len - TAIL_BYTES, TAIL_BYTES);
        o->len = TAIL_BYTES;
        return;
    }
    size_t over = o->len + len > TAIL_BYTES ? o->len + len - TAIL_BYTES : 0;
    memmove(o->tail, o->tail + over, o->len - over);
    o->len -= over;
    memcpy(o->tail + o->len, data, len);
    o->len += len;
}

static void show_output(void *context, int stream, const char *data, size_t len)
{
    struct output *o = context;
    if (o->quiet)
        keep_tail(o, data, len);
    else
        (void)!fd_write_all(stream, data, len);
}

/* NAME alone takes its value from the environment, and is left out when it has none there. */
static char **resolve_args(char *const *args)
{
    char **all = strv_copy(NULL);
    for (size_t i = 0; args && args[i]; i++) {
        const char *value = strchr(args[i], '=') ? "" : getenv(args[i]);
        if (strchr(args[i], '='))
            strv_add(&all, args[i]);
        else if (value)
            strv_addf(&all, "%s=%s", args[i], value);
    }
    return all;
}

static int read_epoch(const struct build_values *v, struct build_options *o, struct error *err)
{
    const char *given = env_get(o->build_args, "SOURCE_DATE_EPOCH"); /* as BuildKit has it */
    const char *text = v->epoch ? v->epoch : given ? given : getenv("SOURCE_DATE_EPOCH");
    uint64_t seconds;
    if (!text || !*text)
        return 0;
    if (parse_u64(text, INT64_MAX / 1000000000, &seconds) < 0)
        return error_invalid(err, "--source-date-epoch \"%.40s\": use seconds since 1970", text);
    o->has_epoch = true;
    o->epoch_s = (int64_t)seconds;
    return 0;
}

static int check(const struct build_values *v, struct error *err)
{
    if (v->progress && strcmp(v->progress, "auto") != 0 && strcmp(v->progress, "plain") != 0)
        return error_invalid(err, "--progress \"%.40s\": auto or plain", v->progress);
    return 0;
}

static void build_init(void *values)
{
    struct build_values *v = values;
    registry_values_init(&v->registry);
}

static int get_image(void *context, struct engine *e, char **image, struct error *err)
{
    struct build_values *v = context;
    return cli_pull_for_run(e, v->pull ? "always" : "missing", NULL, &v->registry, image, err);
}

static int build(struct cli *cli, struct build_values *v, const char *context,
                 struct output *output, char **ret_id, struct error *err)
{
    struct engine *e;
    _cleanup_strv_ char **args = resolve_args(v->build_args);
    struct build_options o = {
        .context = context,
        .file = v->file,
        .names = v->names,
        .target = v->target,
        .platform = v->platform,
        .network = v->network,
        .build_args = args,
        .labels = v->labels,
        .secrets = v->secrets,
        .add_hosts = v->add_hosts,
        .ulimits = v->ulimits,
        .no_cache = v->no_cache,
        .squash = v->squash,
        .vm = v->vm,
        .report = {output, show_line, show_output},
        .get_image = get_image,
        .get_image_context = v,
    };
    int r;
    if ((r = check(v, err)) < 0 || (r = read_epoch(v, &o, err)) < 0 ||
        (r = cli_engine(cli, &e, err)) < 0 || (r = engine_build(e, &o, ret_id, err)) < 0)
        return r;
    if (!v->iidfile)
        return 0;
    r = file_write_atomic(AT_FDCWD, v->iidfile, *ret_id, strlen(*ret_id), 0644);
    return r < 0 ? error_errno(err, r, "write %s", v->iidfile) : 0;
}

static int handle_build(struct cli *cli, void *values, char **args)
{
    struct build_values *v = values;
    struct error err = ERROR_INIT;
    struct output output = {.quiet = v->quiet};
    _cleanup_free_ char *id = NULL;
    int r = build(cli, v, args[0] ? args[0] : ".", &output, &id, &err);
    if (r < 0) {
        (void)!fd_write_all(STDERR_FILENO, output.tail, output.len);
        (void)cli_failed(&err);
        return r == -ECANCELED ? EXIT_CANCELLED : 1;
    }
    for (size_t i = 0; !v->quiet && v->names && v->names[i]; i++)
        printf("Successfully tagged %s\n", v->names[i]);
    puts(id);
    return 0;
}

const struct command cmd_build = {
    .name = "build",
    .aliases = "image build,builder build",
    .usage = "[OPTIONS] [PATH|-]",
    .summary = "Build an image from a Containerfile",
    .description =
        "PATH is the context: what COPY and ADD can reach; - is an archive, or a Containerfile, "
        "on stdin. Each step that changes files makes a layer, which is found again when "
        "everything it was made from is the same. The last line printed is the image's id.",
    .sets = {OPTION_SET(build_table)},
    .values_size = sizeof(struct build_values),
    .init = build_init,
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_COMMON,
    .run = handle_build,
};

/* --- builder prune --- */

struct builder_prune_values {
    bool all, force;
    uint64_t older_ms;
};
static const struct cli_option builder_prune_table[] = {
    OPTION(OPTION_DURATION, uint64_t, 0, "older-than", struct builder_prune_values, older_ms,
           "duration", "Only what no build has used for so long, such as 72h"),
    OPT_FLAG('a', "all", struct builder_prune_values, all, NULL),
    OPT_FLAG('f', "force", struct builder_prune_values, force, "Do not ask"),
};

static int handle_builder_prune(struct cli *cli, void *values, char **args)
{
    const struct builder_prune_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    uint64_t bytes = 0;
    (void)args;
    if (!v->force && !output_confirm("This removes what the build cache keeps. Continue?"))
        return 1;
    if (cli_engine(cli, &e, &err) < 0 ||
        engine_build_prune(e, (int64_t)(v->older_ms / 1000), &bytes, &err) < 0)
        return cli_failed(&err);
    printf("Total reclaimed space: %s\n", format_size(bytes).s);
    return 0;
}

const struct command cmd_builder_prune = {
    .name = "builder prune",
    .usage = "[OPTIONS]",
    .summary = "Remove what the build cache keeps",
    .sets = {OPTION_SET(builder_prune_table)},
    .values_size = sizeof(struct builder_prune_values),
    .section = SECTION_GROUPED,
    .run = handle_builder_prune,
};
