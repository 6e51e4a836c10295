/* spec and features: what a configuration looks like, and what this runtime can do with one. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "front/oci/commands.h"
#include "front/oci/session.h"
#include "runtime/container/container.h"
#include "wire/oci/features.h"
#include "wire/oci/spec.h"

struct spec_values {
    char *bundle;
    bool rootless;
};
static const struct cli_option spec_table[] = {
    OPT_NAMED(COMPLETES_FILE, 'b', "bundle", struct spec_values, bundle, "directory",
              "Where to write config.json (default .)"),
    OPT_FLAG(0, "rootless", struct spec_values, rootless, "For a user without privileges"),
};

static int write_spec(const struct spec_values *v, struct error *err)
{
    _cleanup_free_ char *path = path_join(v->bundle ? v->bundle : ".", "config.json");
    _cleanup_free_ char *text = oci_spec_default(v->rootless, geteuid(), getegid());
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return error_set(err, ERROR_CONFLICT, EEXIST, "file %s exists. Remove it first", path);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int handle_spec(struct cli *cli, void *values, char **args)
{
    struct error err = ERROR_INIT;
    (void)args;
    return write_spec(values, &err) < 0 ? oci_failed(cli, &err, 1) : 0;
}

static int handle_features(struct cli *cli, void *values, char **args)
{
    (void)cli;
    (void)values;
    (void)args;
    char **words = container_mount_words();
    const struct oci_features f = {
        .mount_options = words, .checkpoint = true, .apparmor = true, .selinux = true};
    _cleanup_free_ char *text = oci_features_json(&f);
    free(words);
    puts(text);
    return 0;
}

const struct command cmd_spec = {
    .name = "spec",
    .usage = "[OPTIONS]",
    .summary = "Write a config.json to begin with",
    .sets = {OPTION_SET(spec_table)},
    .values_size = sizeof(struct spec_values),
    .section = SECTION_COMMON,
    .run = handle_spec,
};

const struct command cmd_features = {
    .name = "features",
    .usage = "",
    .summary = "Print what this runtime can do, as JSON",
    .section = SECTION_COMMON,
    .run = handle_features,
};
