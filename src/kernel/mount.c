#include "kernel/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"

#define MOUNT_TABLE_MAX ((size_t)16 << 20)

/* A word that sets or clears attributes of the mount. For the access times a value replaces a whole
 * field, which is what `clear` says. */
static const struct {
    const char *name;
    uint64_t set, clear;
    bool recursive;
} attribute_words[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0, false},
    {"rw", 0, MOUNT_ATTR_RDONLY, false},
    {"nosuid", MOUNT_ATTR_NOSUID, 0, false},
    {"suid", 0, MOUNT_ATTR_NOSUID, false},
    {"nodev", MOUNT_ATTR_NODEV, 0, false},
    {"dev", 0, MOUNT_ATTR_NODEV, false},
    {"noexec", MOUNT_ATTR_NOEXEC, 0, false},
    {"exec", 0, MOUNT_ATTR_NOEXEC, false},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, false},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, false},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, false},
    {"norelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, false},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, false},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, false},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0, false},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME, false},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, false},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW, false},
    {"rro", MOUNT_ATTR_RDONLY, 0, true},
    {"rrw", 0, MOUNT_ATTR_RDONLY, true},
    {"rnosuid", MOUNT_ATTR_NOSUID, 0, true},
    {"rsuid", 0, MOUNT_ATTR_NOSUID, true},
    {"rnodev", MOUNT_ATTR_NODEV, 0, true},
    {"rdev", 0, MOUNT_ATTR_NODEV, true},
    {"rnoexec", MOUNT_ATTR_NOEXEC, 0, true},
    {"rexec", 0, MOUNT_ATTR_NOEXEC, true},
    {"rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, true},
    {"ratime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, true},
    {"rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, true},
    {"rnorelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, true},
    {"rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, true},
    {"rnostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, true},
    {"rnodiratime", MOUNT_ATTR_NODIRATIME, 0, true},
    {"rdiratime", 0, MOUNT_ATTR_NODIRATIME, true},
    {"rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, true},
    {"rsymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW, true},
    {"defaults", 0, 0, false},
    {"silent", 0, 0, false},
    {"loud", 0, 0, false},
};

static const struct {
    const char *name;
    unsigned long flags;
} propagation_words[] = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
    {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
    {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};

static bool attribute_word(const char *word, struct mount_options *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(attribute_words); i++) {
        if (strcmp(attribute_words[i].name, word) != 0)
            continue;
        uint64_t set = attribute_words[i].set, clear = attribute_words[i].clear;
        uint64_t *sets = attribute_words[i].recursive ? &o->recursive_set : &o->set;
        uint64_t *clears = attribute_words[i].recursive ? &o->recursive_clear : &o->clear;
        *sets = (*sets & ~clear) | set;
        *clears = (*clears & ~set) | clear;
        return true;
    }
    return false;
}

static bool propagation_word(const char *word, struct mount_options *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(propagation_words); i++)
        if (strcmp(propagation_words[i].name, word) == 0) {
            o->propagation = propagation_words[i].flags;
            return true;
        }
    return false;
}

static bool other_word(const char *word, struct mount_options *o)
{
    if (strcmp(word, "bind") == 0)
        o->bind = true;
    else if (strcmp(word, "rbind") == 0)
        o->bind = o->recursive = true;
    else if (strcmp(word, "tmpcopyup") == 0)
        o->copy_up = true;
    else if (strcmp(word, "notmpcopyup") == 0)
        o->copy_up = false;
    else
        return false;
    return true;
}

/* "idmap", or "idmap=MAPPINGS", which are not this module's to read. */
static bool id_map_word(const char *word, struct mount_options *o)
{
    bool is_recursive = *word == 'r';
    if (strncmp(word + is_recursive, "idmap", 5) != 0 ||
        (word[is_recursive + 5] && word[is_recursive + 5] != '='))
        return false;
    o->id_map = true;
    o->id_map_recursive |= is_recursive;
    o->recursive |= is_recursive;
    return true;
}

void mount_options_parse(char *const *words, struct mount_options *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; words && words[i]; i++)
        if (*words[i] && !attribute_word(words[i], ret) && !propagation_word(words[i], ret) &&
            !other_word(words[i], ret) && !id_map_word(words[i], ret))
            strv_add(&ret->data, words[i]);
}

char **mount_option_words(void)
{
    /* From "sync" on they are of every file system: the kernel takes them for a new one. */
    static const char *const others[] = {
        "bind",  "rbind",   "idmap",    "ridmap",     "tmpcopyup", "sync",
        "async", "dirsync", "lazytime", "nolazytime", "mand",      "nomand",
    };
    size_t n = 0;
    const char **words = xcalloc(ARRAY_SIZE(attribute_words) + ARRAY_SIZE(propagation_words) +
                                     ARRAY_SIZE(others) + 1,
                                 sizeof(*words));
    for (size_t i = 0; i < ARRAY_SIZE(attribute_words); i++)
        words[n++] = attribute_words[i].name;
    for (size_t i = 0; i < ARRAY_SIZE(propagation_words); i++)
        words[n++] = propagation_words[i].name;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        words[n++] = others[i];
    return (char **)words;
}

void mount_options_done(struct mount_options *o)
{
    strv_free(o->data);
    memset(o, 0, sizeof(*o));
}

/* What a file system says about a failed fsconfig, when it says something. */
static int fs_error(int fs, int errnum, const char *type, struct error *err)
{
    char said[256];
    ssize_t n = read(fs, said, sizeof(said) - 1);
    if (n <= 2)
        return error_errno(err, errnum, "mount %s", type);
    said[n] = '\0';
    said[strcspn(said, "\n")] = '\0';
    return error_errno(err, errnum, "mount %s: %s", type, said + 2);
}

static int fs_option(int fs, const char *option)
{
    char key[128];
    const char *equals = strchr(option, '=');
    if (!equals)
        return fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
    if (snprintf(key, sizeof(key), "%.*s", (int)(equals - option), option) >= (int)sizeof(key)) {
        errno = EINVAL;
        return -1;
    }
    return fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0);
}

int mount_new(const char *type, const char *source, const struct mount_options *o, int *ret_fd,
              struct error *err)
{
    _cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return error_errno(err, errno, "mount %s", type);
    if (source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
        return fs_error(fs, errno, type, err);
    for (size_t i = 0; o && o->data && o->data[i]; i++)
        if (fs_option(fs, o->data[i]) < 0)
            return error_prefix((fs_error(fs, errno, type, err), err), "option \"%s\"", o->data[i]);
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fs_error(fs, errno, type, err);
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, o ? (unsigned int)(o->set | o->recursive_set) : 0);
    if (fd < 0)
        return error_errno(err, errno, "mount %s", type);
    *ret_fd = fd;
    return 0;
}

int mount_clone(int dirfd, const char *path, bool recursive)
{
    unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    int fd = open_tree(dirfd, path, flags | (recursive ? AT_RECURSIVE : 0));
    return fd < 0 ? -errno : fd;
}

int mount_attach(int mount_fd, int target_fd)
{
    unsigned int flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    return move_mount(mount_fd, "", target_fd, "", flags) < 0 ? -errno : 0;
}

static int set_attributes(int fd, struct mount_attr *attr, bool recursive)
{
    unsigned int flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    return mount_setattr(fd, "", flags, attr, sizeof(*attr)) < 0 ? -errno : 0;
}

int mount_set(int mount_fd, uint64_t set, uint64_t clear, bool recursive)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = clear};
    return set || clear ? set_attributes(mount_fd, &attr, recursive) : 0;
}

int mount_apply(int mount_fd, const struct mount_options *o)
{
    int r = mount_set(mount_fd, o->recursive_set, o->recursive_clear, true);
    if (r == 0)
        r = mount_set(mount_fd, o->set, o->clear, false);
    if (r == 0 && o->propagation) {
        struct mount_attr attr = {.propagation = o->propagation & ~(unsigned long)MS_REC};
        r = set_attributes(mount_fd, &attr, o->propagation & MS_REC);
    }
    return r;
}

int mount_id_map(int mount_fd, int user_ns_fd, bool recursive)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_ns_fd};
    return set_attributes(mount_fd, &attr, recursive);
}

char *mount_type_of(const char *path)
{
    struct statx st;
    _cleanup_free_ char *table = NULL;
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID) ||
        file_read_kernel(AT_FDCWD, "/proc/self/mountinfo", MOUNT_TABLE_MAX, &table) < 0)
        return NULL;
    _cleanup_strv_ char **lines = strv_split(table, '\n');
    for (size_t i = 0; lines[i]; i++) {
        char type[64];
        const char *rest = strstr(lines[i], " - ");
        if (strtoull(lines[i], NULL, 10) == st.stx_mnt_id && rest &&
            sscanf(rest, " - %63s", type) == 1)
            return xstrdup(type);
    }
    return NULL;
}
