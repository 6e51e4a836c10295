/* migrate, receive. */
#include <stdlib.h>

#include "base/text.h"
#include "engine/migrate.h"
#include "front/cli/commands.h"
#include "front/cli/session.h"

struct tls_values {
    char *cert, *key, *ca;
};
#define TLS_OPTIONS(values)                                                                        \
    OPT_NAMED(COMPLETES_FILE, 0, "tls-cert", values, tls.cert, "file",                             \
              "Certificate (PEM) that this side shows"),                                           \
        OPT_NAMED(COMPLETES_FILE, 0, "tls-key", values, tls.key, "file",                           \
                  "Key (PEM) of the certificate"),                                                 \
        OPT_NAMED(COMPLETES_FILE, 0, "tls-ca", values, tls.ca, "file",                             \
                  "Authority (PEM) that must have signed the other side's certificate")

struct migrate_values {
    char *to;
    struct tls_values tls;
};
static const struct cli_option migrate_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "to", struct migrate_values, to, "directory|url",
              "State directory of this host that it moves to, or tls://HOST[:PORT]"),
    TLS_OPTIONS(struct migrate_values),
};

static int handle_migrate(struct cli *cli, void *values, char **args)
{
    const struct migrate_values *v = values;
    struct error err = ERROR_INIT;
    struct engine *e;
    struct migrate_done done = {0};
    const struct migrate_target to = {v->to, {v->tls.cert, v->tls.key, v->tls.ca}};
    if (!v->to) {
        output_warning("say where to: --to DIRECTORY or --to tls://HOST");
        return 1;
    }
    if (cli_engine(cli, &e, &err) < 0 || engine_migrate(e, args[0], &to, &done, &err) < 0)
        return cli_failed(&err);
    puts(done.id);
    if (done.pause_us > 0 && done.copied_still > 0)
        fprintf(stderr, "stood still for %.1f ms, while %s were copied\n",
                (double)done.pause_us / 1000, format_size(done.copied_still).s);
    else if (done.pause_us > 0)
        fprintf(stderr, "stood still for %.1f ms\n", (double)done.pause_us / 1000);
    free(done.id);
    return 0;
}

const struct command cmd_migrate = {
    .name = "migrate",
    .usage = "[OPTIONS] --to DIRECTORY|tls://HOST[:PORT] MACHINE",
    .summary = "Move a machine to another host, or to another state directory of this one",
    .description =
        "A running machine goes on there with what it is doing, after a moment in which it stands "
        "still; its id and name stay, and its disks, firmware and TPM go along. Its addresses stay "
        "where a network of the same name has the same subnet and they are free; otherwise it gets "
        "others. It has no volumes. Its image must be there. Until it has moved, a failure leaves "
        "it where it is.\n\n"
        "On another host `proa receive` waits for it (port 7444). Both sides show certificates, "
        "which the authority named on the other side has signed; that of the other host has the "
        "name or the address that --to says. When the connection is lost in the very moment of the "
        "move, the machine runs on neither side until `proa migrate` is given again.",
    .sets = {OPTION_SET(migrate_table)},
    .values_size = sizeof(struct migrate_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_INSTANCE,
    .section = SECTION_OTHER,
    .run = handle_migrate,
};

struct receive_values {
    char *listen;
    struct tls_values tls;
};
static const struct cli_option receive_table[] = {
    OPT_STRING('l', "listen", struct receive_values, listen, "address",
               "ADDRESS:PORT (every address, port 7444)"),
    TLS_OPTIONS(struct receive_values),
};

static void print_ready(const char *address)
{
    printf("listening on %s\n", address);
    fflush(stdout);
}

static void print_note(const char *line)
{
    output_warning("%s", line);
}

static int handle_receive(struct cli *cli, void *values, char **args)
{
    const struct receive_values *v = values;
    struct error err = ERROR_INIT;
    const struct migrate_serve o = {
        .root = cli->root,
        .listen = v->listen ? v->listen : ":" MIGRATE_PORT,
        .tls = {v->tls.cert, v->tls.key, v->tls.ca},
        .ready = print_ready,
        .note = print_note,
    };
    (void)args;
    return migrate_serve(&o, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_receive = {
    .name = "receive",
    .usage = "[OPTIONS]",
    .summary = "Let machines of other hosts move here",
    .description =
        "Runs until it is interrupted. `proa migrate --to tls://HOST` of another host brings a "
        "machine, if it shows a certificate that the authority (--tls-ca) has signed: whoever has "
        "one decides what runs here, as a machine, with published ports, and with nothing of this "
        "host's files.",
    .sets = {OPTION_SET(receive_table)},
    .values_size = sizeof(struct receive_values),
    .section = SECTION_OTHER,
    .run = handle_receive,
};
