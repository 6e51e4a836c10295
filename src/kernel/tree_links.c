/* Hard links of a tree that is sent: which files went out before, and under which name. */
#include <string.h>

#include "base/alloc.h"
#include "kernel/tree-internal.h"

#define MAX_LINKS ((size_t)65536) /* files that are remembered; a power of two */

struct tree_link {
    dev_t dev;
    ino_t ino;
    char *path;
};

static struct tree_link *find_slot(struct tree_link *table, size_t n, dev_t dev, ino_t ino)
{
    size_t i = (size_t)((ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15u >> 20) & (n - 1);
    while (table[i].path && (table[i].ino != ino || table[i].dev != dev))
        i = (i + 1) & (n - 1);
    return &table[i];
}

static void grow(struct tree_links *l)
{
    size_t n = MAX((size_t)64, l->n_slots * 2);
    struct tree_link *table = xcalloc(n, sizeof(*table));
    for (size_t i = 0; i < l->n_slots; i++)
        if (l->slots[i].path)
            *find_slot(table, n, l->slots[i].dev, l->slots[i].ino) = l->slots[i];
    free(l->slots);
    l->slots = table;
    l->n_slots = n;
}

const char *tree_links_known(struct tree_links *l, const struct stat *st, const char *path)
{
    if (st->st_nlink < 2)
        return NULL;
    if ((l->n + 1) * 2 > l->n_slots && l->n < MAX_LINKS)
        grow(l);
    struct tree_link *slot = find_slot(l->slots, l->n_slots, st->st_dev, st->st_ino);
    if (slot->path || l->n >= MAX_LINKS)
        return slot->path;
    *slot = (struct tree_link){st->st_dev, st->st_ino, xstrdup(path)};
    l->n++;
    return NULL;
}

void tree_links_done(struct tree_links *l)
{
    for (size_t i = 0; i < l->n_slots; i++)
        free(l->slots[i].path);
    free(l->slots);
    memset(l, 0, sizeof(*l));
}
