/*
 * Which modules, in which order. The package carries no modules.dep (its installation makes that),
 * so the needs are read where depmod would read them: the "depends=" line of each module's
 * .modinfo section. A module is copied after all that it depends on.
 */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "runtime/vm/prepare/prepare.h"

#define DEPTH_MAX 8

struct collection {
    const char *tree, *to;
    char **done; /* names, in order */
};

static void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Module names use "_" where file names may use "-". Some distributions compress them. */
static bool same_module(const char *file, const char *name)
{
    static const char *const endings[] = {".ko", ".ko.xz", ".ko.zst", ".ko.gz"};
    size_t i = 0;
    for (; name[i] && file[i]; i++)
        if ((file[i] == '-' ? '_' : file[i]) != (name[i] == '-' ? '_' : name[i]))
            return false;
    for (size_t e = 0; !name[i] && e < ARRAY_SIZE(endings); e++)
        if (strcmp(file + i, endings[e]) == 0)
            return true;
    return false;
}

static char *find_module(const char *dir, const char *name, int depth)
{
    _cleanup_(cleanup_dir) DIR *d = depth > 0 ? opendir(dir) : NULL;
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        _cleanup_free_ char *path = path_join(dir, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (entry->d_type == DT_REG && same_module(entry->d_name, name))
            return TAKE_PTR(path);
        char *found = entry->d_type == DT_DIR ? find_module(path, name, depth - 1) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

/* The .modinfo section of a 64-bit module: NUL-separated KEY=VALUE. */
static int find_modinfo(const char *data, size_t len, const char **ret, size_t *ret_len)
{
    static const char wanted[] = ".modinfo";
    Elf64_Ehdr header;
    if (len < sizeof(header))
        return -EBADMSG;
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > len ||
        header.e_shnum > (len - header.e_shoff) / sizeof(Elf64_Shdr) ||
        header.e_shstrndx >= header.e_shnum)
        return -EBADMSG;
    Elf64_Shdr names, section;
    memcpy(&names, data + header.e_shoff + header.e_shstrndx * sizeof(names), sizeof(names));
    for (size_t i = 0; i < header.e_shnum; i++) {
        memcpy(&section, data + header.e_shoff + i * sizeof(section), sizeof(section));
        if (names.sh_offset > len || section.sh_name > len - names.sh_offset ||
            section.sh_offset > len || section.sh_size > len - section.sh_offset)
            continue;
        const char *name = data + names.sh_offset + section.sh_name;
        if ((size_t)(data + len - name) < sizeof(wanted) || memcmp(name, wanted, sizeof(wanted)))
            continue;
        *ret = data + section.sh_offset;
        *ret_len = section.sh_size;
        return 0;
    }
    return -EBADMSG;
}

int module_needs(const char *data, size_t data_len, char ***ret)
{
    const char *info = NULL;
    size_t len = 0;
    int r = find_modinfo(data, data_len, &info, &len);
    if (r < 0)
        return r;
    for (size_t at = 0; at < len; at += strnlen(info + at, len - at) + 1)
        if (len - at > 8 && memcmp(info + at, "depends=", 8) == 0) {
            _cleanup_free_ char *list = xstrndup(info + at + 8, len - at - 8);
            *ret = strv_split(list, ',');
            return 0;
        }
    *ret = strv_split("", ',');
    return 0;
}

/* The module as the kernel loads it. */
static int read_module(const char *path, struct buf *out)
{
    _cleanup_buf_ struct buf packed = BUF_INIT(MODULE_MAX_BYTES);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_to_end(fd, &packed);
    if (r < 0 || (packed.len > SELFMAG && memcmp(packed.data, ELFMAG, SELFMAG) == 0))
        return r < 0 ? r : buf_add(out, packed.data, packed.len);
    return packed.len ? inflate_bytes(packed.data, packed.len, out) : -EBADMSG;
}

static int collect(struct collection *c, const char *name, bool optional, int depth,
                   struct error *err)
{
    _cleanup_buf_ struct buf file = BUF_INIT(MODULE_MAX_BYTES);
    _cleanup_strv_ char **needs = NULL;
    if (strv_has(c->done, name))
        return 0;
    if (depth == 0 || strv_len(c->done) >= MODULES_MAX)
        return error_set(err, ERROR_LIMIT, ELOOP, "module %s needs too many others", name);
    _cleanup_free_ char *path = find_module(c->tree, name, 12);
    if (!path)
        return optional ? 0
                        : error_set(err, ERROR_NOT_FOUND, ENOENT,
                                    "the kernel package has no module %s", name);
    int r = read_module(path, &file);
    if (r == 0)
        r = module_needs(file.data, file.len, &needs);
    if (r < 0)
        return error_errno(err, r, "read module %s", path);
    for (size_t i = 0; needs[i]; i++) {
        r = *needs[i] ? collect(c, needs[i], false, depth - 1, err) : 0;
        if (r < 0)
            return r;
    }
    _cleanup_free_ char *to = xasprintf("%s/%03zu-%s.ko", c->to, strv_len(c->done), name);
    strv_add(&c->done, name);
    r = file_write_atomic(AT_FDCWD, to, file.data, file.len, 0644);
    return r < 0 ? error_errno(err, r, "write %s", to) : 0;
}

int modules_collect(const char *tree, const struct module_wish *wishes, size_t n, const char *to,
                    struct error *err)
{
    struct collection c = {tree, to, NULL};
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = collect(&c, wishes[i].name, wishes[i].optional, DEPTH_MAX, err);
    strv_free(c.done);
    return r;
}
