/* Which of a configuration's binds are directories that a machine shares with the host, and which
 * are files whose content is sent to it. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "runtime/vm/machine.h"

#define FILE_MAX_BYTES ((size_t)256 << 10)

void vm_shares_init(struct vm_shares *s)
{
    memset(s, 0, sizeof(*s));
}

void vm_shares_done(struct vm_shares *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].path);
        close_fd(s->items[i].source_fd);
        close_fd(s->items[i].qemu_fd);
    }
    for (size_t i = 0; i < s->n_files; i++) {
        free((char *)s->files[i].path);
        free((char *)s->files[i].content);
    }
    free(s->files);
    vm_shares_init(s);
}

static bool is_bind(const struct oci_mount *m)
{
    return strv_has(m->options, "bind") || strv_has(m->options, "rbind") ||
           (m->type && strcmp(m->type, "bind") == 0);
}

static int add_directory(struct vm_shares *s, const struct oci_mount *m, int *fd, bool readonly,
                         struct error *err)
{
    if (s->n == VM_SHARES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG, "a machine can have at most %u volumes",
                         VM_SHARES_MAX);
    struct vm_share *share = &s->items[s->n];
    snprintf(share->tag, sizeof(share->tag), "share%zu", s->n);
    share->path = path_normalize(m->destination);
    share->source_fd = TAKE_FD(*fd);
    share->qemu_fd = -EBADF;
    share->readonly = readonly;
    s->n++;
    return 0;
}

static int add_file(struct vm_shares *s, const struct oci_mount *m, const struct stat *st,
                    bool readonly, struct error *err)
{
    char *text = NULL;
    if (st->st_size > (off_t)FILE_MAX_BYTES || s->n_files == AGENT_ITEMS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is too large to be given to a machine",
                         m->source);
    int r = file_read(AT_FDCWD, m->source, FILE_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", m->source);
    struct agent_file *files = xreallocarray(s->files, s->n_files + 1, sizeof(*files));
    s->files = files;
    files[s->n_files++] = (struct agent_file){.path = path_normalize(m->destination),
                                              .content = text,
                                              .len = MIN(strlen(text), (size_t)st->st_size),
                                              .mode = st->st_mode & 0777,
                                              .readonly = readonly};
    return 0;
}

static int plan_bind(const struct oci_mount *m, const char *bundle, struct vm_shares *s,
                     struct error *err)
{
    bool readonly = strv_has(m->options, "ro");
    size_t len = strlen(bundle);
    struct stat st;
    _cleanup_close_ int fd = m->source ? open(m->source, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, m->source ? errno : EINVAL, "open %s",
                           m->source ? m->source : "a mount's source");
    bool own = strncmp(m->source, bundle, len) == 0 && m->source[len] == '/';
    if (S_ISDIR(st.st_mode))
        return add_directory(s, m, &fd, readonly, err);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine cannot share %s: it is neither a directory nor a file",
                         m->source);
    if (!readonly && !own)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine can only have the file %s read-only: share its directory",
                         m->source);
    return add_file(s, m, &st, readonly, err);
}

int vm_shares_plan(const struct oci_config *c, const char *bundle, struct vm_shares *s,
                   struct error *err)
{
    for (size_t i = 0; i < c->n_mounts; i++) {
        int r = is_bind(&c->mounts[i]) ? plan_bind(&c->mounts[i], bundle, s, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}
