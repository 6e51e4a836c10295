/*
 * df. Layers are counted once however many images have them; one is reclaimable when no image that
 * has it is in use. What an image shares is what removing it alone would not give back.
 */
#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "engine/engine-internal.h"
#include "engine/system.h"
#include "engine/view.h"
#include "service/store/build.h"
#include "service/store/disk.h"
#include "service/store/snapshot.h"

struct layer_use {
    const char *diff_id; /* borrowed */
    uint64_t bytes;
    size_t images, active; /* that have it */
};

struct layer_uses {
    struct layer_use *list;
    size_t n;
};

void image_usage_list_free(struct image_usage *list)
{
    for (struct image_usage *i = list; i && i->id; i++) {
        free(i->id);
        strv_free(i->names);
    }
    free(list);
}

static size_t count_instances(struct instance_view *const *views, const char *image_id)
{
    size_t n = 0;
    for (size_t i = 0; views[i]; i++)
        n += strcmp(views[i]->image_id, image_id) == 0;
    return n;
}

static int compare_uses(const void *a, const void *b)
{
    return strcmp(((const struct layer_use *)a)->diff_id, ((const struct layer_use *)b)->diff_id);
}

static struct layer_use *find_use(const struct layer_uses *u, const char *diff_id)
{
    const struct layer_use key = {.diff_id = diff_id};
    return bsearch(&key, u->list, u->n, sizeof(*u->list), compare_uses);
}

/* A layer that an image has twice counts once for it. */
static bool seen_before(const struct image *image, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(image->layers[i].diff_id, image->layers[at].diff_id) == 0)
            return true;
    return false;
}

/* All layers in order, each once, with how many images have it. */
static void collect_uses(struct image *const *images, struct instance_view *const *views,
                         struct layer_uses *ret)
{
    size_t n = 0;
    for (size_t i = 0; images[i]; i++)
        n += images[i]->n_layers;
    ret->list = xcalloc(n + 1, sizeof(*ret->list));
    n = 0;
    for (size_t i = 0; images[i]; i++) {
        bool active = count_instances(views, images[i]->id) > 0;
        for (size_t l = 0; l < images[i]->n_layers; l++)
            if (!seen_before(images[i], l))
                ret->list[n++] = (struct layer_use){images[i]->layers[l].diff_id,
                                                    images[i]->layers[l].bytes, 1, active};
    }
    qsort(ret->list, n, sizeof(*ret->list), compare_uses);
    for (size_t i = 0; i < n; i++) {
        struct layer_use *last = ret->n > 0 ? &ret->list[ret->n - 1] : NULL;
        if (last && strcmp(last->diff_id, ret->list[i].diff_id) == 0) {
            last->images++;
            last->active += ret->list[i].active;
        } else {
            ret->list[ret->n++] = ret->list[i];
        }
    }
}

static struct image_usage use_of(const struct image *image, const struct layer_uses *uses,
                                 size_t instances)
{
    struct image_usage u = {
        .id = xstrdup(image->id),
        .names = strv_copy(image->names),
        .created_ns = image->created_ns,
        .instances = instances,
    };
    for (size_t i = 0; i < image->n_layers; i++) {
        const struct layer_use *l = find_use(uses, image->layers[i].diff_id);
        if (seen_before(image, i))
            continue;
        if (l->images > 1)
            u.shared_bytes += l->bytes;
        else
            u.unique_bytes += l->bytes;
    }
    return u;
}

static int add_disk(struct engine *e, const struct image *image, struct image_usage *u,
                    struct error *err)
{
    int r = store_disk_shared(e->store, image->id, &u->shared_bytes, err);
    u->unique_bytes = image->bytes - u->shared_bytes;
    return r;
}

static int add_images(struct engine *e, struct instance_view *const *views, struct system_usage *u,
                      struct error *err)
{
    struct image **images;
    struct layer_uses uses = {0};
    uint64_t disks = 0, idle = 0;
    size_t n = 0;
    int r = image_list(e->store, &images, err);
    if (r < 0)
        return r;
    collect_uses(images, views, &uses);
    while (images[n])
        n++;
    u->image_list = xcalloc(n + 1, sizeof(*u->image_list));
    for (size_t i = 0; r == 0 && i < n; i++) {
        size_t instances = count_instances(views, images[i]->id);
        u->images++;
        u->images_active += instances > 0;
        u->image_list[i] = use_of(images[i], &uses, instances);
        if (images[i]->kind == IMAGE_DISK)
            r = add_disk(e, images[i], &u->image_list[i], err);
    }
    for (size_t i = 0; i < uses.n; i++) {
        u->images_bytes += uses.list[i].bytes;
        u->images_reclaimable += uses.list[i].active ? 0 : uses.list[i].bytes;
    }
    free(uses.list);
    image_list_free(images);
    if (r == 0)
        r = store_disk_total(e->store, &disks, &idle, err);
    u->images_bytes += disks;
    u->images_reclaimable += idle;
    return r;
}

static int add_volumes(struct engine *e, struct system_usage *u, struct error *err)
{
    struct volume **volumes;
    int r = volume_list(e->store, &volumes, err);
    for (size_t i = 0; r == 0 && volumes[i]; i++) {
        _cleanup_free_ char *user = NULL;
        uint64_t bytes = path_disk_use(volumes[i]->path);
        r = store_volume_user(e->store, volumes[i]->name, &user, err);
        u->volumes++;
        u->volumes_active += user != NULL;
        u->volumes_bytes += bytes;
        u->volumes_reclaimable += user ? 0 : bytes;
    }
    if (r == 0)
        volume_list_free(volumes);
    return r;
}

static void add_instances(struct instance_view *const *views, struct system_usage *u)
{
    for (size_t i = 0; views[i]; i++) {
        bool active = views[i]->state != STATE_CREATED && views[i]->state != STATE_EXITED;
        uint64_t bytes = path_disk_use(views[i]->bundle);
        u->instances++;
        u->instances_active += active;
        u->instances_bytes += bytes;
        u->instances_reclaimable += active ? 0 : bytes;
    }
}

static bool is_there(struct instance_view *const *views, const char *id)
{
    for (size_t i = 0; views[i]; i++)
        if (strcmp(views[i]->id, id) == 0)
            return true;
    return false;
}

static int add_snapshots(struct engine *e, struct instance_view *const *views,
                         struct system_usage *u, struct error *err)
{
    struct snapshot_record *list = NULL;
    _cleanup_free_ char *files = path_join(e->store->root, "snapshots");
    int r = store_snapshot_list(e->store, NULL, false, &list, err);
    for (size_t i = 0; r == 0 && list[i].id; i++) {
        u->snapshots++;
        u->snapshots_active += is_there(views, list[i].instance_id);
    }
    snapshot_record_list_free(list);
    u->snapshots_bytes = access(files, F_OK) == 0 ? path_disk_use(files) : 0;
    return r;
}

static int add_build_cache(struct engine *e, struct system_usage *u, struct error *err)
{
    _cleanup_free_ char *mounts = path_join(e->store->root, "cache/build");
    int r = store_steps_usage(e->store, &u->build_steps, &u->build_bytes, err);
    u->build_bytes += access(mounts, F_OK) == 0 ? path_disk_use(mounts) : 0;
    return r;
}

int engine_usage(struct engine *e, struct system_usage *ret, struct error *err)
{
    struct system_usage u = {0};
    struct instance_view **views;
    int r = engine_list(e, true, &views, err);
    if (r < 0)
        return r;
    add_instances(views, &u);
    r = add_images(e, views, &u, err);
    if (r == 0)
        r = add_volumes(e, &u, err);
    if (r == 0)
        r = add_snapshots(e, views, &u, err);
    if (r == 0)
        r = add_build_cache(e, &u, err);
    engine_list_free(views);
    if (r < 0)
        image_usage_list_free(u.image_list);
    else
        *ret = u;
    return r;
}
