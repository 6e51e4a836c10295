#include "runtime/oci/rdt.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"

#define RDT_ROOT     "/sys/fs/resctrl"
#define RDT_MAGIC    0x7655821 /* RDTGROUP_SUPER_MAGIC */
#define MAX_SCHEMATA ((size_t)64 << 10)

int rdt_open_root(int *ret_root, struct error *err)
{
    struct statfs st;
    _cleanup_close_ int fd = open(RDT_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &st) < 0 || st.f_type != RDT_MAGIC)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "linux.intelRdt: no resctrl file system is mounted on " RDT_ROOT);
    *ret_root = TAKE_FD(fd);
    return 0;
}

const char *rdt_group_name(const struct oci_intel_rdt *rdt, const char *id)
{
    return !rdt->clos_id ? id : strcmp(rdt->clos_id, "/") == 0 ? "." : rdt->clos_id;
}

/* All lines that the configuration has for the group's schemata; owned. */
static char **wanted_lines(const struct oci_intel_rdt *rdt)
{
    char **lines = strv_copy(rdt->schemata);
    if (rdt->l3_cache_schema)
        strv_add(&lines, rdt->l3_cache_schema);
    if (rdt->mem_bw_schema)
        strv_add(&lines, rdt->mem_bw_schema);
    return lines;
}

int rdt_open_group(int root, const struct oci_intel_rdt *rdt, const char *id, int *ret_group,
                   bool *ret_made, struct error *err)
{
    static char *const reserved[] = {(char *)"info", (char *)"mon_data", (char *)"mon_groups",
                                     NULL};
    const char *name = rdt_group_name(rdt, id);
    _cleanup_strv_ char **lines = wanted_lines(rdt);
    bool makes = (!rdt->clos_id || lines[0]) && strcmp(name, ".") != 0;
    if (strv_has(reserved, name))
        return error_invalid(err, "linux.intelRdt: %s cannot be a group", name);
    bool made = makes && mkdirat(root, name, 0755) == 0;
    if (makes && !made && errno != EEXIST)
        return error_errno(err, errno, "linux.intelRdt: make the group %s", name);
    int group = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (group < 0)
        return error_errno(err, errno, "linux.intelRdt: the group %s", name);
    *ret_group = group;
    /* One by the container's own id that was there is what a killed command left. */
    *ret_made = made || !rdt->clos_id;
    return 0;
}

static const char *without_blanks(const char *line)
{
    return line + strspn(line, " \t");
}

/* Lines of the kernel's are indented. */
static int compare(int group, char *const *lines, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read_kernel(group, "schemata", MAX_SCHEMATA, &text);
    if (r < 0)
        return error_errno(err, r, "linux.intelRdt: read the schemata");
    _cleanup_strv_ char **there = strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++) {
        bool found = false;
        for (size_t j = 0; there[j] && !found; j++)
            found = strcmp(without_blanks(lines[i]), without_blanks(there[j])) == 0;
        if (!found)
            return error_invalid(err,
                                 "linux.intelRdt: the group that is there has other schemata than "
                                 "\"%.100s\"",
                                 lines[i]);
    }
    return 0;
}

int rdt_apply(int group, const struct oci_intel_rdt *rdt, bool made, struct error *err)
{
    _cleanup_strv_ char **lines = wanted_lines(rdt);
    if (!made)
        return compare(group, lines, err);
    for (size_t i = 0; lines[i]; i++) {
        _cleanup_free_ char *line = xasprintf("%s\n", lines[i]);
        int r = file_write_kernel(group, "schemata", line);
        if (r < 0)
            return error_errno(err, r, "linux.intelRdt: write \"%.100s\"", lines[i]);
    }
    return 0;
}

static int add_task(int dir, const char *file, pid_t pid, struct error *err)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)pid);
    int r = file_write_kernel(dir, file, text);
    return r < 0 ? error_errno(err, r, "linux.intelRdt: write to %s", file) : 0;
}

int rdt_join(int group, const struct oci_intel_rdt *rdt, const char *id, pid_t pid,
             struct error *err)
{
    int r = add_task(group, "tasks", pid, err);
    if (r < 0 || !rdt->enable_monitoring)
        return r;
    _cleanup_free_ char *dir = xasprintf("mon_groups/%s", id);
    _cleanup_free_ char *tasks = xasprintf("%s/tasks", dir);
    if (mkdirat(group, dir, 0755) < 0 && errno != EEXIST)
        return error_errno(err, errno, "linux.intelRdt: make %s", dir);
    return add_task(group, tasks, pid, err);
}

static int remove_directory(int root, const char *path, struct error *err)
{
    if (unlinkat(root, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return error_errno(err, errno, "linux.intelRdt: remove %s", path);
}

int rdt_remove(int root, const struct oci_intel_rdt *rdt, const char *id, bool made,
               struct error *err)
{
    const char *name = rdt_group_name(rdt, id);
    _cleanup_free_ char *monitoring = xasprintf("%s/mon_groups/%s", name, id);
    int r = rdt->enable_monitoring ? remove_directory(root, monitoring, err) : 0;
    return r == 0 && made ? remove_directory(root, name, err) : r;
}
