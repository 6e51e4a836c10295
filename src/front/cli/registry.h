/* What the verbs that speak to registries share: their options, and getting an image with bars. */
#pragma once

#include "engine/engine.h"
#include "front/command/options.h"
#include "service/image/push.h"

struct registry_values {
    char *config, *auth_file, *cert_dir, *creds;
    bool tls_verify; /* registry_values_init */
};
#define REGISTRY_OPTIONS(values)                                                                   \
    OPT_NAMED(COMPLETES_FILE, 0, "authfile", values, registry.auth_file, "file",                   \
              "Where credentials are kept ($DOCKER_CONFIG/config.json, ~/.docker/config.json)"),   \
        OPT_NAMED(COMPLETES_FILE, 0, "cert-dir", values, registry.cert_dir, "directory",           \
                  "Certificates for the registry (/etc/containers/certs.d/HOST)"),                 \
        OPT_STRING(0, "creds", values, registry.creds, "user:password",                            \
                   "Credentials for the registry"),                                                \
        OPT_NAMED(COMPLETES_FILE, 0, "registries-conf", values, registry.config, "file",           \
                  "Mirrors, short names, insecure registries (/etc/proa/registries.json)"),        \
        OPT_FLAG(0, "tls-verify", values, registry.tls_verify,                                     \
                 "Demand https and a trusted certificate of the registry (default true)")

void registry_values_init(struct registry_values *v);
/* Borrows from v, which --creds is cut in two of. */
int registry_values_options(struct registry_values *v, struct registry_options *ret,
                            struct error *err) _must_check_;

enum pull_report {
    PULL_BARS, /* on a terminal */
    PULL_JSON, /* one line an event, on stdout */
    PULL_QUIET,
};
int cli_pull(struct engine *e, const struct image_pull *how, enum pull_report report,
             struct image_pulled *ret, struct error *err) _must_check_;

int cli_push(struct engine *e, const struct image_push *how, enum pull_report report,
             struct image_pushed *ret, struct error *err) _must_check_;

/* cmd_disk.c: `run` of a disk image's file: what begins like a path is none in the store or a
 * registry. Imports it, without a name; *image becomes its id. */
bool cli_is_path(const char *image);
int cli_import_for_run(struct engine *e, char **image, struct error *err) _must_check_;

/* For `run` and `create`: makes sure that *image is there. policy: "always", "missing" (NULL too)
 * or "never". *image is replaced when it goes by another name in the store. */
int cli_pull_for_run(struct engine *e, const char *policy, const char *platform,
                     struct registry_values *v, char **image, struct error *err) _must_check_;

/* Removes an image from its registry, and prints what (cmd_remote.c). */
int cli_remove_remote(struct registry_values *v, const char *name, struct error *err) _must_check_;
