/* The words of RUN --mount: one table says which a mount may have. */
#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/text.h"
#include "engine/build-mounts.h"

static void mount_done(struct build_mount *m)
{
    char *const owned[] = {m->type, m->target, m->source, m->from, m->id, m->sharing,
                           m->size, m->mode,   m->uid,    m->gid,  m->env};
    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        free(owned[i]);
    close_fd(m->lock);
}

void build_mounts_done(struct build_mounts *m)
{
    for (size_t i = 0; i < m->n; i++)
        mount_done(&m->list[i]);
    free(m->list);
    *m = (struct build_mounts){0};
}

#define KIND(name)  (1u << KIND_##name)
#define ALL_KINDS   (KIND(BIND) | KIND(CACHE) | KIND(TMPFS) | KIND(SECRET))
#define FIELD(name) offsetof(struct build_mount, name)

static const struct {
    const char *key;
    size_t field;
    unsigned int kinds;
} words[] = {
    {"type", FIELD(type), ALL_KINDS},
    {"target", FIELD(target), ALL_KINDS},
    {"dst", FIELD(target), ALL_KINDS},
    {"destination", FIELD(target), ALL_KINDS},
    {"source", FIELD(source), KIND(BIND)},
    {"src", FIELD(source), KIND(BIND)},
    {"from", FIELD(from), KIND(BIND)},
    {"id", FIELD(id), KIND(CACHE) | KIND(SECRET)},
    {"sharing", FIELD(sharing), KIND(CACHE)},
    {"mode", FIELD(mode), KIND(CACHE) | KIND(SECRET)},
    {"uid", FIELD(uid), KIND(CACHE) | KIND(SECRET)},
    {"gid", FIELD(gid), KIND(CACHE) | KIND(SECRET)},
    {"size", FIELD(size), KIND(TMPFS)},
    {"env", FIELD(env), KIND(SECRET)},
};

static const struct {
    const char *key;
    size_t field;
    unsigned int kinds;
    bool negated;
} flags[] = {
    {"ro", FIELD(read_only), KIND(BIND) | KIND(CACHE), false},
    {"readonly", FIELD(read_only), KIND(BIND) | KIND(CACHE), false},
    {"rw", FIELD(writable), KIND(BIND) | KIND(CACHE), false},
    {"readwrite", FIELD(writable), KIND(BIND) | KIND(CACHE), false},
    {"required", FIELD(required), KIND(SECRET), false},
};

static int read_kind(struct build_mount *m, char *const *parts, struct error *err)
{
    static const char *const names[] = {"bind", "cache", "tmpfs", "secret"};
    const char *type = "bind";
    for (size_t i = 0; parts[i]; i++)
        if (strncmp(parts[i], "type=", 5) == 0)
            type = parts[i] + 5;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(type, names[i]) == 0) {
            m->kind = (enum mount_kind)i;
            return 0;
        }
    if (strcmp(type, "ssh") == 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "--mount=type=ssh: an agent is not passed on; use a secret");
    return error_invalid(err, "--mount: type \"%.40s\" is none of bind, cache, tmpfs, secret",
                         type);
}

static int read_word(struct build_mount *m, const char *word, struct error *err)
{
    size_t len = strcspn(word, "=");
    const char *value = word[len] ? word + len + 1 : NULL;
    for (size_t i = 0; value && i < ARRAY_SIZE(words); i++)
        if (strlen(words[i].key) == len && strncmp(word, words[i].key, len) == 0 &&
            (words[i].kinds & 1u << m->kind)) {
            xreplace((char **)((char *)m + words[i].field), value);
            return 0;
        }
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (strlen(flags[i].key) == len && strncmp(word, flags[i].key, len) == 0 &&
            (flags[i].kinds & 1u << m->kind) &&
            (!value || strcmp(value, "true") == 0 || strcmp(value, "false") == 0)) {
            *(bool *)((char *)m + flags[i].field) = !value || strcmp(value, "true") == 0;
            return 0;
        }
    return error_invalid(err, "--mount: \"%.60s\" is not understood", word);
}

int build_mount_id(const char *text, uint32_t otherwise, uint32_t *ret, struct error *err)
{
    *ret = otherwise;
    return text && parse_u32(text, ret) < 0 ? error_invalid(err, "\"%.40s\" is no id", text) : 0;
}

int build_mount_mode(const char *text, mode_t otherwise, mode_t *ret, struct error *err)
{
    mode_t mode = 0;
    const char *p = text;
    *ret = otherwise;
    for (; p && *p >= '0' && *p <= '7' && mode <= 07777; p++)
        mode = mode * 8 + (mode_t)(*p - '0');
    if (p && (*p || p == text || mode > 07777))
        return error_invalid(err, "mode=%.40s: use an octal number such as 0755", text);
    if (p)
        *ret = mode;
    return 0;
}

/* What must hold whatever is run. */
static int check(struct build_stage *s, struct build_mount *m, struct error *err)
{
    uint32_t id;
    mode_t mode;
    int r;
    if (m->kind == KIND_SECRET && !m->id && !m->target)
        return error_invalid(err, "--mount=type=secret: id= is missing");
    if (m->kind == KIND_SECRET && !m->id)
        m->id = xstrdup(strrchr(m->target, '/') ? strrchr(m->target, '/') + 1 : m->target);
    if (m->kind == KIND_SECRET && !m->target && !m->env)
        m->target = xasprintf("/run/secrets/%s", m->id);
    if (!m->target && !m->env)
        return error_invalid(err, "--mount: target= is missing");
    if (m->target) {
        char *path = build_path(s, m->target);
        free(m->target);
        m->target = path;
        if (strcmp(path, "/") == 0 || strchr(path, ':'))
            return error_invalid(err, "--mount: the target \"%.100s\" is not possible", path);
    }
    if (m->sharing && strcmp(m->sharing, "shared") != 0 && strcmp(m->sharing, "private") != 0 &&
        strcmp(m->sharing, "locked") != 0)
        return error_invalid(err, "sharing=%.40s: one of shared, private, locked", m->sharing);
    if (m->size && parse_size(m->size, &(uint64_t){0}) < 0)
        return error_invalid(err, "size=%.40s: use a size such as 64m", m->size);
    if ((r = build_mount_id(m->uid, 0, &id, err)) < 0 ||
        (r = build_mount_id(m->gid, 0, &id, err)) < 0)
        return r;
    return build_mount_mode(m->mode, 0, &mode, err);
}

static int parse_one(struct build_stage *s, const char *text, struct build_mounts *to,
                     struct error *err)
{
    _cleanup_free_ char *expanded = NULL;
    int r = build_expand(s, text, &expanded, err);
    if (r < 0)
        return r;
    _cleanup_strv_ char **parts = strv_split(expanded, ',');
    to->list = xreallocarray(to->list, to->n + 1, sizeof(*to->list));
    struct build_mount *m = &to->list[to->n++];
    *m = (struct build_mount){.lock = -EBADF};
    r = read_kind(m, parts, err);
    for (size_t i = 0; r == 0 && parts[i]; i++)
        r = read_word(m, parts[i], err);
    return r < 0 ? r : check(s, m, err);
}

int build_mounts_parse(struct build_stage *s, const struct containerfile_step *step,
                       struct build_mounts *ret, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < step->n_flags; i++)
        if (strcmp(step->flags[i].name, "mount") == 0)
            r = parse_one(s, step->flags[i].value, ret, err);
    return r;
}
