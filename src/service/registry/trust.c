/*
 * Certificates for one registry, where Docker and Podman keep them: in certs.d/HOST[:PORT]/ every
 * *.crt is an authority to trust besides the system's, and NAME.cert with NAME.key is who we are.
 * They are read here, because the helper may open nothing of root's.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/json.h"
#include "service/registry/registry.h"

#define FILE_MAX  ((size_t)1 << 18)
#define TOTAL_MAX ((size_t)1 << 19)

static const char *const directories[] = {"/etc/containers/certs.d", "/etc/docker/certs.d"};

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), e = strlen(ending);
    return n > e && strcmp(name + n - e, ending) == 0;
}

static int add_authority(int dir, const char *name, struct buf *all, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(dir, name, FILE_MAX, &text);
    if (r == 0)
        r = buf_addf(all, "%s\n", text);
    return r < 0 ? error_errno(err, r, "read %s", name) : 0;
}

/* NAME.cert and its NAME.key. */
static int add_identity(int dir, const char *name, json_t *config, struct error *err)
{
    _cleanup_free_ char *cert = NULL, *key = NULL;
    _cleanup_free_ char *key_name =
        xasprintf("%.*s.key", (int)(strlen(name) - strlen(".cert")), name);
    int r = file_read(dir, name, FILE_MAX, &cert);
    if (r < 0)
        return error_errno(err, r, "read %s", name);
    if ((r = file_read(dir, key_name, FILE_MAX, &key)) < 0)
        return error_errno(err, r, "read %s, the key of %s", key_name, name);
    json_object_set_new(config, "cert", json_string(cert));
    json_object_set_new(config, "key", json_string(key));
    return 0;
}

static int read_directory(const char *path, struct buf *ca, json_t *config, bool *ret_found,
                          struct error *err)
{
    struct dirent **entries = NULL;
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret_found = dir >= 0;
    if (dir < 0)
        return 0;
    int n = scandir(path, &entries, NULL, alphasort), r = 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (r == 0 && ends_with(name, ".crt"))
            r = add_authority(dir, name, ca, err);
        else if (r == 0 && ends_with(name, ".cert") && !json_object_get(config, "cert"))
            r = add_identity(dir, name, config, err);
        free(entries[i]);
    }
    free(entries);
    return r < 0 ? error_prefix(err, "%s", path) : 0;
}

int registry_trust_add(const struct registry_options *o, const char *host, json_t *config,
                       struct error *err)
{
    _cleanup_buf_ struct buf ca = BUF_INIT(TOTAL_MAX);
    bool found = false;
    int r = 0;
    if (o->cert_dir) {
        r = read_directory(o->cert_dir, &ca, config, &found, err);
        if (r == 0 && !found)
            r = error_set(err, ERROR_NOT_FOUND, ENOENT, "%s: there is no such directory",
                          o->cert_dir);
    }
    for (size_t i = 0; r == 0 && !o->cert_dir && !found && i < ARRAY_SIZE(directories); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", directories[i], host);
        r = read_directory(path, &ca, config, &found, err);
    }
    if (r == 0 && ca.len > 0)
        json_object_set_new(config, "ca", json_stringn(ca.data, ca.len));
    return r;
}
