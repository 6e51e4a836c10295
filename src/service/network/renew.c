/*
 * Tables that another version of this program has made.
 *
 * Each change of a table names its version, and fails where that is not there (rules.c,
 * service/policy/table.c): so the next change makes the table anew. After an update that would be
 * too late for what runs, which the old text may judge otherwise, and for other roots, whose
 * packets it may not let pass. So each command compares the versions with those that RUN has noted.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "kernel/nft_dump.h"
#include "service/network/network-internal.h"
#include "service/network/rules.h"
#include "service/policy/policy.h"

/* An older program may have given another root's default network the bridge of the default root,
 * when that one was not up: two roots would have one bridge. */
static int rename_bridge(struct store *s, struct error *err)
{
    _cleanup_free_ char *up = path_join(s->run, "networks/" NETWORK_DEFAULT "/up");
    _cleanup_network_ struct network *n = NULL;
    if (s->tag == 0 || access(up, F_OK) == 0 ||
        store_network_find(s, NETWORK_DEFAULT, &n, NULL) < 0 ||
        strcmp(n->bridge, DEFAULT_BRIDGE) != 0)
        return 0;
    _cleanup_free_ char *own = bridge_own_name(n);
    return store_network_set_bridge(s, n->name, own, err);
}

struct tables {
    struct store_table rules, policy;
    bool there;
};

static void see_table(void *context, const char *name)
{
    struct tables *t = context;
    t->there |= strcmp(name, t->rules.name) == 0 || strcmp(name, t->policy.name) == 0;
}

/* A root that is new has none, and then nothing is changed: who looks at images only leaves the
 * kernel's rules alone. */
static void remove_tables(struct store *s)
{
    struct tables t = {.rules = store_table(s, RULES_TABLE),
                       .policy = store_table(s, POLICY_TABLE)};
    if (nft_tables(NFT_INET, see_table, &t, NULL) == 0 && !t.there)
        return;
    (void)!rules_remove_all(s, NULL);
    (void)!policy_table_remove(s, NULL);
}

/* Where nobody runs there is nothing that they are needed for. */
static int renew(struct store *s, bool (*alive)(void *context, const char *instance_id),
                 void *context, struct error *err)
{
    struct store_port *ports;
    bool any = false;
    int r = store_port_list(s, NULL, &ports, err);
    if (r < 0)
        return r;
    for (struct store_port *p = ports; p->instance_id; p++)
        any |= p->attached && alive(context, p->instance_id);
    store_port_list_free(ports);
    if (any) {
        r = rules_repair(s, err);
        return r < 0 ? r : policy_renew(s, err);
    }
    remove_tables(s);
    return 0;
}

static bool is_noted(const char *note, const char *versions)
{
    _cleanup_free_ char *text = NULL;
    return file_read(AT_FDCWD, note, 64, &text) == 0 && strcmp(text, versions) == 0;
}

/* No port comes while it is looked whether there are any. */
int network_renew(struct store *s, bool (*alive)(void *context, const char *instance_id),
                  void *context, struct error *err)
{
    static const char versions[] = RULES_VERSION " " POLICY_TABLE_VERSION;
    _cleanup_free_ char *note = path_join(s->run, "networks/rules.version");
    _cleanup_close_ int lock = -EBADF;
    if (!process_is_host_root() || is_noted(note, versions))
        return 0;
    int r = network_lock(s, LOCK_PLACES, LOCK_EX, &lock, err);
    if (r < 0 || is_noted(note, versions))
        return r;
    r = renew(s, alive, context, err);
    if (r == 0)
        r = rename_bridge(s, err);
    if (r < 0)
        return error_prefix(err, "make the rules anew");
    r = file_write_atomic(AT_FDCWD, note, versions, strlen(versions), 0600);
    return r < 0 ? error_errno(err, r, "write %s", note) : 0;
}
