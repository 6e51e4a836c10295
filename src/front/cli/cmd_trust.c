/* Trust: sign, verify, trust show, trust check, trust keygen. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/strv.h"
#include "front/cli/commands.h"
#include "front/cli/main.h"
#include "front/cli/registry.h"
#include "front/cli/row.h"
#include "front/cli/session.h"
#include "service/trust/remote.h"

/* --- sign --- */

struct sign_values {
    struct registry_values registry;
    char *key, *passphrase_file, *identity, *output_signature, *output_payload;
};
static const struct cli_option sign_table[] = {
    REGISTRY_OPTIONS(struct sign_values),
    OPT_NAMED(COMPLETES_FILE, 0, "key", struct sign_values, key, "file",
              "The private key: PKCS #8, or of cosign or `proa trust keygen`"),
    OPT_NAMED(COMPLETES_FILE, 0, "passphrase-file", struct sign_values, passphrase_file, "file",
              "Its passphrase, the first line (the environment's COSIGN_PASSWORD)"),
    OPT_STRING(0, "identity", struct sign_values, identity, "name",
               "Sign it under this name (the image's own)"),
    OPT_NAMED(COMPLETES_FILE, 0, "output-signature", struct sign_values, output_signature, "file",
              "Write the signature to a file, and push nothing"),
    OPT_NAMED(COMPLETES_FILE, 0, "output-payload", struct sign_values, output_payload, "file",
              "Write the signed text to a file, and push nothing"),
};

static void sign_init(void *values)
{
    registry_values_init(&((struct sign_values *)values)->registry);
}

/* Names a repository and, by its tag or its digest, one image of it. */
static char *identity_of(const struct reference *r)
{
    bool by_digest = r->digest && !r->tag;
    return xasprintf("%s/%s%c%s", r->registry, r->repository, by_digest ? '@' : ':',
                     by_digest ? r->digest
                     : r->tag  ? r->tag
                               : "latest");
}

static int write_file(const char *path, const char *text, struct error *err)
{
    int r = path ? file_write_atomic(AT_FDCWD, path, text, strlen(text), 0644) : 0;
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int sign(const struct sign_values *v, const struct trust_remote *at, char **ret_digest,
                struct error *err)
{
    _cleanup_(trust_key_done) struct trust_key key = {0};
    _cleanup_(trust_signature_done) struct trust_signature made = {0};
    bool to_files = v->output_signature || v->output_payload;
    int r = trust_key_read(v->key, v->passphrase_file, &key, err);
    if (r < 0)
        return r;
    if (to_files && at->of->digest)
        *ret_digest = xstrdup(at->of->digest);
    else if ((r = trust_remote_digest(at, ret_digest, err)) < 0)
        return r;
    _cleanup_free_ char *identity = v->identity ? xstrdup(v->identity) : identity_of(at->of);
    if ((r = trust_sign(&key, identity, *ret_digest, &made, err)) < 0)
        return error_prefix(err, "%s", v->key);
    if (!to_files)
        return trust_remote_attach(at, *ret_digest, &made, err);
    r = write_file(v->output_payload, made.payload, err);
    return r < 0 ? r : write_file(v->output_signature, made.signature, err);
}

/* A whole reference, so that a policy can be met by it. */
static int check_identity(const char *identity, struct error *err)
{
    _cleanup_(reference_done) struct reference r = {0};
    int e = identity ? reference_parse(identity, &r, err) : 0;
    if (e == 0 && identity && !r.registry)
        e = error_invalid(err, "\"%.100s\" names no registry", identity);
    return e < 0 ? error_prefix(err, "--identity") : 0;
}

static int handle_sign(struct cli *cli, void *values, char **args)
{
    struct sign_values *v = values;
    struct error err = ERROR_INIT;
    struct registry_options o;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_free_ char *digest = NULL;
    const struct trust_remote at = {&o, &of};
    (void)cli;
    if (!v->key) {
        error_invalid(&err, "--key names no private key; `proa trust keygen` makes one");
        return cli_failed(&err);
    }
    if (check_identity(v->identity, &err) < 0 ||
        registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_resolve(&o, args[0], &of, &err) < 0)
        return cli_failed(&err);
    if (sign(v, &at, &digest, &err) < 0) {
        error_prefix(&err, "sign %s", args[0]);
        return cli_failed(&err);
    }
    puts(digest);
    return 0;
}

const struct command cmd_sign = {
    .name = "sign",
    .aliases = "image sign",
    .usage = "[OPTIONS] --key FILE HOST[:PORT]/NAME[:TAG|@DIGEST]",
    .summary = "Sign an image in its registry",
    .description =
        "The signature is put beside the image, where cosign, Podman and Skopeo look for "
        "it. Prints the digest that was signed.",
    .sets = {OPTION_SET(sign_table)},
    .values_size = sizeof(struct sign_values),
    .init = sign_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_sign,
};

/* --- verify --- */

struct verify_values {
    struct registry_values registry;
    char **keys;
    bool any_tag;
};
static const struct cli_option verify_table[] = {
    REGISTRY_OPTIONS(struct verify_values),
    OPT_FLAG(0, "any-tag", struct verify_values, any_tag,
             "Take a signature for any tag of the repository, or for none (as cosign's)"),
    OPT_NAMED_LIST(COMPLETES_FILE, 0, "key", struct verify_values, keys, "file",
                   "A public key; one of them is enough"),
};

static void verify_init(void *values)
{
    registry_values_init(&((struct verify_values *)values)->registry);
}

static int handle_verify(struct cli *cli, void *values, char **args)
{
    struct verify_values *v = values;
    struct error err = ERROR_INIT;
    struct registry_options o;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_free_ char *digest = NULL;
    const struct trust_remote at = {&o, &of};
    const struct trust_requirement wanted = {
        .type = TRUST_SIGNED,
        .key_paths = v->keys,
        .identity = {.type = v->any_tag ? TRUST_MATCH_REPOSITORY
                                        : TRUST_MATCH_REPOSITORY_DIGEST_OR_EXACT},
    };
    (void)cli;
    if (!v->keys) {
        error_invalid(&err, "--key names no public key");
        return cli_failed(&err);
    }
    if (registry_values_options(&v->registry, &o, &err) < 0 ||
        registry_resolve(&o, args[0], &of, &err) < 0)
        return cli_failed(&err);
    if (!of.tag && !of.digest)
        of.tag = xstrdup("latest");
    if (trust_remote_verify(&at, &wanted, &digest, &err) < 0) {
        error_prefix(&err, "verify %s", args[0]);
        return cli_failed(&err);
    }
    puts(digest);
    return 0;
}

const struct command cmd_verify = {
    .name = "verify",
    .aliases = "image verify",
    .usage = "[OPTIONS] --key FILE HOST[:PORT]/NAME[:TAG|@DIGEST]",
    .summary = "Look for a good signature of an image in its registry",
    .description = "Prints the digest that is signed. `proa pull` does this by itself where the "
                   "policy asks for it.",
    .sets = {OPTION_SET(verify_table)},
    .values_size = sizeof(struct verify_values),
    .init = verify_init,
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_OTHER,
    .run = handle_verify,
};

/* --- trust show, trust check --- */

struct show_values {
    struct list_values list;
};
static const struct cli_option show_table[] = {LIST_OPTIONS(struct show_values)};
static const struct column show_columns[] = {
    {"TRANSPORT", "Transport", true},
    {"SCOPE", "Scope", true},
    {"REQUIREMENTS", "Requirements", true, true},
    {"POLICY", "Policy", false},
};
static const struct list_spec show_spec = {show_columns, ARRAY_SIZE(show_columns), "Scope"};

static const char *const no_filters[] = {NULL};

static char *requirements_text(const struct trust_rule *rule)
{
    _cleanup_strv_ char **words = NULL;
    for (size_t i = 0; i < rule->n_requirements; i++)
        strv_take(&words, trust_describe(&rule->requirements[i]));
    return strv_join(words, "; ");
}

static json_t *rule_row(const struct trust *t, const struct trust_rule *rule)
{
    json_t *row = json_object();
    _cleanup_free_ char *requirements = requirements_text(rule);
    row_set(row, "Transport", rule->transport ? rule->transport : "*");
    row_set(row, "Scope", rule->scope && *rule->scope ? rule->scope : "*");
    row_set(row, "Requirements", requirements);
    row_set(row, "Policy", t->file ? t->file : "built in");
    return row;
}

static const char *policy_file(const struct cli *cli)
{
    return ((const struct global_values *)cli->globals)->policy;
}

static int handle_show(struct cli *cli, void *values, char **args)
{
    const struct show_values *v = values;
    struct error err = ERROR_INIT;
    _cleanup_trust_ struct trust *t = NULL;
    _cleanup_json_ json_t *rows = json_array();
    (void)args;
    if (filters_check(v->list.filters, no_filters, &err) < 0 ||
        trust_open(policy_file(cli), &t, &err) < 0)
        return cli_failed(&err);
    for (size_t i = 0; i < t->policy.n_rules; i++)
        json_array_append_new(rows, rule_row(t, &t->policy.rules[i]));
    return list_print(&show_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_trust_show = {
    .name = "trust show",
    .aliases = "trust ls",
    .usage = "[OPTIONS]",
    .summary = "Show what the policy asks of images",
    .sets = {OPTION_SET(show_table)},
    .values_size = sizeof(struct show_values),
    .section = SECTION_GROUPED,
    .run = handle_show,
};

struct check_values {
    struct list_values list;
    struct registry_values registry;
};
static const struct cli_option check_table[] = {
    LIST_OPTIONS(struct check_values),
    OPT_NAMED(COMPLETES_FILE, 0, "registries-conf", struct check_values, registry.config, "file",
              "Mirrors, short names, insecure registries (/etc/proa/registries.json)"),
};

static int handle_check(struct cli *cli, void *values, char **args)
{
    struct check_values *v = values;
    struct error err = ERROR_INIT;
    const struct registry_options o = {.config = v->registry.config};
    _cleanup_trust_ struct trust *t = NULL;
    _cleanup_(reference_done) struct reference of = {0};
    _cleanup_json_ json_t *rows = json_array();
    if (filters_check(v->list.filters, no_filters, &err) < 0 ||
        registry_resolve(&o, args[0], &of, &err) < 0 || trust_open(policy_file(cli), &t, &err) < 0)
        return cli_failed(&err);
    if (!of.tag && !of.digest)
        of.tag = xstrdup("latest");
    _cleanup_strv_ char **scopes = trust_scopes_of_reference(&of);
    json_array_append_new(
        rows, rule_row(t, trust_policy_find(&t->policy, TRUST_TRANSPORT_REGISTRY, scopes)));
    return list_print(&show_spec, &v->list, rows, &err) < 0 ? cli_failed(&err) : 0;
}

const struct command cmd_trust_check = {
    .name = "trust check",
    .usage = "[OPTIONS] HOST[:PORT]/NAME[:TAG|@DIGEST]",
    .summary = "Show which rule of the policy an image would have to meet",
    .description = "Only the policy is read; the registry is not asked.",
    .sets = {OPTION_SET(check_table)},
    .values_size = sizeof(struct check_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_IMAGE,
    .section = SECTION_GROUPED,
    .run = handle_check,
};

/* --- trust keygen --- */

struct keygen_values {
    char *type, *passphrase_file;
};
static const struct cli_option keygen_table[] = {
    OPT_NAMED(COMPLETES_FILE, 0, "passphrase-file", struct keygen_values, passphrase_file, "file",
              "Encrypt the private key with its first line (the environment's COSIGN_PASSWORD)"),
    OPT_STRING(0, "type", struct keygen_values, type, "string",
               "ecdsa-p256 (the default), ecdsa-p384 or ed25519"),
};

/* Never over a file that is there: it may be the only copy of a key. */
static int write_new(const char *path, const char *text, mode_t mode, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int write_pair(const char *prefix, const char *private, const char *public,
                      struct error *err)
{
    _cleanup_free_ char *key = xasprintf("%s.key", prefix), *pub = xasprintf("%s.pub", prefix);
    int r = write_new(key, private, 0600, err);
    if (r < 0)
        return r;
    if ((r = write_new(pub, public, 0644, err)) < 0) {
        unlink(key);
        return r;
    }
    printf("%s\n%s\n", key, pub);
    return 0;
}

static int handle_keygen(struct cli *cli, void *values, char **args)
{
    const struct keygen_values *v = values;
    struct error err = ERROR_INIT;
    _cleanup_(trust_key_done) struct trust_key key = {0};
    _cleanup_free_ char *public = NULL;
    (void)cli;
    if (trust_passphrase_read(v->passphrase_file, &key.passphrase, &err) < 0 ||
        trust_generate(v->type ? v->type : "ecdsa-p256", key.passphrase, &key.pem, &public, &err) <
            0 ||
        write_pair(args[0], key.pem, public, &err) < 0)
        return cli_failed(&err);
    return 0;
}

const struct command cmd_trust_keygen = {
    .name = "trust keygen",
    .usage = "[OPTIONS] PREFIX",
    .summary = "Make a pair of keys to sign with: PREFIX.key and PREFIX.pub",
    .description =
        "With a passphrase the private key is encrypted in cosign's form, which Podman and "
        "Skopeo take as well.",
    .sets = {OPTION_SET(keygen_table)},
    .values_size = sizeof(struct keygen_values),
    .min_args = 1,
    .max_args = 1,
    .completes = COMPLETES_FILE,
    .section = SECTION_GROUPED,
    .run = handle_keygen,
};
