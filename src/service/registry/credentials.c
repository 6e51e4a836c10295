/*
 * Credentials as Docker keeps them: config.json in $DOCKER_CONFIG or ~/.docker, or the file that is
 * named. "credHelpers" says which program has those of one registry, "credsStore" which has all
 * others, "auths" holds the rest in the file itself. The programs (docker-credential-NAME, found in
 * PATH, run with the caller's own rights and environment) are given the registry's name on stdin.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strv.h"
#include "service/registry/registry.h"

#define HUB        "docker.io"
#define HUB_KEY    "https://index.docker.io/v1/"
#define HELPER_MAX ((size_t)64 << 10)
#define TOKEN_USER "<token>"

void registry_credentials_done(struct registry_credentials *c)
{
    char **all[] = {&c->user, &c->password, &c->identity};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        if (*all[i])
            explicit_bzero(*all[i], strlen(*all[i]));
        free(*all[i]);
        *all[i] = NULL;
    }
}

/* Owned; NULL when there is no home either. */
static char *file_of(const struct registry_options *o)
{
    const char *directory = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    if (o->auth_file)
        return xstrdup(o->auth_file);
    if (directory && *directory)
        return path_join(directory, "config.json");
    return home && *home ? path_join(home, ".docker/config.json") : NULL;
}

/* An empty object where there is no file. */
static int load(const char *path, json_t **ret, struct error *err)
{
    _cleanup_json_ json_t *config = NULL;
    struct error failure = ERROR_INIT;
    int r = path ? json_parse_file(AT_FDCWD, path, &config, &failure) : -ENOENT;
    if (r == -ENOENT) {
        *ret = json_object();
        return 0;
    }
    if (r < 0)
        return error_set(err, failure.kind, failure.code, "%s", failure.msg);
    if (!json_is_object(config))
        return error_invalid(err, "%s: is no JSON object", path);
    *ret = TAKE_PTR(config);
    return 0;
}

static const char *key_of(const char *host)
{
    return strcmp(host, HUB) == 0 ? HUB_KEY : host;
}

/* The name of the program that has this registry's, borrowed; NULL: none. */
static int helper_of(const json_t *config, const char *host, const char **ret, struct error *err)
{
    json_t *helpers = NULL;
    int r;
    *ret = NULL;
    if ((r = json_get_object(config, "config.json", "credHelpers", &helpers, err)) < 0 ||
        (r = json_get_string(helpers, "credHelpers", host, ret, err)) < 0 ||
        (!*ret && (r = json_get_string(helpers, "credHelpers", key_of(host), ret, err)) < 0) ||
        (!*ret && (r = json_get_string(config, "config.json", "credsStore", ret, err)) < 0))
        return r;
    if (*ret && (!**ret || strchr(*ret, '/')))
        return error_invalid(err, "config.json: \"%.40s\" is no name of a credential helper", *ret);
    return 0;
}

/* What it prints is kept even when it fails: that is where these programs complain. */
static int run_helper(const char *name, const char *verb, const char *input, struct buf *out,
                      int *ret_status, struct error *err)
{
    _cleanup_free_ char *program = xasprintf("docker-credential-%s", name);
    char *argv[] = {program, (char *)verb, NULL};
    _cleanup_close_ int in = memfd_create("proa-credential", MFD_CLOEXEC);
    _cleanup_buf_ struct buf complaints = BUF_INIT(HELPER_MAX);
    if (in < 0)
        return error_errno(err, errno, "run %s", program);
    int r = fd_write_all(in, input, strlen(input));
    if (r < 0 || lseek(in, 0, SEEK_SET) < 0)
        return error_errno(err, r < 0 ? r : errno, "run %s", program);
    const struct process_fd fds = {in, STDIN_FILENO};
    const struct process_spec spec = {
        .path = program, .argv = argv, .env = environ, .fds = &fds, .n_fds = 1};
    const struct process_capture capture = {.out = out, .err = &complaints};
    return process_capture(&spec, &capture, ret_status, err);
}

static void take_pair(struct registry_credentials *c, const char *user, const char *secret)
{
    if (!user || !secret || !*secret)
        return;
    if (strcmp(user, TOKEN_USER) == 0) {
        c->identity = xstrdup(secret);
        return;
    }
    c->user = xstrdup(user);
    c->password = xstrdup(secret);
}

static int ask_helper(const char *name, const char *host, struct registry_credentials *ret,
                      struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(HELPER_MAX);
    _cleanup_json_ json_t *o = NULL;
    const char *user = NULL, *secret = NULL;
    int status;
    int r = run_helper(name, "get", key_of(host), &out, &status, err);
    if (r < 0)
        return r;
    if (status != 0 && out.data && strstr(out.data, "not found"))
        return 0;
    if (status != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "docker-credential-%s get: exit code %d", name,
                         status);
    if ((r = json_parse(out.data ? out.data : "", out.len, "docker-credential", &o, err)) < 0 ||
        (r = json_get_string(o, "docker-credential", "Username", &user, err)) < 0 ||
        (r = json_get_string(o, "docker-credential", "Secret", &secret, err)) < 0)
        return r;
    take_pair(ret, user, secret);
    return 0;
}

/* An entry of "auths": {"auth": base64 of USER:PASSWORD} or {"identitytoken": ...}. */
static int read_entry(const json_t *entry, const char *key, struct registry_credentials *ret,
                      struct error *err)
{
    const char *auth = NULL, *identity = NULL;
    char *pair = NULL;
    size_t len = 0;
    int r;
    if ((r = json_get_string(entry, key, "auth", &auth, err)) < 0 ||
        (r = json_get_string(entry, key, "identitytoken", &identity, err)) < 0)
        return r;
    ret->identity = identity && *identity ? xstrdup(identity) : NULL;
    if (!auth || !*auth)
        return 0;
    if (base64_decode(auth, &pair, &len) < 0 || strlen(pair) != len || !strchr(pair, ':')) {
        free(pair);
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "config.json: what is kept for %.100s cannot be read", key);
    }
    char *colon = strchr(pair, ':');
    *colon = '\0';
    take_pair(ret, pair, colon + 1);
    explicit_bzero(pair, len);
    free(pair);
    return 0;
}

/* HOST/PATH before HOST, as Podman has it; and Docker's old form with a scheme. */
static int find_entry(const json_t *auths, const char *host, const char *repository,
                      struct registry_credentials *ret, struct error *err)
{
    _cleanup_strv_ char **keys = NULL;
    _cleanup_free_ char *path = xasprintf("%s/%s", host, repository ? repository : "");
    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        if (slash[1])
            strv_add(&keys, path);
        *slash = '\0';
    }
    strv_add(&keys, key_of(host));
    strv_add(&keys, host);
    strv_addf(&keys, "https://%s", host);
    strv_addf(&keys, "https://%s/v1/", host);
    strv_addf(&keys, "http://%s", host);
    for (size_t i = 0; keys[i]; i++) {
        json_t *entry = NULL;
        int r = json_get_object(auths, "auths", keys[i], &entry, err);
        if (r < 0 || entry)
            return r < 0 ? r : read_entry(entry, keys[i], ret, err);
    }
    return 0;
}

int registry_credentials_find(const struct registry_options *o, const char *host,
                              const char *repository, struct registry_credentials *ret,
                              struct error *err)
{
    _cleanup_free_ char *path = file_of(o);
    _cleanup_json_ json_t *config = NULL;
    json_t *auths = NULL;
    const char *helper;
    int r;
    memset(ret, 0, sizeof(*ret));
    if (o->user) {
        take_pair(ret, o->user, o->password);
        return 0;
    }
    if ((r = load(path, &config, err)) < 0 || (r = helper_of(config, host, &helper, err)) < 0)
        return r;
    if (helper && (r = ask_helper(helper, host, ret, err)) < 0)
        return r;
    if (ret->user || ret->identity)
        return 0;
    if ((r = json_get_object(config, path ? path : "", "auths", &auths, err)) < 0 || !auths)
        return r;
    return find_entry(auths, host, repository, ret, err);
}

/* The whole file again, with what is not ours kept as it was. */
static int save(const char *path, const json_t *config, struct error *err)
{
    _cleanup_free_ char *directory = xstrdup(path);
    char *slash = strrchr(directory, '/');
    if (slash && slash != directory) {
        *slash = '\0';
        int r = path_make_dirs(directory, 0700);
        if (r < 0)
            return error_errno(err, r, "create %s", directory);
    }
    char *text = json_dumps(config, JSON_INDENT(2));
    if (!text)
        return error_errno(err, ENOMEM, "write %s", path);
    int r = file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600);
    explicit_bzero(text, strlen(text));
    free(text);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int store_by_helper(const char *helper, const char *host,
                           const struct registry_credentials *c, struct error *err)
{
    _cleanup_buf_ struct buf out = BUF_INIT(HELPER_MAX);
    _cleanup_json_ json_t *o = json_pack("{ssssss}", "ServerURL", key_of(host), "Username", c->user,
                                         "Secret", c->password);
    _cleanup_free_ char *text = json_to_text(o);
    int status;
    int r = run_helper(helper, "store", text, &out, &status, err);
    explicit_bzero(text, strlen(text));
    if (r == 0 && status != 0)
        r = error_set(err, ERROR_SYSTEM, EIO, "docker-credential-%s store: exit code %d", helper,
                      status);
    return r;
}

static json_t *auths_of(json_t *config)
{
    json_t *auths = json_object_get(config, "auths");
    if (!json_is_object(auths)) {
        auths = json_object();
        json_object_set_new(config, "auths", auths);
    }
    return auths;
}

static int no_file(struct error *err)
{
    return error_invalid(err, "neither HOME nor DOCKER_CONFIG is set: name a file by --authfile");
}

int registry_credentials_store(const struct registry_options *o, const char *host,
                               const struct registry_credentials *c, char **ret_where,
                               struct error *err)
{
    _cleanup_free_ char *path = file_of(o);
    _cleanup_json_ json_t *config = NULL;
    const char *helper;
    int r;
    if (!path)
        return no_file(err);
    if ((r = load(path, &config, err)) < 0 || (r = helper_of(config, host, &helper, err)) < 0)
        return r;
    if (helper) {
        *ret_where = xasprintf("docker-credential-%s", helper);
        return store_by_helper(helper, host, c, err);
    }
    _cleanup_free_ char *pair = xasprintf("%s:%s", c->user, c->password);
    _cleanup_free_ char *code = base64_encode(pair, strlen(pair));
    json_object_set_new(auths_of(config), key_of(host), json_pack("{ss}", "auth", code));
    explicit_bzero(pair, strlen(pair));
    explicit_bzero(code, strlen(code));
    if ((r = save(path, config, err)) == 0)
        *ret_where = TAKE_PTR(path);
    return r;
}

int registry_credentials_erase(const struct registry_options *o, const char *host, bool *ret_known,
                               struct error *err)
{
    _cleanup_(registry_credentials_done) struct registry_credentials known = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(HELPER_MAX);
    _cleanup_free_ char *path = file_of(o);
    _cleanup_json_ json_t *config = NULL;
    const char *helper;
    int r, status = 0;
    if (!path)
        return no_file(err);
    if ((r = load(path, &config, err)) < 0 || (r = helper_of(config, host, &helper, err)) < 0 ||
        (r = registry_credentials_find(o, host, NULL, &known, err)) < 0)
        return r;
    *ret_known = known.user || known.identity;
    if (helper && *ret_known &&
        (r = run_helper(helper, "erase", key_of(host), &out, &status, err)) < 0)
        return r;
    if (status != 0)
        return error_set(err, ERROR_SYSTEM, EIO, "docker-credential-%s erase: exit code %d", helper,
                         status);
    json_t *auths = auths_of(config);
    bool changed = json_object_del(auths, key_of(host)) == 0;
    changed |= json_object_del(auths, host) == 0;
    return changed ? save(path, config, err) : 0;
}
