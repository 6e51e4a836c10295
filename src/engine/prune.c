/* Taking away what is not needed: prune, and the removals that must ask who still uses a thing. */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "engine/build.h"
#include "engine/engine-internal.h"
#include "engine/spare.h"
#include "engine/system.h"
#include "engine/view.h"
#include "kernel/cgroup.h"
#include "runtime/rootless/rootless.h"
#include "runtime/vm/kernel.h"
#include "runtime/vm/template.h"
#include "service/network/network.h"

static int prune_instances(struct engine *e, char ***done, uint64_t *bytes, struct error *err)
{
    struct instance_view **views;
    int r = engine_list(e, true, &views, err);
    if (r < 0)
        return r;
    for (size_t i = 0; views[i]; i++) {
        struct error why = ERROR_INIT;
        if (views[i]->state != STATE_CREATED && views[i]->state != STATE_EXITED)
            continue;
        uint64_t size = path_disk_use(views[i]->bundle);
        if (engine_remove(e, views[i]->id, false, false, &why) < 0)
            continue; /* started or removed meanwhile */
        *bytes += size;
        strv_addf(done, "deleted instance: %s", views[i]->id);
    }
    engine_list_free(views);
    return 0;
}

static int prune_volumes(struct engine *e, char ***done, uint64_t *bytes, struct error *err)
{
    struct volume **volumes;
    int r = volume_list(e->store, &volumes, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && volumes[i]; i++) {
        _cleanup_free_ char *user = NULL;
        uint64_t size = path_disk_use(volumes[i]->path);
        r = store_volume_user(e->store, volumes[i]->name, &user, err);
        if (r < 0 || user)
            continue;
        r = volume_remove(e->store, volumes[i]->name, err);
        if (r == 0) {
            *bytes += size;
            strv_addf(done, "deleted volume: %s", volumes[i]->name);
        }
    }
    volume_list_free(volumes);
    return r;
}

static int prune_networks(struct engine *e, char ***done, struct error *err)
{
    struct network **networks;
    int r = network_list(e->store, &networks, err);
    if (r < 0)
        return r;
    for (size_t i = 0; networks[i]; i++) {
        struct error why = ERROR_INIT;
        if (strcmp(networks[i]->name, NETWORK_DEFAULT) == 0 ||
            engine_network_remove(e, networks[i]->name, &why) < 0)
            continue; /* in use */
        strv_addf(done, "deleted network: %s", networks[i]->name);
    }
    network_list_free(networks);
    return 0;
}

static int prune_build_cache(struct engine *e, char ***done, uint64_t *bytes, struct error *err)
{
    struct error why = ERROR_INIT;
    uint64_t freed = 0;
    int r = engine_build_prune(e, 0, &freed, &why);
    if (r < 0 && why.kind == ERROR_CONFLICT) {
        strv_addf(done, "kept the build cache: %s", why.msg);
        return 0;
    }
    if (r < 0 && err)
        *err = why;
    *bytes += freed;
    return r;
}

int engine_prune(struct engine *e, const struct prune_options *o, char ***ret_done,
                 uint64_t *ret_bytes, struct error *err)
{
    _cleanup_strv_ char **done = xcalloc(1, sizeof(char *));
    uint64_t bytes = 0;
    int r = 0;
    if (o->images || o->prepared)
        spares_end(e, NULL);
    if (o->instances)
        r = prune_instances(e, &done, &bytes, err);
    if (r == 0 && o->networks)
        r = prune_networks(e, &done, err);
    if (r == 0 && o->volumes)
        r = prune_volumes(e, &done, &bytes, err);
    if (r == 0 && o->images) {
        _cleanup_strv_ char **lines = NULL;
        uint64_t image_bytes = 0;
        r = image_prune(e->store, o->all_images, &lines, &image_bytes, err);
        for (size_t i = 0; lines && lines[i]; i++)
            strv_add(&done, lines[i]);
        bytes += image_bytes;
    }
    if (r == 0 && o->build_cache)
        r = prune_build_cache(e, &done, &bytes, err);
    if (r == 0 && o->prepared)
        r = network_repair(e->store, instance_is_alive, e, err);
    if (r == 0 && o->prepared)
        r = network_down_idle(e->store, instance_is_alive, e, err);
    if (r == 0 && o->prepared)
        r = image_unmount_idle(e->store, err);
    if (r == 0 && o->prepared)
        r = vm_templates_prune(e->store->run, &done, err);
    if (r == 0 && o->prepared)
        cgroup_remove_empty("proa");
    if (r == 0 && o->prepared)
        rootless_release();
    if (r < 0)
        return r;
    *ret_done = TAKE_PTR(done);
    *ret_bytes = bytes;
    return 0;
}

int engine_volume_remove(struct engine *e, const char *name, bool force, struct error *err)
{
    _cleanup_free_ char *user = NULL;
    int r = store_volume_user(e->store, name, &user, err);
    if (r < 0)
        return r;
    if (user)
        return error_set(err, ERROR_CONFLICT, EBUSY,
                         "volume %s is used by instance %.12s; remove that first (proa rm %.12s)",
                         name, user, user);
    r = volume_remove(e->store, name, err);
    if (r == -ENOENT && force)
        return 0;
    return r;
}

/* The network of a stopped instance is kept in its options only. */
int engine_network_remove(struct engine *e, const char *name, struct error *err)
{
    _cleanup_network_ struct network *network = NULL;
    struct instance_view **views;
    int r = network_find(e->store, name, &network, err);
    if (r == 0)
        r = engine_list(e, true, &views, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && views[i]; i++)
        if (view_is_on(views[i], network->name))
            r = error_set(err, ERROR_CONFLICT, EBUSY,
                          "network %s is used by instance %s; remove that first (proa rm %s)",
                          network->name, views[i]->name, views[i]->name);
    engine_list_free(views);
    return r < 0 ? r : network_remove(e->store, network->name, err);
}

int engine_image_remove(struct engine *e, const char *reference, bool force, char ***ret_done,
                        struct error *err)
{
    _cleanup_image_ struct image *image = NULL;
    struct error ignored = ERROR_INIT;
    if (image_find(e->store, reference, &image, &ignored) == 0)
        spares_end(e, image->id);
    return image_remove(e->store, reference, force, ret_done, err);
}
