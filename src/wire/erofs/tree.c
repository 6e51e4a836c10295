/*
 * The tree of names in memory. Every name ever added stays in its directory's list and in the hash
 * table; removing one only takes its inode away, and adding it again gives it a new one. So nothing
 * has to be unlinked from a list, and memory grows with the archive's entries, never more.
 */
#include <string.h>
#include <sys/random.h>

#include "wire/erofs/writer-internal.h"

struct erofs_arena_chunk {
    struct erofs_arena_chunk *next;
    char data[];
};

#define ARENA_CHUNK ((size_t)256 << 10)

void *erofs_arena_get(struct erofs_arena *a, size_t size)
{
    if (size > a->max)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    if (size > a->left) {
        bool large = size > ARENA_CHUNK / 4; /* stands alone: the current chunk is filled on */
        size_t bytes = large ? size : ARENA_CHUNK;
        if (a->used + bytes > a->max)
            return NULL;
        struct erofs_arena_chunk *chunk = calloc(1, sizeof(*chunk) + bytes);
        if (!chunk)
            return NULL;
        a->used += bytes;
        chunk->next = a->chunks;
        a->chunks = chunk;
        if (large)
            return chunk->data;
        a->next = chunk->data;
        a->left = bytes;
    }
    void *p = a->next;
    a->next += size;
    a->left -= size;
    return p;
}

void erofs_arena_done(struct erofs_arena *a)
{
    while (a->chunks) {
        struct erofs_arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
}

int erofs_no_memory(const struct erofs_writer *w, struct error *err)
{
    return error_set(err, ERROR_LIMIT, EFBIG, "more names and attributes than %zu MiB can hold",
                     w->limits.memory_bytes >> 20);
}

/* Keyed, so that an archive cannot be made whose names all fall into one bucket. */
static uint32_t hash_name(const struct erofs_writer *w, const struct erofs_inode *dir,
                          const char *name, size_t len)
{
    uint64_t h = w->hash_key ^ ((uint64_t)(uintptr_t)dir * 0x9e3779b97f4a7c15u);
    for (size_t i = 0; i < len; i++) {
        h ^= (unsigned char)name[i];
        h *= 0x00000100000001b3u;
        h ^= h >> 29;
    }
    h *= 0xbf58476d1ce4e5b9u;
    return (uint32_t)(h >> 32);
}

static int grow_buckets(struct erofs_writer *w)
{
    size_t n = w->n_buckets ? w->n_buckets * 4 : 4096;
    struct erofs_name **buckets = calloc(n, sizeof(*buckets));
    if (!buckets)
        return -ENOMEM;
    for (size_t i = 0; i < w->n_buckets; i++) {
        struct erofs_name *next;
        for (struct erofs_name *e = w->buckets[i]; e; e = next) {
            next = e->chain;
            e->chain = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    free(w->buckets);
    w->buckets = buckets;
    w->n_buckets = n;
    return 0;
}

static struct erofs_name *find_name(struct erofs_writer *w, const struct erofs_inode *dir,
                                    const char *name, size_t len, uint32_t hash)
{
    for (struct erofs_name *e = w->buckets[hash & (w->n_buckets - 1)]; e; e = e->chain)
        if (e->hash == hash && e->dir == dir && e->len == len && memcmp(e->text, name, len) == 0)
            return e;
    return NULL;
}

/* The entry for a name, made when it was never there. */
static struct erofs_name *name_entry(struct erofs_writer *w, struct erofs_inode *dir,
                                     const char *name, size_t len)
{
    uint32_t hash = hash_name(w, dir, name, len);
    struct erofs_name *e = find_name(w, dir, name, len, hash);
    if (e)
        return e;
    if (w->n_names >= w->n_buckets && grow_buckets(w) < 0)
        return NULL;
    e = erofs_arena_get(&w->memory, sizeof(*e) + len);
    if (!e)
        return NULL;
    memcpy(e->text, name, len);
    e->len = (uint8_t)len;
    e->hash = hash;
    e->dir = dir;
    e->next = dir->names;
    dir->names = e;
    e->chain = w->buckets[hash & (w->n_buckets - 1)];
    w->buckets[hash & (w->n_buckets - 1)] = e;
    w->n_names++;
    return e;
}

int erofs_writer_new(int fd, const struct erofs_limits *limits, struct erofs_writer **ret,
                     struct error *err)
{
    _cleanup_erofs_ struct erofs_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return error_errno(err, ENOMEM, "write a file system");
    w->fd = fd;
    w->limits = *limits;
    w->memory.max = limits->memory_bytes;
    w->tails.max = EROFS_TAILS_BYTES;
    w->buffer = malloc(EROFS_STREAM_BYTES);
    w->flushed = EROFS_BLOCK_SIZE; /* block 0 is the superblock's, written last */
    if (lseek(fd, EROFS_BLOCK_SIZE, SEEK_SET) < 0)
        return error_errno(err, errno, "write the layer");
    if (getrandom(&w->hash_key, sizeof(w->hash_key), 0) != sizeof(w->hash_key))
        return error_errno(err, errno, "get random numbers");
    w->root = erofs_arena_get(&w->memory, sizeof(*w->root));
    if (!w->buffer || !w->root || grow_buckets(w) < 0)
        return error_errno(err, ENOMEM, "write a file system");
    w->root->mode = S_IFDIR | 0755;
    w->root->parent = w->root;
    *ret = TAKE_PTR(w);
    return 0;
}

void erofs_writer_free(struct erofs_writer *w)
{
    if (!w)
        return;
    erofs_arena_done(&w->memory);
    erofs_arena_done(&w->tails);
    free(w->buckets);
    free(w->buffer);
    free(w->map);
    free(w);
}

struct erofs_inode *erofs_root(struct erofs_writer *w)
{
    return w->root;
}

struct erofs_inode *erofs_lookup(struct erofs_writer *w, const struct erofs_inode *dir,
                                 const char *name, size_t len)
{
    if (len > EROFS_NAME_MAX)
        return NULL;
    struct erofs_name *e = find_name(w, dir, name, len, hash_name(w, dir, name, len));
    return e ? e->inode : NULL;
}

struct erofs_inode *erofs_parent(const struct erofs_inode *dir)
{
    return dir->parent;
}

uint32_t erofs_mode(const struct erofs_inode *i)
{
    return i->mode;
}

bool erofs_is_directory(const struct erofs_inode *i)
{
    return S_ISDIR(i->mode);
}

bool erofs_is_symlink(const struct erofs_inode *i)
{
    return S_ISLNK(i->mode);
}

bool erofs_is_whiteout(const struct erofs_inode *i)
{
    return S_ISCHR(i->mode) && i->where == 0;
}

void erofs_set_attributes(struct erofs_inode *i, const struct erofs_attributes *a)
{
    i->mode = (uint16_t)((i->mode & S_IFMT) | (a->mode & 07777));
    i->uid = a->uid;
    i->gid = a->gid;
    i->mtime = a->mtime;
    i->mtime_ns = a->mtime_ns;
}

static int check_name(const struct erofs_inode *dir, const char *name, size_t len,
                      struct error *err)
{
    if (len == 0 || len > EROFS_NAME_MAX)
        return error_set(err, ERROR_CORRUPT, ENAMETOOLONG, "a name of %zu bytes (at most %u)", len,
                         EROFS_NAME_MAX);
    if (memchr(name, '/', len) || memchr(name, 0, len) || (len == 1 && name[0] == '.') ||
        (len == 2 && name[0] == '.' && name[1] == '.'))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "not a name: \"%.*s\"", (int)len, name);
    if (!S_ISDIR(dir->mode))
        return error_set(err, ERROR_CORRUPT, ENOTDIR, "a name below what is no directory");
    return 0;
}

static int new_inode(struct erofs_writer *w, struct erofs_inode *dir,
                     const struct erofs_attributes *a, struct erofs_inode **ret, struct error *err)
{
    bool device = S_ISCHR(a->mode) || S_ISBLK(a->mode);
    if (device && (a->major > 0xfff || a->minor > 0xfffff))
        return error_set(err, ERROR_CORRUPT, EOVERFLOW, "device number %u:%u is out of range",
                         a->major, a->minor);
    if (S_ISDIR(a->mode) && dir->depth + 1 > EROFS_DEPTH_MAX)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "directories nest deeper than %u",
                         EROFS_DEPTH_MAX);
    struct erofs_inode *i = erofs_arena_get(&w->memory, sizeof(*i));
    if (!i)
        return erofs_no_memory(w, err);
    i->mode = (uint16_t)(a->mode & S_IFMT);
    erofs_set_attributes(i, a);
    if (device)
        i->where = (a->minor & 0xff) | (a->major << 8) | ((a->minor & ~0xffu) << 12);
    if (S_ISDIR(a->mode)) {
        i->depth = dir->depth + 1;
        i->parent = dir;
    }
    *ret = i;
    return 0;
}

int erofs_add(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len,
              const struct erofs_attributes *a, struct erofs_inode **ret, struct error *err)
{
    struct erofs_inode *i = NULL;
    int r = check_name(dir, name, len, err);
    if (r < 0 || (r = new_inode(w, dir, a, &i, err)) < 0)
        return r;
    struct erofs_name *e = name_entry(w, dir, name, len);
    if (!e)
        return erofs_no_memory(w, err);
    if (e->inode)
        return error_set(err, ERROR_CONFLICT, EEXIST, "the name \"%.*s\" is taken", (int)len, name);
    e->inode = i;
    *ret = i;
    return 0;
}

int erofs_link(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len,
               struct erofs_inode *inode, struct error *err)
{
    int r = check_name(dir, name, len, err);
    if (r < 0)
        return r;
    if (S_ISDIR(inode->mode))
        return error_set(err, ERROR_CORRUPT, EPERM, "a hard link to a directory");
    struct erofs_name *e = name_entry(w, dir, name, len);
    if (!e)
        return erofs_no_memory(w, err);
    if (e->inode)
        return error_set(err, ERROR_CONFLICT, EEXIST, "the name \"%.*s\" is taken", (int)len, name);
    e->inode = inode; /* links are counted when the tree is laid out */
    return 0;
}

void erofs_remove(struct erofs_writer *w, struct erofs_inode *dir, const char *name, size_t len)
{
    struct erofs_name *e =
        len <= EROFS_NAME_MAX ? find_name(w, dir, name, len, hash_name(w, dir, name, len)) : NULL;
    if (e)
        e->inode = NULL; /* what is below a directory is reachable through it only */
}
