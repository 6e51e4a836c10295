/*
 * Limits of block devices. Weights belong to a scheduler: bfq has files of its own, and the words
 * for all others (blkio.weight, io.weight) are on some kernels only.
 */
#include <fcntl.h>

#include "kernel/cgroup-internal.h"

int64_t cgroup_io_weight(int64_t weight)
{
    return 1 + (MIN(MAX(weight, 10), 1000) - 10) * 9999 / 990;
}

static const char *first_that_exists(const struct cgroup *g, const char *a, const char *b)
{
    int dir = g->dirs[g->is_v2 ? CGROUP_UNIFIED : CGROUP_BLKIO];
    if (dir >= 0 && faccessat(dir, a, F_OK, 0) == 0)
        return a;
    return dir < 0 || faccessat(dir, b, F_OK, 0) == 0 ? b : NULL;
}

static int no_weights(struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "this host's block layer has no weights");
}

static int put_weight(const struct cgroup *g, int64_t weight, struct error *err)
{
    const char *file = g->is_v2 ? first_that_exists(g, "io.bfq.weight", "io.weight")
                                : first_that_exists(g, "blkio.weight", "blkio.bfq.weight");
    if (weight <= 0)
        return 0;
    if (!file)
        return no_weights(err);
    bool wide = g->is_v2 && file[3] == 'w';
    return cgroup_put_number(g, CGROUP_BLKIO, file, wide ? cgroup_io_weight(weight) : weight, "100",
                             err);
}

static int put_device(const struct cgroup *g, const char *file, const struct cgroup_weight *w,
                      int64_t weight, struct error *err)
{
    char text[96];
    if (weight <= 0)
        return 0;
    if (!file)
        return no_weights(err);
    snprintf(text, sizeof(text), "%lld:%lld %lld", (long long)w->major, (long long)w->minor,
             (long long)weight);
    return cgroup_put_text(g, CGROUP_BLKIO, file, text, err);
}

static int put_devices(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    const char *file = l->n_weights == 0 ? NULL
                       : g->is_v2
                           ? first_that_exists(g, "io.bfq.weight", "io.weight")
                           : first_that_exists(g, "blkio.weight_device", "blkio.bfq.weight_device");
    bool wide = file && g->is_v2 && file[3] == 'w';
    int r = 0;
    for (size_t i = 0; i < l->n_weights && r == 0; i++) {
        const struct cgroup_weight *w = &l->weights[i];
        int64_t weight = wide && w->weight > 0 ? cgroup_io_weight(w->weight) : w->weight;
        r = put_device(g, file, w, weight, err);
        if (r == 0 && !g->is_v2)
            r = put_device(g, "blkio.leaf_weight_device", w, w->leaf_weight, err);
    }
    return r;
}

int cgroup_block(const struct cgroup *g, const struct cgroup_limits *l, struct error *err)
{
    int r = put_weight(g, l->block_weight, err);
    if (r == 0 && !g->is_v2 && l->block_leaf_weight > 0)
        r = cgroup_put_number(g, CGROUP_BLKIO, "blkio.leaf_weight", l->block_leaf_weight, "500",
                              err);
    if (r == 0)
        r = put_devices(g, l, err);
    for (size_t i = 0; i < l->n_throttles && r == 0; i++) {
        const struct cgroup_throttle *t = &l->throttles[i];
        char text[96];
        snprintf(text, sizeof(text), "%lld:%lld %s%s%llu", (long long)t->major, (long long)t->minor,
                 g->is_v2 ? t->key_v2 : "", g->is_v2 ? "=" : "", (unsigned long long)t->rate);
        r = cgroup_put_text(g, CGROUP_BLKIO, g->is_v2 ? "io.max" : t->file_v1, text, err);
    }
    return r;
}
