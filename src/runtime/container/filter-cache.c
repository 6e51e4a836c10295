#include "runtime/container/filter-cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/text.h"

#define MAX_FILE (sizeof(struct lengths) + FILTER_MAX_KEY + FILTER_MAX_PROGRAM)

struct lengths {
    uint64_t key, program; /* bytes */
};

struct file_name {
    char text[24];
};

static struct file_name name_of(const struct buf *key)
{
    struct file_name name;
    snprintf(name.text, sizeof(name.text), "%016llx",
             (unsigned long long)fingerprint(key->data, key->len));
    return name;
}

static bool is_own(int fd, mode_t type)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type && st.st_uid == geteuid() &&
           !(st.st_mode & 022);
}

int filter_cache_open(const char *dir)
{
    if (!dir)
        return -ENOENT;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && (mkdir(dir, 0700) == 0 || errno == EEXIST))
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (is_own(fd, S_IFDIR))
        return fd;
    close_fd(fd);
    return -EPERM;
}

int filter_from_program(const void *data, size_t len, struct seccomp_filter *ret)
{
    if (len == 0 || len > FILTER_MAX_PROGRAM || len % sizeof(struct sock_filter) != 0)
        return -EBADMSG;
    ret->instructions = xcalloc(1, len);
    memcpy(ret->instructions, data, len);
    ret->n = (unsigned short)(len / sizeof(struct sock_filter));
    return 0;
}

int filter_cache_parse(const void *data, size_t len, const struct buf *key,
                       struct seccomp_filter *ret)
{
    struct lengths lengths;
    if (len < sizeof(lengths))
        return -EBADMSG;
    memcpy(&lengths, data, sizeof(lengths));
    const char *rest = (const char *)data + sizeof(lengths);
    len -= sizeof(lengths);
    if (lengths.key != key->len || len < key->len || lengths.program != len - key->len ||
        memcmp(rest, key->data, key->len) != 0)
        return -EBADMSG;
    return filter_from_program(rest + key->len, len - key->len, ret);
}

int filter_cache_read(int dir, const struct buf *key, struct seccomp_filter *ret)
{
    _cleanup_buf_ struct buf file = BUF_INIT(MAX_FILE);
    _cleanup_close_ int fd =
        openat(dir, name_of(key).text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || !is_own(fd, S_IFREG) || fd_read_to_end(fd, &file) < 0)
        return -ENOENT;
    return filter_cache_parse(file.data, file.len, key, ret) < 0 ? -ENOENT : 0;
}

static bool is_older(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec < b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* Removes the oldest file when there are too many; whether it did. What a writer that was killed
 * has left under its temporary name counts, and goes, like the others. */
static bool remove_oldest(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct stat st, oldest = {0};
    _cleanup_free_ char *name = NULL;
    size_t n = 0;
    if (!d) {
        close_fd(copy);
        return false;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        n++;
        if (!name || is_older(&st, &oldest)) {
            xreplace(&name, e->d_name);
            oldest = st;
        }
    }
    closedir(d);
    return n >= FILTER_MAX_FILES && unlinkat(dir, name, 0) == 0;
}

void filter_cache_write(int dir, const struct buf *key, const struct buf *program)
{
    const struct lengths lengths = {key->len, program->len};
    _cleanup_buf_ struct buf file = BUF_INIT(MAX_FILE);
    /* Profiles come and go; a cache that only grew would fill /run. */
    while (remove_oldest(dir))
        ;
    if (buf_add(&file, &lengths, sizeof(lengths)) == 0 &&
        buf_add(&file, key->data, key->len) == 0 &&
        buf_add(&file, program->data, program->len) == 0)
        (void)!file_write_atomic(dir, name_of(key).text, file.data, file.len, 0600);
}
