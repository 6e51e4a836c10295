/* Which of a configuration's binds are shared with the host, and which are files whose content is
 * sent to the machine: those of the bundle, which are made for it anew at each start. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/share.h"

#define SENT_MAX_BYTES ((size_t)256 << 10)

void vm_shares_init(struct vm_shares *s)
{
    memset(s, 0, sizeof(*s));
}

static void share_done(struct vm_share *share)
{
    for (size_t i = 0; i < share->n_entries; i++) {
        free(share->entries[i].path);
        close_fd(share->entries[i].source_fd);
    }
    free(share->entries);
    close_fd(share->qemu_fd);
}

void vm_shares_done(struct vm_shares *s)
{
    for (size_t i = 0; i < s->n; i++)
        share_done(&s->items[i]);
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

static int add_device(struct vm_shares *s, bool files, struct vm_share **ret, struct error *err)
{
    if (s->n == VM_SHARES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "a machine can have at most %u volumes; single files are one together",
                         VM_SHARES_MAX);
    struct vm_share *share = &s->items[s->n];
    *share = (struct vm_share){.files = files, .qemu_fd = -EBADF};
    snprintf(share->tag, sizeof(share->tag), "share%zu", s->n);
    s->n++;
    *ret = share;
    return 0;
}

static struct vm_share *find_files(struct vm_shares *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].files)
            return &s->items[i];
    return NULL;
}

static int add_shared(struct vm_shares *s, const struct oci_mount *m, int *fd, bool file,
                      struct error *err)
{
    struct vm_share *share = file ? find_files(s) : NULL;
    int r = share ? 0 : add_device(s, file, &share, err);
    if (r < 0)
        return r;
    if (share->n_entries == VM_SHARE_FILES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "a machine can have at most %u files of the host: share their directory",
                         VM_SHARE_FILES_MAX);
    share->entries = xreallocarray(share->entries, share->n_entries + 1, sizeof(*share->entries));
    struct vm_share_entry *e = &share->entries[share->n_entries];
    *e = (struct vm_share_entry){.path = path_normalize(m->destination),
                                 .source_fd = TAKE_FD(*fd),
                                 .readonly = strv_has(m->options, "ro")};
    snprintf(e->name, sizeof(e->name), "%zu", share->n_entries++);
    return 0;
}

static int add_sent(struct vm_shares *s, const struct oci_mount *m, const struct stat *st,
                    struct error *err)
{
    _cleanup_buf_ struct buf content = BUF_INIT(SENT_MAX_BYTES);
    _cleanup_close_ int fd = open(m->source, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &content);
    if (r == -EFBIG || s->n_files == AGENT_ITEMS_MAX)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s is too large to be given to a machine",
                         m->source);
    if (r < 0)
        return error_errno(err, r, "read %s", m->source);
    size_t len = content.len;
    s->files = xreallocarray(s->files, s->n_files + 1, sizeof(*s->files));
    s->files[s->n_files++] = (struct agent_file){.path = path_normalize(m->destination),
                                                 .content = buf_take(&content),
                                                 .len = len,
                                                 .mode = st->st_mode & 0777,
                                                 .readonly = strv_has(m->options, "ro")};
    return 0;
}

static int plan_bind(const struct oci_mount *m, const char *bundle, struct vm_shares *s,
                     struct error *err)
{
    size_t len = strlen(bundle);
    struct stat st;
    _cleanup_close_ int fd = m->source ? open(m->source, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, m->source ? errno : EINVAL, "open %s",
                           m->source ? m->source : "a mount's source");
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine cannot share %s: it is neither a directory nor a file",
                         m->source);
    bool own = strncmp(m->source, bundle, len) == 0 && m->source[len] == '/';
    return own && S_ISREG(st.st_mode) ? add_sent(s, m, &st, err)
                                      : add_shared(s, m, &fd, S_ISREG(st.st_mode), err);
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

struct agent_share *vm_shares_describe(const struct vm_shares *s, size_t *ret_n)
{
    struct agent_share *list = xcalloc(AGENT_ITEMS_MAX, sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->items[i].n_entries; j++) {
            const struct vm_share_entry *e = &s->items[i].entries[j];
            list[n++] = (struct agent_share){.tag = s->items[i].tag,
                                             .path = e->path,
                                             .file = s->items[i].files ? e->name : "",
                                             .readonly = e->readonly};
        }
    *ret_n = n;
    return list;
}
