/*
 * The row is the truth: creation writes it first and the directory after it, and whoever finds a
 * row without a directory makes it, so that a killed command leaves nothing that nobody owns. In a
 * larger transaction the directory waits for its end. Removal goes the other way round, by way of
 * ROOT/tmp, which the next command's repair empties.
 */
#include "service/volume/volume.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/store/volume.h"

void volume_free(struct volume *v)
{
    if (!v)
        return;
    free(v->name);
    free(v->path);
    strv_free(v->labels);
    free(v);
}

static struct volume *volume_from_record(struct store *s, const struct volume_record *r)
{
    struct volume *v = xnew(struct volume);
    v->name = xstrdup(r->name);
    v->path = xasprintf("%s/volumes/%s/data", s->root, r->name);
    v->created_ns = r->created_ns;
    v->labels = strv_split(r->labels, '\n');
    return v;
}

/* Docker's rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+ */
static int check_name(const char *name, struct error *err)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t len = strlen(name);
    if (len < 2 || len > 128 || !strchr(first, name[0]) ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != len)
        return error_invalid(err,
                             "\"%.64s\" is no volume name: two to 128 letters, digits, \"_\", "
                             "\".\" or \"-\", the first a letter or digit",
                             name);
    return 0;
}

static int make_directory(struct store *s, const char *name, struct error *err)
{
    _cleanup_free_ char *top = xasprintf("%s/volumes/%s", s->root, name);
    _cleanup_free_ char *data = path_join(top, "data");
    if (mkdir(top, 0711) < 0 && errno != EEXIST)
        return error_errno(err, errno, "create %s", top);
    if (mkdir(data, 0755) == 0)
        return chmod(data, 0755) < 0 ? error_errno(err, errno, "create %s", data) : 0;
    return errno == EEXIST ? 0 : error_errno(err, errno, "create %s", data);
}

int volume_create(struct store *s, const char *name, char *const *labels, struct volume **ret,
                  struct error *err)
{
    char random[65];
    if (!name) {
        random_hex(random, 32);
        name = random;
    }
    int r = check_name(name, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *joined = labels ? strv_join(labels, "\n") : xstrdup("");
    struct volume_record record = {(char *)name, time_now_ns(), joined};
    r = store_volume_add(s, &record, err);
    if (r == 0 && s->depth == 0)
        r = make_directory(s, name, err);
    if (r == 0)
        *ret = volume_from_record(s, &record);
    return r;
}

int volume_list(struct store *s, struct volume ***ret, struct error *err)
{
    struct volume_record *records;
    int r = store_volume_list(s, NULL, &records, err);
    if (r < 0)
        return r;
    size_t n = 0;
    while (records[n].name)
        n++;
    struct volume **list = xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = volume_from_record(s, &records[i]);
    volume_record_list_free(records);
    *ret = list;
    return 0;
}

void volume_list_free(struct volume **list)
{
    for (size_t i = 0; list && list[i]; i++)
        volume_free(list[i]);
    free(list);
}

int volume_find(struct store *s, const char *name, struct volume **ret, struct error *err)
{
    struct volume_record *records;
    int r = store_volume_list(s, name, &records, err);
    if (r < 0)
        return r;
    if (records[0].name) {
        if (s->depth == 0)
            r = make_directory(s, name, err);
        if (r == 0)
            *ret = volume_from_record(s, &records[0]);
    } else {
        r = error_set(err, ERROR_NOT_FOUND, ENOENT,
                      "no such volume: %.128s (proa volume ls lists them)", name);
    }
    volume_record_list_free(records);
    return r;
}

int volume_remove(struct store *s, const char *name, struct error *err)
{
    _cleanup_volume_ struct volume *v = NULL;
    char random[17];
    int r = volume_find(s, name, &v, err);
    if (r < 0)
        return r;
    random_hex(random, 8);
    _cleanup_free_ char *top = xasprintf("%s/volumes/%s", s->root, name);
    _cleanup_free_ char *doomed = xasprintf("%s/tmp/%d-%s", s->root, (int)getpid(), random);
    if (rename(top, doomed) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove %s", top);
    r = store_volume_remove(s, name, err);
    if (r < 0)
        return r;
    r = path_remove_tree(AT_FDCWD, doomed);
    return r < 0 ? error_errno(err, r, "remove %s", doomed) : 0;
}
