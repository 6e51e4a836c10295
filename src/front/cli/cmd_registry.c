/* Verbs that speak to registries: pull, push, login, logout. */
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "engine/system.h"
#include "front/cli/commands.h"
#include "front/cli/registry.h"
#include "front/cli/session.h"
#include "service/registry/remote.h"

enum { PASSWORD_MAX = 65536 };

/* --- pull --- */

struct pull_values {
    struct registry_values registry;
    char *platform, *progress;
    uint32_t parallel;
    bool quiet, all_tags;
};
static const struct cli_option pull_table[] = {
    REGISTRY_OPTIONS(struct pull_values),
    OPT_FLAG('a', "all-tags", struct pull_values, all_tags,
             "All images of the repository, one for each of its tags"),
    OPTION(OPTION_U32, uint32_t, 0, "parallel", struct pull_values, parallel, "int",
           "Layers to download at once (default 4)"),
    OPT_STRING(0, "platform", struct pull_values, platform, "string",
               "OS/ARCHITECTURE[/VARIANT] to take of several"),
    OPT_STRING(0, "progress", struct pull_values, progress, "string",
               "auto: bars on a terminal; json: one line an event; none"),
    OPT_FLAG('q', "quiet", struct pull_values, quiet, "Print nothing but the image's ID"),
};

static void pull_init(void *values)
{
    registry_values_init(&((struct pull_values *)values)->registry);
}

static int parse_report(const char *progress, bool quiet, enum pull_report *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum pull_report report;
    } known[] = {{"auto", PULL_BARS}, {"json", PULL_JSON}, {"none", PULL_QUIET}};
    const char *name = progress ? progress : quiet ? "none" : "auto";
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            *ret = known[i].report;
            return 0;
        }
    }
    return error_invalid(err, "--progress: \"%.40s\" is neither auto, json nor none", name);
}

static void print_pulled(const struct image_pulled *p, enum pull_report report, bool quiet)
{
    if (report == PULL_JSON) {
        _cleanup_json_ json_t *o = json_pack("{sssssbss?}", "id", p->id, "digest", p->digest,
                                             "changed", p->changed, "name", p->name);
        _cleanup_free_ char *text = json_to_text(o);
        puts(text);
        return;
    }
    if (!quiet) {
        fprintf(stderr, "Digest: %s\n", p->digest);
        fprintf(stderr, "Status: %s for %s\n",
                p->changed ? "Downloaded newer image" : "Image is up to date",
                p->name ? p->name : p->digest);
    }
    puts(p->id);
}

static int pull_one(struct engine *e, const struct pull_values *v, const struct registry_options *o,
                    enum pull_report report, const char *name, struct error *err)
{
    _cleanup_(reference_done) struct reference from = {0};
    _cleanup_(image_pulled_done) struct image_pulled pulled = {0};
    int r = registry_resolve(o, name, &from, err);
    if (r < 0)
        return r;
    const struct image_pull how = {
        .from = &from, .registry = o, .platform = v->platform, .parallel = v->parallel};
    if ((r = cli_pull(e, &how, report, &pulled, err)) < 0)
        return r;
    print_pulled(&pulled, report, v->quiet);
    return 0;
}

/* Goes on after a tag that cannot be pulled: one may be of another platform. */
static int pull_all_tags(struct engine *e, const struct pull_values *v,
                         const struct registry_options *o, enum pull_report report,
                         const char *repository, struct error *err)
{
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_strv_ char **tags = NULL;
    const char *slash = strrchr(repository, '/');
    size_t failed = 0;
    if (strpbrk(slash ? slash : repository, ":@"))
        return error_invalid(err, "--all-tags takes a repository, without a tag or a digest");
    int r = registry_resolve(o, repository, &of, err);
    if (r < 0 || (r = registry_tags(o, &of, &tags, err)) < 0)
        return r;
    for (size_t i = 0; tags[i]; i++) {
        struct error why = ERROR_INIT;
        _cleanup_free_ char *name = xasprintf("%s:%s", repository, tags[i]);
        if (pull_one(e, v, o, report, name, &why) == 0)
            continue;
        (void)cli_failed(&why);
        failed++;
    }
    return failed ? error_set(err, ERROR_NOT_FOUND, ENOENT, "%zu of %zu tags were not pulled",
                              failed, strv_len(tags))
                  : 0;
}

static int handle_pull(struct cli *cli, void *values, char **args)
{
    struct pull_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct registry_options o;
    enum pull_report report = PULL_BARS;
    if (parse_report(v->progress, v->quiet, &report, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 || cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    int r = (v->all_tags ? pull_all_tags : pull_one)(e, v, &o, report, args[0], &err);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_pull = {
    .name = "pull",
    .aliases = "image pull",
    .usage = "[OPTIONS] HOST[:PORT]/NAME[:TAG|@DIGEST]",
    .summary = "Get an image from a registry",
    .description = "A name without a registry is looked up in the short-names of "
                   "/etc/proa/registries.json. An interrupted pull is gone on with by the next.",
    .sets = {OPTION_SET(pull_table)},
    .values_size = sizeof(struct pull_values),
    .init = pull_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_COMMON,
    .run = handle_pull,
};

/* --- push --- */

struct push_values {
    struct registry_values registry;
    char *compression, *progress, *digest_file;
    uint32_t parallel;
    bool quiet;
};
static const struct cli_option push_table[] = {
    REGISTRY_OPTIONS(struct push_values),
    OPT_STRING(0, "compression", struct push_values, compression, "string",
               "Of layers that have to be packed: gzip (default) or zstd"),
    OPT_NAMED(COMPLETES_FILE, 0, "digestfile", struct push_values, digest_file, "file",
              "Write the manifest's digest to this file"),
    OPTION(OPTION_U32, uint32_t, 0, "parallel", struct push_values, parallel, "int",
           "Layers to upload at once (default 4)"),
    OPT_STRING(0, "progress", struct push_values, progress, "string",
               "auto: bars on a terminal; json: one line an event; none"),
    OPT_FLAG('q', "quiet", struct push_values, quiet, "Print nothing but the digest"),
};

static void push_init(void *values)
{
    registry_values_init(&((struct push_values *)values)->registry);
}

static int check_compression(const char *name, struct error *err)
{
    if (!name || strcmp(name, "gzip") == 0 || strcmp(name, "zstd") == 0)
        return 0;
    return error_invalid(err, "--compression: \"%.40s\" is neither gzip nor zstd", name);
}

static int print_pushed(const struct push_values *v, const struct image_pushed *p,
                        enum pull_report report, struct error *err)
{
    int r = v->digest_file
                ? file_write_atomic(AT_FDCWD, v->digest_file, p->digest, strlen(p->digest), 0644)
                : 0;
    if (r < 0)
        return error_errno(err, r, "write %s", v->digest_file);
    if (report == PULL_JSON)
        printf("{\"digest\":\"%s\",\"size\":%llu}\n", p->digest, (unsigned long long)p->bytes);
    else
        puts(p->digest);
    return 0;
}

static int handle_push(struct cli *cli, void *values, char **args)
{
    struct push_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct registry_options o;
    enum pull_report report = PULL_BARS;
    struct image_pushed pushed = {0};
    _cleanup_(reference_done) struct reference to = {0};
    if (parse_report(v->progress, v->quiet, &report, &err) < 0 ||
        check_compression(v->compression, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_resolve(&o, args[1] ? args[1] : args[0], &to, &err) < 0 ||
        cli_engine(cli, &e, &err) < 0)
        return cli_failed(&err);
    const struct image_push how = {.image = args[0],
                                   .to = &to,
                                   .registry = &o,
                                   .compression = v->compression,
                                   .parallel = v->parallel};
    int r = cli_push(e, &how, report, &pushed, &err);
    if (r == 0)
        r = print_pushed(v, &pushed, report, &err);
    free(pushed.digest);
    return r < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_push = {
    .name = "push",
    .aliases = "image push",
    .usage = "[OPTIONS] IMAGE [HOST[:PORT]/NAME[:TAG]]",
    .summary = "Send an image to a registry",
    .description = "What the registry has already is not sent again. Prints the digest of the "
                   "manifest.",
    .sets = {OPTION_SET(push_table)},
    .values_size = sizeof(struct push_values),
    .init = push_init,
    .min_args = 1,
    .max_args = 2,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_COMMON,
    .run = handle_push,
};

/* --- login, logout --- */

struct login_values {
    struct registry_values registry;
    char *user, *password;
    bool password_stdin;
};
static const struct cli_option login_table[] = {
    REGISTRY_OPTIONS(struct login_values),
    OPT_STRING('p', "password", struct login_values, password, "string",
               "Password; others can see it in the list of processes"),
    OPT_FLAG(0, "password-stdin", struct login_values, password_stdin,
             "Read the password from stdin"),
    OPT_STRING('u', "username", struct login_values, user, "string", "User name"),
};

static void login_init(void *values)
{
    registry_values_init(&((struct login_values *)values)->registry);
}

/* One line of stdin; with a terminal after a question, and a password without echo. */
static int ask(const char *question, bool secret, char **ret, struct error *err)
{
    char *line = NULL;
    size_t size = 0;
    struct termios saved, silent;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
    if (!terminal)
        return error_invalid(err, "no terminal to ask on: use -u and --password-stdin");
    fputs(question, stderr);
    if (secret) {
        silent = saved;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    ssize_t n = getline(&line, &size, stdin);
    if (secret) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
        fputc('\n', stderr);
    }
    if (n <= 0) {
        free(line);
        return error_invalid(err, "nothing was entered");
    }
    line[strcspn(line, "\r\n")] = '\0';
    *ret = line;
    return 0;
}

static int read_password(char **ret, struct error *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(PASSWORD_MAX);
    int r = fd_read_to_end(STDIN_FILENO, &text);
    if (r < 0)
        return error_errno(err, r, "read the password");
    *ret = buf_take(&text);
    (*ret)[strcspn(*ret, "\r\n")] = '\0';
    return 0;
}

static int complete_login(struct login_values *v, struct error *err)
{
    int r = 0;
    if (v->password && v->password_stdin)
        return error_invalid(err, "--password and --password-stdin exclude each other");
    if (v->password_stdin && !v->user)
        return error_invalid(err, "--password-stdin needs --username");
    if (v->password_stdin)
        r = read_password(&v->password, err);
    if (r == 0 && !v->user)
        r = ask("Username: ", false, &v->user, err);
    if (r == 0 && !v->password)
        r = ask("Password: ", true, &v->password, err);
    if (r == 0 && (!*v->user || !*v->password || strchr(v->user, ':')))
        r = error_invalid(err, "a user (without \":\") and a password are wanted");
    return r;
}

static int parse_host(const char *text, const char **ret, struct error *err)
{
    *ret = strcmp(text, "index.docker.io") == 0 ? "docker.io" : text;
    return reference_host_ok(text) ? 0 : error_invalid(err, "\"%.100s\" is no HOST[:PORT]", text);
}

static int handle_login(struct cli *cli, void *values, char **args)
{
    struct login_values *v = values;
    struct error err = ERROR_INIT;
    struct registry_options o;
    const char *host;
    _cleanup_free_ char *where = NULL;
    (void)cli;
    if (parse_host(args[0], &host, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 || complete_login(v, &err) < 0)
        return cli_failed(&err);
    const struct registry_credentials c = {.user = v->user, .password = v->password};
    o.user = v->user;
    o.password = v->password;
    if (registry_check(&o, host, &err) < 0 ||
        registry_credentials_store(&o, host, &c, &where, &err) < 0)
        return cli_failed(&err);
    fprintf(stderr, "Login succeeded; the credentials are in %s\n", where);
    return 0;
}

const struct command cmd_login = {
    .name = "login",
    .usage = "[OPTIONS] HOST[:PORT]",
    .summary = "Log in to a registry, and keep the credentials",
    .description = "They are kept where Docker keeps them: in the program that config.json names "
                   "by credHelpers or credsStore, otherwise in config.json itself.",
    .sets = {OPTION_SET(login_table)},
    .values_size = sizeof(struct login_values),
    .init = login_init,
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_OTHER,
    .run = handle_login,
};

static int handle_logout(struct cli *cli, void *values, char **args)
{
    struct login_values *v = values;
    struct error err = ERROR_INIT;
    struct registry_options o;
    const char *host;
    bool known = false;
    (void)cli;
    if (parse_host(args[0], &host, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_credentials_erase(&o, host, &known, &err) < 0)
        return cli_failed(&err);
    fprintf(stderr, known ? "Removed the credentials of %s\n" : "Not logged in to %s\n", host);
    return 0;
}

static const struct cli_option logout_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "authfile", struct login_values, registry.auth_file, "file",
              "Where credentials are kept ($DOCKER_CONFIG/config.json, ~/.docker/config.json)"),
};

const struct command cmd_logout = {
    .name = "logout",
    .usage = "[OPTIONS] HOST[:PORT]",
    .summary = "Forget the credentials for a registry",
    .sets = {OPTION_SET(logout_table)},
    .values_size = sizeof(struct login_values),
    .min_args = 1,
    .max_args = 1,
    .section = SECTION_OTHER,
    .run = handle_logout,
};
