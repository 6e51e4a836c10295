#include "kernel/passwd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"

#define FIELDS 7

void passwd_user_done(struct passwd_user *u)
{
    free(u->groups);
    free(u->home);
    memset(u, 0, sizeof(*u));
}

struct field_text {
    const char *s;
    size_t len;
};

/* One line's fields, as pieces of the text. */
struct entry {
    struct field_text field[FIELDS];
    size_t n;
};

/* Gives the next line's fields and moves *at behind it; false at the end. Lines of the "+name" kind
 * are for services that are not here. */
static bool next_entry(const char **at, struct entry *ret)
{
    while (**at) {
        const char *line = *at;
        size_t len = strcspn(line, "\n");
        *at = line + len + (line[len] == '\n');
        if (len == 0 || strchr("+-#", line[0]))
            continue;
        ret->n = 0;
        for (size_t start = 0; start <= len && ret->n < FIELDS;) {
            size_t end = start;
            while (end < len && line[end] != ':')
                end++;
            ret->field[ret->n++] = (struct field_text){line + start, end - start};
            start = end + 1;
        }
        return true;
    }
    return false;
}

static bool is(struct field_text f, const char *s)
{
    return f.len == strlen(s) && memcmp(f.s, s, f.len) == 0;
}

static bool all_digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == '\0';
}

/* An id; the last one is the kernel's "no change". */
static int parse_id(const char *s, uint32_t *ret)
{
    uint32_t id;
    int r = parse_u32(s, &id);
    if (r < 0 || id == UINT32_MAX)
        return -ERANGE;
    *ret = id;
    return 0;
}

static bool field_id(struct field_text f, uint32_t *ret)
{
    char text[16];
    if (f.len == 0 || f.len >= sizeof(text))
        return false;
    memcpy(text, f.s, f.len);
    text[f.len] = '\0';
    return all_digits(text) && parse_id(text, ret) == 0;
}

static bool is_listed(struct field_text list, const char *name)
{
    for (size_t start = 0; start < list.len;) {
        size_t end = start;
        while (end < list.len && list.s[end] != ',')
            end++;
        if (is((struct field_text){list.s + start, end - start}, name))
            return true;
        start = end + 1;
    }
    return false;
}

static int add_group(struct passwd_user *u, uint32_t gid, struct error *err)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return 0;
    if (gid == u->gid)
        return 0;
    if (u->n_groups == PASSWD_MAX_GROUPS)
        return error_set(err, ERROR_LIMIT, E2BIG, "the user is in more than %d groups",
                         PASSWD_MAX_GROUPS);
    if (u->n_groups % 64 == 0)
        u->groups = xreallocarray(u->groups, u->n_groups + 64, sizeof(*u->groups));
    u->groups[u->n_groups++] = gid;
    return 0;
}

static int find_groups(const char *group, const char *name, struct passwd_user *u,
                       struct error *err)
{
    struct entry e;
    uint32_t gid;
    int r = 0;
    while (r == 0 && group && next_entry(&group, &e))
        if (e.n >= 4 && field_id(e.field[2], &gid) && is_listed(e.field[3], name))
            r = add_group(u, gid, err);
    return r;
}

/* The first entry whose name, or with a number whose uid, is it. *ret_name is owned. */
static bool find_user(const char *passwd, const char *name, const uint32_t *number,
                      struct passwd_user *u, char **ret_name)
{
    struct entry e;
    uint32_t uid, gid;
    while (passwd && next_entry(&passwd, &e)) {
        if (e.n < 4 || e.field[0].len == 0 || !field_id(e.field[2], &uid) ||
            !field_id(e.field[3], &gid) || (number ? uid != *number : !is(e.field[0], name)))
            continue;
        u->uid = uid;
        u->gid = gid;
        if (e.n >= 6 && e.field[5].len > 0)
            u->home = xstrndup(e.field[5].s, e.field[5].len);
        *ret_name = xstrndup(e.field[0].s, e.field[0].len);
        return true;
    }
    return false;
}

static int resolve_user(const char *passwd, const char *user, struct passwd_user *u,
                        char **ret_name, struct error *err)
{
    uint32_t number;
    if (!all_digits(user))
        return find_user(passwd, user, NULL, u, ret_name)
                   ? 0
                   : error_set(err, ERROR_NOT_FOUND, ENOENT, "no user \"%s\" in /etc/passwd", user);
    if (parse_id(user, &number) < 0)
        return error_invalid(err, "\"%s\" is no user id", user);
    u->uid = number;
    (void)find_user(passwd, NULL, &number, u, ret_name);
    return 0;
}

static int resolve_group(const char *group, const char *name, uint32_t *ret, struct error *err)
{
    struct entry e;
    if (all_digits(name))
        return parse_id(name, ret) < 0 ? error_invalid(err, "\"%s\" is no group id", name) : 0;
    while (group && next_entry(&group, &e))
        if (e.n >= 3 && is(e.field[0], name) && field_id(e.field[2], ret))
            return 0;
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "no group \"%s\" in /etc/group", name);
}

int passwd_lookup_text(const char *passwd, const char *group, const char *spec,
                       struct passwd_user *ret, struct error *err)
{
    _cleanup_(passwd_user_done) struct passwd_user u = {0};
    _cleanup_free_ char *user = xstrdup(spec), *name = NULL;
    char *colon = strchr(user, ':');
    if (colon)
        *colon++ = '\0';
    if (!*user || (colon && !*colon) || (colon && strchr(colon, ':')))
        return error_invalid(err, "\"%s\" is no user or user:group", spec);
    int r = resolve_user(passwd, user, &u, &name, err);
    if (r == 0 && colon)
        r = resolve_group(group, colon, &u.gid, err);
    else if (r == 0 && name)
        r = find_groups(group, name, &u, err);
    if (r < 0)
        return r;
    *ret = u;
    memset(&u, 0, sizeof(u));
    return 0;
}

/* *ret stays NULL when there is no such file. */
static int read_in_root(int rootfd, const char *path, char **ret, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd = path_open_in_root(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd < 0)
        return error_errno(err, fd, "open %s of the image", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "%s of the image is no regular file", path);
    _cleanup_buf_ struct buf text = BUF_INIT(PASSWD_MAX_BYTES);
    int r = fd_read_to_end(fd, &text);
    if (r == -EFBIG)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s of the image is larger than %zu bytes", path,
                         PASSWD_MAX_BYTES);
    if (r < 0)
        return error_errno(err, r, "read %s of the image", path);
    *ret = buf_take(&text);
    return 0;
}

int passwd_lookup(int rootfd, const char *spec, struct passwd_user *ret, struct error *err)
{
    _cleanup_free_ char *passwd = NULL, *group = NULL;
    const char *colon = strchr(spec, ':');
    int r = read_in_root(rootfd, "/etc/passwd", &passwd, err);
    /* With a group given as a number the group file has nothing to say. */
    if (r == 0 && !(colon && all_digits(colon + 1)))
        r = read_in_root(rootfd, "/etc/group", &group, err);
    return r < 0 ? r : passwd_lookup_text(passwd, group, spec, ret, err);
}

int passwd_add_groups(int rootfd, char *const *groups, struct passwd_user *u, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    int r = groups && groups[0] ? read_in_root(rootfd, "/etc/group", &text, err) : 0;
    for (size_t i = 0; r == 0 && groups && groups[i]; i++) {
        uint32_t gid;
        r = resolve_group(text, groups[i], &gid, err);
        if (r == 0)
            r = add_group(u, gid, err);
    }
    return r;
}

char *passwd_home(int rootfd, uint32_t uid)
{
    _cleanup_(passwd_user_done) struct passwd_user u = {0};
    _cleanup_free_ char *passwd = NULL, *name = NULL;
    if (read_in_root(rootfd, "/etc/passwd", &passwd, NULL) < 0)
        return NULL;
    (void)find_user(passwd, NULL, &uid, &u, &name);
    return TAKE_PTR(u.home);
}
