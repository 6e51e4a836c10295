#include "kernel/idmap.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/strv.h"
#include "base/text.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)

/* newuidmap(1) and newgidmap(1) may map what /etc/subuid and /etc/subgid give this user. */
static int map_by_program(const char *program, pid_t pid, const struct ns_id_map *maps, size_t n,
                          struct error *err)
{
    _cleanup_strv_ char **argv = NULL;
    strv_add(&argv, program);
    strv_addf(&argv, "%d", (int)pid);
    for (size_t i = 0; i < n; i++) {
        strv_addf(&argv, "%u", maps[i].inside);
        strv_addf(&argv, "%u", maps[i].outside);
        strv_addf(&argv, "%u", maps[i].size);
    }
    return process_run(program, argv, -EBADF, NULL, err);
}

/* One id, its own, is all that the kernel lets an ordinary user map; and for its group it must give
 * up setgroups(2), by which a process could shed a group that is denied something. */
int idmap_write(pid_t pid, const struct ns_id_map *uids, size_t n_uids,
                const struct ns_id_map *gids, size_t n_gids, struct error *err)
{
    bool own_uid = n_uids == 1 && uids[0].size == 1;
    bool own_gid = n_gids == 1 && gids[0].size == 1;
    int r = 0;
    if (own_gid) {
        _cleanup_free_ char *file = xasprintf("/proc/%d/setgroups", (int)pid);
        if ((r = file_write_kernel(AT_FDCWD, file, "deny")) < 0)
            return error_errno(err, r, "give up supplementary groups");
    }
    if (own_uid && own_gid)
        return ns_write_id_maps(pid, uids, n_uids, gids, n_gids, err);
    if ((r = map_by_program("newuidmap", pid, uids, n_uids, err)) < 0)
        return r;
    return map_by_program("newgidmap", pid, gids, n_gids, err);
}

/* "NAME:FIRST:COUNT", or with a uid in the name's place. */
static bool parse_range(char *line, const char *name, uid_t uid, struct ns_id_map *ret)
{
    uint32_t number;
    _cleanup_strv_ char **parts = strv_split(line, ':');
    if (strv_len(parts) != 3)
        return false;
    bool is_users = (name && strcmp(parts[0], name) == 0) ||
                    (parse_u32(parts[0], &number) == 0 && number == uid);
    return is_users && parse_u32(parts[1], &ret->outside) == 0 &&
           parse_u32(parts[2], &ret->size) == 0 && ret->size > 0;
}

size_t idmap_parse(const char *text, const char *name, uid_t uid, uint32_t own,
                   struct ns_id_map maps[static IDMAP_MAX])
{
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    size_t n = 1;
    uint64_t next = 1;
    maps[0] = (struct ns_id_map){.inside = 0, .outside = own, .size = 1};
    for (size_t i = 0; lines[i] && n < IDMAP_MAX; i++) {
        struct ns_id_map one;
        if (!parse_range(lines[i], name, uid, &one) ||
            (uint64_t)one.outside + one.size > UINT32_MAX || next + one.size > UINT32_MAX)
            continue;
        one.inside = (uint32_t)next;
        next += one.size;
        maps[n++] = one;
    }
    return n;
}

int idmap_read(const char *path, const char *name, uid_t uid, uint32_t own,
               struct ns_id_map maps[static IDMAP_MAX], size_t *ret_n, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = file_read(AT_FDCWD, path, FILE_MAX_BYTES, &text);
    if (r < 0 && r != -ENOENT)
        return error_errno(err, r, "read %s", path);
    *ret_n = idmap_parse(text ? text : "", name, uid, own, maps);
    return 0;
}
