/* Namespaces that the configuration names by a path are another's: they are not dumped, and a
 * restored container joins what the path then leads to. The keys are runc's and crun's. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "kernel/ns.h"
#include "runtime/oci/criu/external.h"

enum way {
    WAY_DESCRIPTOR, /* external in the image, a descriptor at the restore */
    WAY_JOIN,       /* dumped as its own, and replaced at the restore */
};

static const struct {
    int type;
    enum way way;
    const char *name; /* CRIU's, and the kernel's below /proc/PID/ns */
    const char *key;
} kinds[] = {
    {CLONE_NEWNET, WAY_DESCRIPTOR, "net", "extRootNetNS"},
    {CLONE_NEWPID, WAY_DESCRIPTOR, "pid", "extRootPidNS"},
    {CLONE_NEWIPC, WAY_JOIN, "ipc", NULL},
    {CLONE_NEWUTS, WAY_JOIN, "uts", NULL},
    {CLONE_NEWTIME, WAY_JOIN, "time", NULL},
    {CLONE_NEWUSER, WAY_JOIN, "user", NULL},
};

void criu_given_done(struct criu_given *g)
{
    for (size_t i = 0; i < g->n_fds; i++)
        close_fd(g->fds[i]);
    for (size_t i = 0; i < g->n_inherited; i++)
        free(g->inherited[i].key);
    free(g->terminal);
    *g = (struct criu_given){.n_fds = 0};
}

/* One that is joined in a way that CRIU knows nothing of. */
static int check(const struct oci_container *c, struct error *err)
{
    static const int others[] = {CLONE_NEWNS, CLONE_NEWCGROUP};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        const struct oci_namespace *ns = oci_config_namespace(c->config, others[i]);
        if (ns && ns->path)
            return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                             "a container in another's %s namespace cannot be checkpointed",
                             oci_namespace_name(others[i]));
    }
    return 0;
}

int criu_namespaces_of(const struct oci_container *c, char ***external, struct error *err)
{
    int r = check(c, err);
    for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == 0; i++) {
        const struct oci_namespace *ns = oci_config_namespace(c->config, kinds[i].type);
        struct stat st;
        if (!ns || !ns->path || kinds[i].way != WAY_DESCRIPTOR)
            continue;
        _cleanup_free_ char *path = xasprintf("/proc/%d/ns/%s", (int)c->pid, kinds[i].name);
        if (stat(path, &st) < 0)
            return error_errno(err, errno, "look at %s", path);
        strv_addf(external, "%s[%lu]:%s", kinds[i].name, (unsigned long)st.st_ino, kinds[i].key);
    }
    return r;
}

static int give(const struct oci_namespace *ns, const char *key, struct criu_given *g,
                struct error *err)
{
    int fd = ns_open(ns->path, ns->type);
    if (fd < 0)
        return error_errno(err, fd, "open the %s namespace %s", oci_namespace_name(ns->type),
                           ns->path);
    g->inherited[g->n_inherited++] =
        (struct criu_inherited){xstrdup(key), CRIU_FIRST_FD + (int)g->n_fds};
    g->fds[g->n_fds++] = fd;
    return 0;
}

int criu_namespaces_for(const struct oci_container *c, struct criu_given *g, struct error *err)
{
    int r = check(c, err);
    for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == 0; i++) {
        const struct oci_namespace *ns = oci_config_namespace(c->config, kinds[i].type);
        if (!ns || !ns->path)
            continue;
        if (kinds[i].way == WAY_DESCRIPTOR)
            r = give(ns, kinds[i].key, g, err);
        else
            g->joins[g->n_joins++] = (struct criu_join){kinds[i].name, ns->path};
    }
    return r;
}
