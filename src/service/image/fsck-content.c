/*
 * Content of repositories: each file against its digest. It can be as large as a layer and of two
 * algorithms, so it is hashed by the program that hashes uploads.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/program.h"
#include "base/strv.h"
#include "service/image/fsck-internal.h"
#include "service/store/content.h"
#include "service/store/image.h"

static char *path_of(struct check *c, const char *digest)
{
    size_t algorithm = strcspn(digest, ":");
    return xasprintf("%s/blobs/%.*s/%s", c->s->root, (int)algorithm, digest,
                     digest + algorithm + 1);
}

/* *ret is the digest that the file has; owned. */
static int hash_file(int fd, const char *digest, char **ret, struct error *err)
{
    _cleanup_free_ char *program = NULL, *algorithm = xstrndup(digest, strcspn(digest, ":"));
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    _cleanup_json_ json_t *o = NULL;
    const char *found = NULL;
    int r = program_find("proa-serve", &program, err);
    char *const argv[] = {program, (char *)"hash", algorithm, NULL};
    if (r < 0 || (r = process_run(program, argv, fd, &out, err)) < 0 ||
        (r = json_parse(out.data ? out.data : "", out.len, "proa-serve", &o, err)) < 0 ||
        (r = json_get_string(o, "proa-serve", "digest", &found, err)) < 0)
        return r;
    *ret = xstrdup(found ? found : "");
    return 0;
}

/* *ret_why: what is wrong with the file, NULL when nothing is; owned. */
static int check_file(struct check *c, const struct store_content *k, char **ret_why,
                      struct error *err)
{
    _cleanup_free_ char *path = path_of(c, k->digest), *found = NULL;
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0) {
        char text[128];
        *ret_why = xstrdup(error_text(errno, text, sizeof(text)));
        return 0;
    }
    c->f->blobs++;
    c->f->bytes += (uint64_t)st.st_size;
    int r = hash_file(fd, k->digest, &found, err);
    if (r == 0 && (strcmp(found, k->digest) != 0 || (uint64_t)st.st_size != k->bytes))
        *ret_why = xstrdup("it does not have the digest of its name");
    return r;
}

/* The rows go with the file: it can be pushed again. */
static int forget(struct check *c, const char *digest, struct error *err)
{
    _cleanup_free_ char *path = path_of(c, digest);
    bool used = true;
    int r = store_begin(c->s, err);
    if (r < 0)
        return r;
    r = store_content_forget(c->s, digest, err);
    if (r == 0)
        r = store_blob_used(c->s, digest, &used, err);
    if (r == 0 && !used)
        unlink(path);
    int ended = store_end(c->s, r == 0, r == 0 ? err : NULL);
    if (r == 0 && ended == 0)
        strv_addf(&c->f->repaired, "pushed %s: removed: push it again", digest);
    return r < 0 ? r : ended;
}

static int check_one(struct check *c, const struct store_content *k, struct error *err)
{
    _cleanup_free_ char *why = NULL;
    bool used = false;
    int r = check_file(c, k, &why, err);
    if (r < 0 || !why || (r = store_blob_used(c->s, k->digest, &used, err)) < 0 || !used)
        return r; /* or it was deleted meanwhile */
    strv_addf(&c->f->faults, "pushed %s: %s", k->digest, why);
    return c->repair ? forget(c, k->digest, err) : 0;
}

int fsck_content(struct check *c, struct error *err)
{
    struct store_content *list = NULL;
    int r = store_content_list(c->s, &list, err);
    for (size_t i = 0; r == 0 && list[i].digest; i++)
        r = check_one(c, &list[i], err);
    store_content_list_free(list);
    return r;
}
