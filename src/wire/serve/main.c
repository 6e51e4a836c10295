/*
 * proa-serve: what a registry that serves the store does with bytes from outside, in processes
 * without privilege. `proa registry serve` starts it, once for each job:
 *
 *   proa-serve http CONNECTIONS SECONDS plain|tls|mutual basic|token
 *       HTTP and TLS on the listening socket (descriptor 4); what the store has is asked for over
 *       descriptor 3 (message.h). 5, 6, 7: certificate, key and the clients' authority, in PEM.
 *       The last word: how clients are told to say who they are (ask.c)
 *   proa-serve receive BYTES       an upload into a file, hashed (receive.c)
 *   proa-serve hash ALGORITHM      the same of a file that is there
 *   proa-serve auth                a name and a password (auth.c)
 *
 * An error is one line on stderr, "KIND MESSAGE", as of proa-layer.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wire/serve/program.h"

static int usage(struct error *err)
{
    return error_invalid(err, "usage: proa-serve http|receive|hash|auth [arguments]");
}

static int run_http(int argc, char **argv, struct error *err)
{
    struct http_options o = {0};
    uint32_t connections, seconds;
    if (argc != 6 || parse_u32(argv[2], &connections) < 0 || parse_u32(argv[3], &seconds) < 0)
        return usage(err);
    o.connections = connections;
    o.timeout_s = seconds;
    o.mutual = strcmp(argv[4], "mutual") == 0;
    o.tokens = strcmp(argv[5], "token") == 0;
    o.tls = o.mutual || strcmp(argv[4], "tls") == 0;
    return http_run(&o, err);
}

static int run_receive(int argc, char **argv, struct error *err)
{
    uint64_t most;
    if (argc != 3 || parse_u64(argv[2], INT64_MAX, &most) < 0)
        return usage(err);
    return receive_run(most, err);
}

static int run_hash(int argc, char **argv, struct error *err)
{
    if (argc != 3 || (strcmp(argv[2], "sha256") != 0 && strcmp(argv[2], "sha512") != 0))
        return usage(err);
    return hash_run(argv[2], err);
}

static int run_auth(int argc, char **argv, struct error *err)
{
    (void)argv;
    return argc == 2 ? auth_run(err) : usage(err);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, struct error *err);
} jobs[] = {
    {"http", run_http},
    {"receive", run_receive},
    {"hash", run_hash},
    {"auth", run_auth},
};

static int run(int argc, char **argv, struct error *err)
{
    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(jobs); i++)
        if (strcmp(jobs[i].name, argv[1]) == 0)
            return jobs[i].run(argc, argv, err);
    return usage(err);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (run(argc, argv, &err) >= 0)
        return 0;
    fprintf(stderr, "%s %s\n", error_kind_name(err.kind), err.msg);
    return 1;
}
