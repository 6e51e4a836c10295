/* The local store as a registry: serving it, what it calls for a pushed image, and looking after
 * it. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"
#include "base/text.h"
#include "front/cli/commands.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/image/offer.h"
#include "service/serve/content.h"
#include "service/serve/serve.h"
#include "service/store/content.h"

#define GIB ((uint64_t)1 << 30)

struct serve_values {
    char *listen, *users, *tls_cert, *tls_key, *tls_client_ca;
    bool push, remove, insecure_http, anonymous;
    uint32_t connections;
    uint64_t max_upload, upload_room, timeout_ms;
};
static const struct cli_option serve_table[] = {
    OPT_STRING('l', "listen", struct serve_values, listen, "address",
               "ADDRESS:PORT, or the path of a Unix socket (127.0.0.1:5000)"),
    OPT_FLAG(0, "push", struct serve_values, push, "Accept what is pushed"),
    OPT_FLAG(0, "delete", struct serve_values, remove, "Accept that tags and content are deleted"),
    OPT_NAMED(COMPLETES_FILE, 0, "users", struct serve_values, users, "file",
              "Let in only these users: lines of NAME:HASH[:ROLES]"),
    OPT_FLAG(0, "anonymous", struct serve_values, anonymous, "With --users: let everybody pull"),
    OPT_NAMED(COMPLETES_FILE, 0, "tls-cert", struct serve_values, tls_cert, "file",
              "Certificate (PEM) of the server; with --tls-key HTTPS is spoken"),
    OPT_NAMED(COMPLETES_FILE, 0, "tls-key", struct serve_values, tls_key, "file",
              "Key (PEM) of the certificate"),
    OPT_NAMED(COMPLETES_FILE, 0, "tls-client-ca", struct serve_values, tls_client_ca, "file",
              "Let in only clients with a certificate that this authority (PEM) has signed"),
    OPT_FLAG(0, "insecure-http", struct serve_values, insecure_http,
             "Speak plain HTTP on an address that other hosts can reach"),
    OPT_U32(0, "max-connections", struct serve_values, connections, "number",
            "Connections at once (128)"),
    OPT_SIZE(0, "max-upload", struct serve_values, max_upload, "size",
             "The most that one blob may have (64g)"),
    OPT_SIZE(0, "upload-room", struct serve_values, upload_room, "size",
             "The most that unfinished uploads may take together (128g)"),
    OPT_DURATION(0, "timeout", struct serve_values, timeout_ms, "duration",
                 "Drop a client that does nothing for so long (30s)"),
};

static void serve_init(void *values)
{
    struct serve_values *v = values;
    v->connections = 128;
    v->max_upload = 64 * GIB;
    v->upload_room = 128 * GIB;
    v->timeout_ms = 30000;
}

static void print_ready(void *context, const char *address)
{
    (void)context;
    printf("listening on %s\n", address);
    fflush(stdout);
}

static void print_note(void *context, const char *line)
{
    (void)context;
    output_warning("%s", line);
}

static int check_values(const struct serve_values *v, struct error *err)
{
    if ((v->tls_cert == NULL) != (v->tls_key == NULL))
        return error_invalid(err, "--tls-cert and --tls-key belong together");
    if (v->tls_client_ca && !v->tls_cert)
        return error_invalid(err, "--tls-client-ca needs --tls-cert and --tls-key");
    if (v->anonymous && !v->users)
        return error_invalid(err, "--anonymous needs --users: without them everybody may pull");
    if (v->connections < 1 || v->connections > 2000)
        return error_invalid(err, "--max-connections is from 1 to 2000");
    if (v->timeout_ms < 1000 || v->timeout_ms > 3600000)
        return error_invalid(err, "--timeout is from 1s to 1h");
    if (v->max_upload == 0 || v->max_upload > INT64_MAX || v->upload_room > INT64_MAX)
        return error_invalid(err, "--max-upload and --upload-room are sizes below 8 EiB");
    return 0;
}

static int handle_serve(struct cli *cli, void *values, char **args)
{
    const struct serve_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    (void)args;
    const struct serve_options o = {
        .listen = v->listen ? v->listen : "127.0.0.1:5000",
        .push = v->push,
        .remove = v->remove,
        .insecure_http = v->insecure_http,
        .users = v->users,
        .anonymous = v->anonymous,
        .tls_cert = v->tls_cert,
        .tls_key = v->tls_key,
        .tls_client_ca = v->tls_client_ca,
        .connections = v->connections,
        .max_upload_bytes = v->max_upload,
        .upload_room_bytes = v->upload_room,
        .timeout_ms = v->timeout_ms,
        .ready = print_ready,
        .note = print_note,
    };
    if (check_values(v, &err) < 0 || cli_engine(cli, &e, &err) < 0 ||
        serve_run(e->store, &o, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_registry_serve = {
    .name = "registry serve",
    .usage = "[OPTIONS]",
    .summary = "Offer the images of this host to others, over the distribution protocol",
    .description =
        "Runs until it is interrupted. What can be pulled: every image of the store, by its name, "
        "and what was pushed. A pushed image can be run here at once.\n\n"
        "Users: each line of the file is NAME:HASH or NAME:HASH:ROLES. HASH is what `htpasswd -B` "
        "or `openssl passwd -6` writes, or sha256$HEX, the SHA-256 of a token. ROLES are some of "
        "pull, push, delete with commas between; all of them when there are none. The file is read "
        "at each login.\n\n"
        "Limits: a manifest has at most 4 MiB, 64 uploads are open at once, an upload that nothing "
        "comes for ends after 15 minutes, a client that takes or sends less than 256 bytes a "
        "second "
        "is dropped; the others are options.",
    .sets = {OPTION_SET(serve_table)},
    .values_size = sizeof(struct serve_values),
    .init = serve_init,
    .section = SECTION_GROUPED,
    .run = handle_serve,
};

/* Prints the id of the image that the pushed manifest has become, or "KIND MESSAGE": it is the
 * server that reads it. */
static int handle_keep_pushed(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    struct engine *e;
    char *id = NULL;
    uint64_t bytes;
    (void)values;
    if (parse_u64(args[1], INT64_MAX, &bytes) < 0) {
        error_invalid(&err, "\"%.40s\" is no size", args[1]);
        return cli_failed(&err);
    }
    if (cli_engine(cli, &e, &err) < 0 ||
        image_load_stored(e->store, args[0], bytes, args + 2, &id, &err) < 0) {
        printf("%s %s\n", error_kind_name(err.kind), err.msg);
        return 1;
    }
    puts(id);
    free(id);
    return 0;
}

const struct command cmd_internal_keep_pushed = {
    .name = "internal keep-pushed",
    .usage = "DIGEST BYTES NAME...",
    .summary = "Make an image of the store of a pushed manifest",
    .min_args = 3,
    .max_args = ARGS_MANY,
    .section = SECTION_HIDDEN,
    .run = handle_keep_pushed,
};

/* --- looking after what was pushed --- */

struct content_values {
    struct list_values list;
};
static const struct cli_option content_table[] = {LIST_OPTIONS(struct content_values)};
static const struct column content_columns[] = {
    {"REPOSITORY", "Repository", true, true},
    {"TAG", "Tag", true, true},
    {"DIGEST", "Digest", true},
    {"PUSHED", "PushedSince", true},
    {"PUSHED AT", "PushedAt", false},
    {"MEDIA TYPE", "MediaType", false},
};
static const struct list_spec content_spec = {content_columns, ARRAY_SIZE(content_columns),
                                              "Digest"};
static const char *const content_filters[] = {NULL};

static int handle_content(struct cli *cli, void *values, char **args)
{
    const struct content_values *v = values;
    struct error err = ERROR_INIT;
    struct store_content_entry *list;
    struct engine *e;
    if (filters_check(v->list.filters, content_filters, &err) < 0 ||
        cli_engine(cli, &e, &err) < 0 || store_content_entries(e->store, args[0], &list, &err) < 0)
        return cli_failed(&err);
    _cleanup_json_ json_t *rows = json_array();
    for (size_t i = 0; list[i].repository; i++) {
        json_t *row = json_object();
        row_set(row, "Repository", list[i].repository);
        row_set(row, "Tag", list[i].tag ? list[i].tag : "<none>");
        row_set(row, "Digest", short_id(list[i].digest, v->list.no_trunc).s);
        row_set_age(row, "PushedSince", "PushedAt", list[i].added_ns);
        row_set(row, "MediaType", list[i].media_type);
        json_array_append_new(rows, row);
    }
    store_content_entries_free(list);
    return list_print(&content_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_registry_ls = {
    .name = "registry ls",
    .aliases = "registry list",
    .usage = "[OPTIONS] [REPOSITORY]",
    .summary = "List what was pushed",
    .sets = {OPTION_SET(content_table)},
    .values_size = sizeof(struct content_values),
    .max_args = 1,
    .section = SECTION_GROUPED,
    .run = handle_content,
};

static int remove_one(struct engine *e, const char *reference, void *context, struct error *err)
{
    (void)context;
    return content_remove(e->store, reference, err);
}

static int handle_remove(struct cli *cli, void *values, char **args)
{
    return cli_for_each(cli, args, true, remove_one, values);
}

const struct command cmd_registry_rm = {
    .name = "registry rm",
    .aliases = "registry remove",
    .usage = "REPOSITORY[:TAG|@DIGEST]...",
    .summary = "Remove tags, manifests or whole repositories of what was pushed",
    .description = "Images of the store that were made of it stay: `proa rmi` removes those.",
    .min_args = 1,
    .max_args = ARGS_MANY,
    .section = SECTION_GROUPED,
    .run = handle_remove,
};

struct content_prune_values {
    bool force;
    uint64_t older_ms;
};
static const struct cli_option content_prune_table[] = {
    OPT_FLAG('f', "force", struct content_prune_values, force, "Do not ask"),
    OPT_DURATION(0, "older", struct content_prune_values, older_ms, "duration",
                 "Leave what was pushed in this time (1h): it may be a part of what still comes"),
};

static void content_prune_init(void *values)
{
    struct content_prune_values *v = values;
    v->older_ms = 3600000;
}

static int handle_content_prune(struct cli *cli, void *values, char **args)
{
    const struct content_prune_values *v = values;
    struct error err = ERROR_INIT;
    _cleanup_strv_ char **done = NULL;
    struct engine *e;
    uint64_t bytes = 0;
    (void)args;
    if (!v->force && !output_confirm("Remove everything pushed that no tag leads to?")) {
        output_warning("nothing was removed; --force does it without asking");
        return 1;
    }
    int64_t before =
        time_now_ns() - (int64_t)MIN(v->older_ms, (uint64_t)INT64_MAX / 4000000) * 1000000;
    if (cli_engine(cli, &e, &err) < 0 || content_prune(e->store, before, &done, &bytes, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; done[i]; i++)
        puts(done[i]);
    printf("Total reclaimed space: %s\n", format_size(bytes).s);
    return 0;
}

const struct command cmd_registry_prune = {
    .name = "registry prune",
    .usage = "[OPTIONS]",
    .summary = "Remove what was pushed and no tag leads to any more",
    .sets = {OPTION_SET(content_prune_table)},
    .values_size = sizeof(struct content_prune_values),
    .init = content_prune_init,
    .section = SECTION_GROUPED,
    .run = handle_content_prune,
};
