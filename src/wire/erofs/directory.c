/*
 * Directories on disk: blocks that each begin with their entries and end with the names, all in
 * byte order over the whole directory, "." and ".." among them.
 */
#include <string.h>

#include "wire/erofs/writer-internal.h"

static int compare_names(const void *a, const void *b)
{
    const struct erofs_name *x = *(struct erofs_name *const *)a;
    const struct erofs_name *y = *(struct erofs_name *const *)b;
    int order = memcmp(x->text, y->text, MIN(x->len, y->len));
    return order ? order : (int)x->len - (int)y->len;
}

static struct erofs_name *dot_entry(struct erofs_writer *w, const char *text,
                                    struct erofs_inode *inode)
{
    struct erofs_name *e = erofs_arena_get(&w->memory, sizeof(*e) + 2);
    if (e) {
        e->len = (uint8_t)strlen(text);
        memcpy(e->text, text, e->len);
        e->inode = inode;
    }
    return e;
}

int erofs_directory_sort(struct erofs_writer *w, struct erofs_inode *dir, struct error *err)
{
    size_t n = 2;
    for (struct erofs_name *e = dir->names; e; e = e->next)
        n += e->inode != NULL;
    dir->sorted = erofs_arena_get(&w->memory, n * sizeof(*dir->sorted));
    if (!dir->sorted)
        return erofs_no_memory(w, err);
    dir->sorted[0] = dot_entry(w, ".", dir);
    dir->sorted[1] = dot_entry(w, "..", dir->parent);
    if (!dir->sorted[0] || !dir->sorted[1])
        return erofs_no_memory(w, err);
    n = 2;
    for (struct erofs_name *e = dir->names; e; e = e->next)
        if (e->inode)
            dir->sorted[n++] = e;
    qsort(dir->sorted, n, sizeof(*dir->sorted), compare_names);
    dir->n_sorted = (uint32_t)n;
    return 0;
}

/* How many entries from `first` on fit into one block, and what they take. */
static uint32_t block_end(const struct erofs_inode *dir, uint32_t first, uint32_t *ret_used)
{
    uint32_t used = 0, i = first;
    for (; i < dir->n_sorted; i++) {
        uint32_t need = (uint32_t)sizeof(struct erofs_disk_dirent) + dir->sorted[i]->len;
        if (used + need > EROFS_BLOCK_SIZE)
            break;
        used += need;
    }
    *ret_used = used;
    return i;
}

void erofs_directory_measure(struct erofs_inode *dir)
{
    uint32_t used = 0, next;
    uint64_t blocks = 0;
    for (uint32_t first = 0; first < dir->n_sorted; first = next, blocks++) {
        next = block_end(dir, first, &used);
        dir->last_block = first;
    }
    dir->size = (blocks - 1) * EROFS_BLOCK_SIZE + used;
    /* A last block that is exactly full stands in a block of its own. */
    bool fits = sizeof(struct erofs_disk_inode) + dir->xattrs_len + used <= EROFS_BLOCK_SIZE;
    dir->layout = fits ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
    dir->body_len = fits ? used : 0;
}

static uint8_t file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return EROFS_FT_DIRECTORY;
    case S_IFCHR:
        return EROFS_FT_CHARACTER;
    case S_IFBLK:
        return EROFS_FT_BLOCK;
    case S_IFIFO:
        return EROFS_FT_FIFO;
    case S_IFSOCK:
        return EROFS_FT_SOCKET;
    case S_IFLNK:
        return EROFS_FT_SYMLINK;
    default:
        return EROFS_FT_REGULAR;
    }
}

uint32_t erofs_directory_block(const struct erofs_inode *dir, uint32_t first, char *block,
                               uint32_t *ret_used)
{
    uint32_t used, end = block_end(dir, first, &used);
    uint32_t name_at = (end - first) * (uint32_t)sizeof(struct erofs_disk_dirent);
    memset(block, 0, EROFS_BLOCK_SIZE);
    for (uint32_t i = first; i < end; i++) {
        const struct erofs_name *e = dir->sorted[i];
        struct erofs_disk_dirent d = {
            .nid = e->inode->nid,
            .name_offset = (uint16_t)name_at,
            .type = file_type(e->inode->mode),
        };
        memcpy(block + (i - first) * sizeof(d), &d, sizeof(d));
        memcpy(block + name_at, e->text, e->len);
        name_at += e->len;
    }
    *ret_used = used;
    return end;
}
