/*
 * What is mounted into an instance: -v, --mount, --tmpfs and the image's own volumes become one
 * list, the last word for a target winning and the image's volumes yielding to the user's. Nothing
 * is created here; start.c does that.
 */
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/engine-internal.h"

#define MAX_MOUNTS 256

static void spec_mount_done(struct spec_mount *m)
{
    free(m->type);
    free(m->name);
    free(m->source);
    free(m->target);
    free(m->data);
    memset(m, 0, sizeof(*m));
}

void spec_mounts_done(struct spec_mounts *m)
{
    for (size_t i = 0; i < m->n; i++)
        spec_mount_done(&m->list[i]);
    free(m->list);
    m->list = NULL;
    m->n = 0;
}

static struct spec_mount *find_target(struct spec_mounts *m, const char *target)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->list[i].target, target) == 0)
            return &m->list[i];
    return NULL;
}

/* Takes what new_mount owns. */
static int add_mount(struct spec_mounts *m, struct spec_mount *new_mount, const char *text,
                     struct error *err)
{
    if (!new_mount->target || new_mount->target[0] != '/')
        return error_invalid(err, "mount \"%.128s\": the path in the instance must be absolute",
                             text);
    char *target = path_normalize(new_mount->target);
    free(new_mount->target);
    new_mount->target = target;
    if (strcmp(target, "/") == 0)
        return error_invalid(err, "mount \"%.128s\": the root of the instance cannot be replaced",
                             text);
    if (strchr(target, ':') || (new_mount->source && strchr(new_mount->source, ':')))
        return error_invalid(err, "mount \"%.128s\": a path must not hold a colon", text);
    if (find_target(m, target))
        return error_set(err, ERROR_CONFLICT, EEXIST, "duplicate mount point: %s", target);
    if (m->n >= MAX_MOUNTS)
        return error_invalid(err, "more than %d mounts", MAX_MOUNTS);
    m->list = xreallocarray(m->list, m->n + 1, sizeof(*m->list));
    m->list[m->n++] = *new_mount;
    memset(new_mount, 0, sizeof(*new_mount));
    return 0;
}

static int set_source(struct spec_mount *m, const char *source, struct error *err)
{
    struct stat st;
    if (source[0] == '/') {
        m->type = xstrdup("bind");
        m->source = path_normalize(source);
        if (stat(m->source, &st) < 0)
            return error_errno(err, errno, "bind mount source %s", m->source);
        return 0;
    }
    if (!path_is_name(source))
        return error_invalid(err,
                             "\"%.128s\" is neither an absolute path nor a volume name "
                             "(for a relative directory write $PWD/%.64s)",
                             source, source);
    m->type = xstrdup("volume");
    m->name = xstrdup(source);
    m->copy_up = true;
    return 0;
}

static int parse_volume_flags(struct spec_mount *m, const char *flags, const char *text,
                              struct error *err)
{
    _cleanup_strv_ char **list = strv_split(flags, ',');
    for (size_t i = 0; list[i]; i++) {
        if (strcmp(list[i], "ro") == 0)
            m->read_only = true;
        else if (strcmp(list[i], "nocopy") == 0)
            m->copy_up = false;
        else if (strcmp(list[i], "rw") != 0 && strcasecmp(list[i], "z") != 0 &&
                 strcmp(list[i], "rprivate") != 0 && strcmp(list[i], "private") != 0)
            return error_invalid(
                err, "volume \"%.128s\": unknown option \"%.32s\" (ro, rw, nocopy)", text, list[i]);
    }
    return 0;
}

/* NAME:/PATH[:FLAGS], /HOST:/PATH[:FLAGS] or /PATH */
static int parse_volume(const char *text, struct spec_mounts *mounts, struct error *err)
{
    _cleanup_strv_ char **parts = strv_split(text, ':');
    _cleanup_(spec_mount_done) struct spec_mount m = {0};
    size_t n = strv_len(parts);
    int r = 0;
    if (n == 0 || n > 3)
        return error_invalid(err, "volume \"%.128s\": use [NAME or /HOST/PATH:]/PATH[:ro]", text);
    if (n == 1) {
        m.type = xstrdup("volume");
        m.anonymous = m.copy_up = true;
        m.target = xstrdup(parts[0]);
    } else {
        r = set_source(&m, parts[0], err);
        m.target = xstrdup(parts[1]);
        if (r == 0 && n == 3)
            r = parse_volume_flags(&m, parts[2], text, err);
    }
    return r < 0 ? r : add_mount(mounts, &m, text, err);
}

/* /PATH[:OPTIONS] */
static int parse_tmpfs(const char *text, struct spec_mounts *mounts, struct error *err)
{
    _cleanup_(spec_mount_done) struct spec_mount m = {0};
    const char *colon = strchrnul(text, ':');
    m.type = xstrdup("tmpfs");
    m.target = xstrndup(text, (size_t)(colon - text));
    m.data = *colon ? xstrdup(colon + 1) : NULL;
    return add_mount(mounts, &m, text, err);
}

struct mount_words {
    const char *type, *source, *target, *size;
    bool read_only, no_copy;
};

static int read_mount_word(const char *word, struct mount_words *w, struct error *err)
{
    static const struct {
        const char *key;
        size_t field;
    } keys[] = {
        {"type=", offsetof(struct mount_words, type)},
        {"source=", offsetof(struct mount_words, source)},
        {"src=", offsetof(struct mount_words, source)},
        {"target=", offsetof(struct mount_words, target)},
        {"dst=", offsetof(struct mount_words, target)},
        {"destination=", offsetof(struct mount_words, target)},
        {"tmpfs-size=", offsetof(struct mount_words, size)},
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strncmp(word, keys[i].key, strlen(keys[i].key)) == 0) {
            *(const char **)((char *)w + keys[i].field) = word + strlen(keys[i].key);
            return 0;
        }
    if (strcmp(word, "readonly") == 0 || strcmp(word, "ro") == 0 ||
        strcmp(word, "readonly=true") == 0 || strcmp(word, "ro=true") == 0)
        w->read_only = true;
    else if (strcmp(word, "volume-nocopy") == 0 || strcmp(word, "volume-nocopy=true") == 0)
        w->no_copy = true;
    else if (strcmp(word, "readonly=false") != 0 && strcmp(word, "ro=false") != 0)
        return error_invalid(err, "--mount: unknown option \"%.64s\"", word);
    return 0;
}

/* type=bind|volume|tmpfs,source=...,target=...[,readonly][,tmpfs-size=...] */
static int parse_mount(const char *text, struct spec_mounts *mounts, struct error *err)
{
    _cleanup_strv_ char **words = strv_split(text, ',');
    _cleanup_(spec_mount_done) struct spec_mount m = {0};
    struct mount_words w = {.type = "volume"};
    int r = 0;
    for (size_t i = 0; r == 0 && words[i]; i++)
        r = read_mount_word(words[i], &w, err);
    if (r < 0)
        return r;
    if (!w.target)
        return error_invalid(err, "--mount \"%.128s\": target= is missing", text);
    if (strcmp(w.type, "tmpfs") == 0) {
        m.type = xstrdup("tmpfs");
        m.data = w.size ? xasprintf("size=%s", w.size) : NULL;
    } else if (strcmp(w.type, "bind") == 0 && (!w.source || w.source[0] != '/')) {
        return error_invalid(err, "--mount \"%.128s\": source= must be an absolute path", text);
    } else if (strcmp(w.type, "volume") == 0 && w.source && w.source[0] == '/') {
        return error_invalid(err, "--mount \"%.128s\": a path needs type=bind", text);
    } else if (strcmp(w.type, "bind") != 0 && strcmp(w.type, "volume") != 0) {
        return error_invalid(err, "--mount: type \"%.32s\" is none of bind, volume, tmpfs", w.type);
    } else if (!w.source) {
        m.type = xstrdup("volume");
        m.anonymous = m.copy_up = true;
    } else {
        r = set_source(&m, w.source, err);
    }
    m.target = xstrdup(w.target);
    m.read_only = w.read_only;
    if (w.no_copy)
        m.copy_up = false;
    return r < 0 ? r : add_mount(mounts, &m, text, err);
}

static int parse_each(char *const *texts, struct spec_mounts *mounts,
                      int (*parse)(const char *, struct spec_mounts *, struct error *),
                      struct error *err)
{
    for (size_t i = 0; texts && texts[i]; i++) {
        int r = parse(texts[i], mounts, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_image_volumes(const struct image *image, struct spec_mounts *mounts,
                             struct error *err)
{
    for (size_t i = 0; image->volumes && image->volumes[i]; i++) {
        const char *text = image->volumes[i];
        _cleanup_(spec_mount_done) struct spec_mount m = {.target = path_normalize(text)};
        if (find_target(mounts, m.target))
            continue;
        /* A path, not words of --volume; and it is written as NAME:PATH into the options. */
        if (strchr(m.target, ':'))
            return error_invalid(err, "volume \"%.128s\" of the image: its path holds a \":\"",
                                 text);
        m.type = xstrdup("volume");
        m.anonymous = m.copy_up = true;
        int r = add_mount(mounts, &m, text, err);
        if (r < 0)
            return error_prefix(err, "volume of the image");
    }
    return 0;
}

int spec_mounts_parse(const struct create_options *o, const struct image *image,
                      struct spec_mounts *ret, struct error *err)
{
    _cleanup_(spec_mounts_done) struct spec_mounts mounts = {0};
    int r = parse_each(o->volumes, &mounts, parse_volume, err);
    if (r == 0)
        r = parse_each(o->mounts, &mounts, parse_mount, err);
    if (r == 0)
        r = parse_each(o->tmpfs, &mounts, parse_tmpfs, err);
    if (r == 0)
        r = add_image_volumes(image, &mounts, err);
    if (r < 0)
        return r;
    *ret = mounts;
    memset(&mounts, 0, sizeof(mounts));
    return 0;
}
