#include "front/oci/session.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/text.h"

#define SYSTEM_ROOT    "/run/proa-oci"
#define SYSTEM_FILTERS "/run/proa-filters"

static char *own_directory(const char *system, const char *name)
{
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    /* Root of a user namespace is an ordinary user outside: /run is not its own. */
    if (!process_is_host_root() && runtime_dir && runtime_dir[0] == '/')
        return path_join(runtime_dir, name);
    if (geteuid() == 0)
        return xstrdup(system);
    return xasprintf("/run/user/%u/%s", (unsigned int)geteuid(), name);
}

char *oci_root(const struct cli *cli)
{
    return cli->root ? xstrdup(cli->root) : own_directory(SYSTEM_ROOT, "proa-oci");
}

char *oci_filter_cache(void)
{
    return own_directory(SYSTEM_FILTERS, "proa-filters");
}

bool oci_wants_systemd(const struct cli *cli)
{
    const struct oci_globals *g = cli->globals;
    return g->systemd_cgroup || (g->cgroup_manager && strcmp(g->cgroup_manager, "systemd") == 0);
}

int oci_failed(const struct cli *cli, const struct error *err, int code)
{
    oci_log(cli->globals, "error", err->msg);
    output_error(err->msg);
    return code;
}

void oci_warn(const struct cli *cli, struct oci_container *c)
{
    if (!c->warning)
        return;
    oci_log(cli->globals, "warning", c->warning);
    output_warning("%s", c->warning);
    free(c->warning);
    c->warning = NULL;
}

int oci_open(const struct cli *cli, const char *id, bool lock, struct oci_container *ret,
             struct error *err)
{
    _cleanup_free_ char *root = oci_root(cli);
    return oci_container_load(root, id, lock, ret, err);
}

int oci_delete_ended(const struct cli *cli, const char *id, struct error *err)
{
    _cleanup_oci_container_ struct oci_container c;
    oci_container_init(&c);
    int r = oci_open(cli, id, true, &c, err);
    if (r == 0)
        r = oci_container_delete(&c, true, err);
    oci_warn(cli, &c);
    return r == -ENOENT ? 0 : r;
}

int oci_preserved(unsigned int asked, unsigned int *ret, struct error *err)
{
    uint32_t listen = 0;
    const char *text = getenv("LISTEN_FDS");
    if (text && parse_u32(text, &listen) < 0)
        listen = 0;
    if (asked > 1000 || listen > 1000)
        return error_invalid(err, "more than 1000 descriptors to preserve");
    for (unsigned int fd = 3; fd < 3 + asked + listen; fd++)
        if (fcntl((int)fd, F_GETFD) < 0)
            return error_invalid(err, "descriptor %u is to be preserved and is not open", fd);
    *ret = asked + listen;
    return 0;
}
