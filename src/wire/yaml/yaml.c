#include "wire/yaml/yaml.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

struct builder {
    struct fy_parser *parser;
    struct yaml **documents;
    size_t n_documents;
    struct yaml *stack[YAML_MAX_DEPTH]; /* open mappings and sequences */
    char *keys[YAML_MAX_DEPTH];         /* of a mapping that waits for a value */
    size_t depth, n_values;
    const char *what;
};

void yaml_free(struct yaml *y)
{
    if (!y)
        return;
    for (size_t i = 0; i < y->n; i++) {
        if (y->keys)
            free(y->keys[i]);
        yaml_free(y->list[i]);
    }
    free(y->keys);
    free(y->list);
    free(y->text);
    free(y);
}

void yaml_free_list(struct yaml **list)
{
    for (size_t i = 0; list && list[i]; i++)
        yaml_free(list[i]);
    free(list);
}

static int wrong_at(const struct builder *b, const struct fy_event *e, struct error *err,
                    const char *message)
{
    const struct fy_mark *mark = e ? fy_event_start_mark((struct fy_event *)e) : NULL;
    return error_invalid(err, "%s: line %d: %s", b->what, mark ? mark->line + 1 : 1, message);
}

/* Room for one more, doubled: the number is bounded by YAML_MAX_VALUES. */
static void *grown(void *list, size_t n, size_t size)
{
    return n == 0 || (n & (n - 1)) == 0 ? xreallocarray(list, n ? n * 2 : 1, size) : list;
}

static int add_to_mapping(struct builder *b, struct yaml *map, struct yaml *y,
                          const struct fy_event *e, struct error *err)
{
    char **key = &b->keys[b->depth - 1];
    if (!*key) {
        if (y->type != YAML_SCALAR)
            return wrong_at(b, e, err, "a key must be a word");
        if (map->n == YAML_MAX_KEYS)
            return wrong_at(b, e, err, "too many keys in one mapping");
        for (size_t i = 0; i < map->n; i++)
            if (strcmp(map->keys[i], y->text) == 0)
                return wrong_at(b, e, err, "a key stands here twice");
        *key = TAKE_PTR(y->text);
        yaml_free(y);
        return 0;
    }
    map->keys = grown(map->keys, map->n, sizeof(*map->keys));
    map->list = grown(map->list, map->n, sizeof(*map->list));
    map->keys[map->n] = TAKE_PTR(*key);
    map->list[map->n++] = y;
    return 0;
}

/* Puts a finished scalar, or a mapping or sequence that begins, where it belongs; takes y when it
 * succeeds. */
static int place(struct builder *b, struct yaml *y, const struct fy_event *e, struct error *err)
{
    if (++b->n_values > YAML_MAX_VALUES)
        return wrong_at(b, e, err, "too many values");
    if (b->depth == 0) {
        b->documents = xreallocarray(b->documents, b->n_documents + 2, sizeof(*b->documents));
        b->documents[b->n_documents++] = y;
        b->documents[b->n_documents] = NULL;
        return 0;
    }
    struct yaml *parent = b->stack[b->depth - 1];
    if (parent->type == YAML_MAPPING)
        return add_to_mapping(b, parent, y, e, err);
    parent->list = grown(parent->list, parent->n, sizeof(*parent->list));
    parent->list[parent->n++] = y;
    return 0;
}

static struct yaml *node(enum yaml_type type, const struct fy_event *e)
{
    struct yaml *y = xnew(struct yaml);
    const struct fy_mark *mark = fy_event_start_mark((struct fy_event *)e);
    y->type = type;
    y->line = mark ? (uint32_t)mark->line + 1 : 1;
    return y;
}

static int see_scalar(struct builder *b, const struct fy_event *e, struct error *err)
{
    struct fy_token *token = e->scalar.value;
    size_t len = 0;
    const char *text = token ? fy_token_get_text(token, &len) : "";
    if (e->scalar.anchor || e->scalar.tag)
        return wrong_at(b, e, err, "anchors and tags are not taken here");
    if (text && memchr(text, '\0', len))
        return wrong_at(b, e, err, "a zero byte");
    struct yaml *y = node(YAML_SCALAR, e);
    y->text = xstrndup(text ? text : "", len);
    y->plain = !token || fy_token_scalar_style(token) == FYSS_PLAIN;
    int r = place(b, y, e, err);
    if (r < 0)
        yaml_free(y);
    return r;
}

static int see_start(struct builder *b, enum yaml_type type, const struct fy_event *e,
                     struct error *err)
{
    if (type == YAML_MAPPING ? e->mapping_start.anchor || e->mapping_start.tag
                             : e->sequence_start.anchor || e->sequence_start.tag)
        return wrong_at(b, e, err, "anchors and tags are not taken here");
    if (b->depth == YAML_MAX_DEPTH)
        return wrong_at(b, e, err, "too many levels");
    struct yaml *y = node(type, e);
    int r = place(b, y, e, err);
    if (r < 0) {
        yaml_free(y);
        return r;
    }
    b->stack[b->depth++] = y;
    return 0;
}

static int see(struct builder *b, const struct fy_event *e, struct error *err)
{
    switch (e->type) {
    case FYET_SCALAR:
        return see_scalar(b, e, err);
    case FYET_MAPPING_START:
        return see_start(b, YAML_MAPPING, e, err);
    case FYET_SEQUENCE_START:
        return see_start(b, YAML_SEQUENCE, e, err);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        b->depth--;
        return 0;
    case FYET_ALIAS:
        return wrong_at(b, e, err, "aliases are not taken here");
    default:
        return 0;
    }
}

/* libfyaml's own message, which begins with the place. */
static int syntax_error(const struct builder *b, struct fy_diag *diag, struct error *err)
{
    void *at = NULL;
    const struct fy_diag_error *e = diag ? fy_diag_errors_iterate(diag, &at) : NULL;
    if (!e || !e->msg)
        return error_invalid(err, "%s: not YAML", b->what);
    return error_invalid(err, "%s: line %d: %.200s", b->what, MAX(e->line, 1), e->msg);
}

static int run(struct builder *b, struct fy_diag *diag, struct error *err)
{
    struct fy_event *e;
    int r = 0;
    bool ended = false;
    while (r == 0 && !ended && (e = fy_parser_parse(b->parser))) {
        ended = e->type == FYET_STREAM_END;
        r = see(b, e, err);
        fy_parser_event_free(b->parser, e);
    }
    return r == 0 && !ended ? syntax_error(b, diag, err) : r;
}

/* Documents with nothing in them go. */
static struct yaml **without_empty(struct yaml **list)
{
    size_t kept = 0;
    if (!list)
        return xcalloc(1, sizeof(*list));
    for (size_t i = 0; list[i]; i++) {
        if (yaml_is_null(list[i]))
            yaml_free(list[i]);
        else
            list[kept++] = list[i];
    }
    list[kept] = NULL;
    return list;
}

static struct fy_diag *make_diag(void)
{
    struct fy_diag_cfg cfg;
    fy_diag_cfg_default(&cfg);
    cfg.fp = NULL;
    cfg.level = FYET_ERROR;
    cfg.colorize = false;
    struct fy_diag *diag = fy_diag_create(&cfg);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    return diag;
}

int yaml_parse(const char *text, size_t len, const char *what, struct yaml ***ret,
               struct error *err)
{
    struct builder b = {.what = what};
    struct fy_diag *diag = NULL;
    if (len > YAML_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, EFBIG, "%s: more than %zu bytes", what, YAML_MAX_BYTES);
    if (len == 0) {
        *ret = xcalloc(1, sizeof(**ret));
        return 0;
    }
    diag = make_diag();
    struct fy_parse_cfg cfg = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DISABLE_MMAP_OPT,
        .diag = diag,
    };
    b.parser = fy_parser_create(&cfg);
    int r = 0;
    if (!b.parser || fy_parser_set_string(b.parser, text, len) < 0)
        r = error_set(err, ERROR_SYSTEM, ENOMEM, "%s: cannot start the YAML parser", what);
    if (r == 0)
        r = run(&b, diag, err);
    if (b.parser)
        fy_parser_destroy(b.parser);
    if (diag)
        fy_diag_destroy(diag);
    for (size_t i = 0; i < YAML_MAX_DEPTH; i++)
        free(b.keys[i]);
    if (r < 0)
        yaml_free_list(b.documents);
    else
        *ret = without_empty(b.documents);
    return r;
}
