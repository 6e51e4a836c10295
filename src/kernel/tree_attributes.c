/* What of a file is no contents: attributes, holes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/process.h"
#include "kernel/tree-internal.h"

#define NAMES_MAX  ((size_t)65536) /* Linux's own limits */
#define VALUES_MAX ((size_t)262144)

/* Others are the host's business: a security module's labels, and what trusted.* tells overlays. */
bool tree_xattr_is_kept(const char *name)
{
    if (strncmp(name, "user.", 5) == 0)
        return strncmp(name, "user.overlay.", 13) != 0;
    return strcmp(name, "security.capability") == 0 ||
           strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

const char *tree_overlay_prefix(void)
{
    return process_is_host_root() ? "trusted.overlay." : "user.overlay.";
}

static void note_overlay(struct tree_xattrs *x, int fd, const char *name, const char *prefix)
{
    char value[2] = "";
    if (strncmp(name, prefix, strlen(prefix)) != 0)
        return;
    const char *word = name + strlen(prefix);
    if (strcmp(word, "redirect") == 0 || strcmp(word, "metacopy") == 0)
        x->redirect = true;
    if (strcmp(word, "opaque") == 0 && fgetxattr(fd, name, value, 1) == 1)
        x->opaque = value[0] == 'y';
}

static int read_values(int fd, struct tree_xattrs *x, size_t names_len)
{
    const char *prefix = tree_overlay_prefix();
    size_t used = 0;
    for (const char *name = x->names; name < x->names + names_len; name += strlen(name) + 1) {
        note_overlay(x, fd, name, prefix);
        if (!tree_xattr_is_kept(name))
            continue;
        ssize_t len = fgetxattr(fd, name, x->values + used, VALUES_MAX - used);
        if (len < 0 && errno == ENODATA)
            continue; /* it went away meanwhile */
        if (len < 0)
            return errno == ERANGE ? -E2BIG : -errno;
        x->list = xreallocarray(x->list, x->n + 1, sizeof(*x->list));
        x->list[x->n++] = (struct tar_xattr){name, x->values + used, (size_t)len};
        used += (size_t)len;
    }
    return 0;
}

int tree_xattrs_read(int fd, struct tree_xattrs *ret)
{
    memset(ret, 0, sizeof(*ret));
    ssize_t len = flistxattr(fd, NULL, 0);
    if (len <= 0) /* none, or a file system that has none at all */
        return len < 0 && errno != EOPNOTSUPP ? -errno : 0;
    ret->names = xcalloc(1, NAMES_MAX + 1);
    ret->values = xcalloc(1, VALUES_MAX);
    len = flistxattr(fd, ret->names, NAMES_MAX);
    int r = len < 0 ? -errno : read_values(fd, ret, (size_t)len);
    if (r < 0)
        tree_xattrs_done(ret);
    return r;
}

void tree_xattrs_done(struct tree_xattrs *x)
{
    free(x->list);
    free(x->names);
    free(x->values);
    memset(x, 0, sizeof(*x));
}

int tree_pieces_find(int fd, uint64_t size, struct tree_pieces *ret)
{
    struct stat st;
    memset(ret, 0, sizeof(*ret));
    if (size == 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_blocks * 512 >= size)
        return 0;
    for (off_t at = 0; at < (off_t)size;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 || data >= (off_t)size)
            break; /* the rest is a hole, or holes are not told */
        off_t hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0 || ret->n == TREE_MAX_PIECES) {
            tree_pieces_done(ret);
            break;
        }
        at = MIN(hole, (off_t)size);
        ret->list = xreallocarray(ret->list, ret->n + 1, sizeof(*ret->list));
        ret->list[ret->n++] = (struct tree_piece){(uint64_t)data, (uint64_t)(at - data)};
        ret->bytes += (uint64_t)(at - data);
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    return ret->bytes < size;
}

int tree_pieces_map(const struct tree_pieces *p, struct buf *out)
{
    int r = buf_addf(out, "%zu\n", p->n);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = buf_addf(out, "%llu\n%llu\n", (unsigned long long)p->list[i].at,
                     (unsigned long long)p->list[i].len);
    static const char zeros[TAR_BLOCK_SIZE];
    return r < 0 ? r : buf_add(out, zeros, tar_padding(out->len));
}

void tree_pieces_done(struct tree_pieces *p)
{
    free(p->list);
    memset(p, 0, sizeof(*p));
}
