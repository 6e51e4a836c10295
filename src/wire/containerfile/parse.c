/* Instructions: one table says what each is and how its argument is read. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "wire/containerfile/containerfile-internal.h"

typedef int reader(struct containerfile_step *s, char escape, struct error *err);
static reader read_copy, read_command, read_pairs, read_words, read_from, read_health, read_text,
    read_shell, read_volume, read_onbuild;

static const char *const add_flags[] = {"chown", "chmod", "link", "checksum", "keep-git-dir", NULL};
static const char *const copy_flags[] = {"from", "chown", "chmod", "link", NULL};
static const char *const from_flags[] = {"platform", NULL};
static const char *const health_flags[] = {"interval",       "timeout", "start-period",
                                           "start-interval", "retries", NULL};
static const char *const run_flags[] = {"mount", "network", "security", NULL};

static const struct {
    const char *name;
    reader *read;
    const char *const *flags;
    bool docs;
} instructions[CF_COUNT] = {
    [CF_ADD] = {"ADD", read_copy, add_flags, true},
    [CF_ARG] = {"ARG", read_words, NULL, false},
    [CF_CMD] = {"CMD", read_command, NULL, false},
    [CF_COPY] = {"COPY", read_copy, copy_flags, true},
    [CF_ENTRYPOINT] = {"ENTRYPOINT", read_command, NULL, false},
    [CF_ENV] = {"ENV", read_pairs, NULL, false},
    [CF_EXPOSE] = {"EXPOSE", read_words, NULL, false},
    [CF_FROM] = {"FROM", read_from, from_flags, false},
    [CF_HEALTHCHECK] = {"HEALTHCHECK", read_health, health_flags, false},
    [CF_LABEL] = {"LABEL", read_pairs, NULL, false},
    [CF_MAINTAINER] = {"MAINTAINER", read_text, NULL, false},
    [CF_ONBUILD] = {"ONBUILD", read_onbuild, NULL, false},
    [CF_RUN] = {"RUN", read_command, run_flags, true},
    [CF_SHELL] = {"SHELL", read_shell, NULL, false},
    [CF_STOPSIGNAL] = {"STOPSIGNAL", read_text, NULL, false},
    [CF_USER] = {"USER", read_text, NULL, false},
    [CF_VOLUME] = {"VOLUME", read_volume, NULL, false},
    [CF_WORKDIR] = {"WORKDIR", read_text, NULL, false},
};

const char *containerfile_kind_name(enum containerfile_kind kind)
{
    return instructions[kind].name;
}

const char *containerfile_flag(const struct containerfile_step *s, const char *name)
{
    for (size_t i = s->n_flags; i-- > 0;)
        if (strcmp(s->flags[i].name, name) == 0)
            return s->flags[i].value;
    return NULL;
}

void containerfile_step_done(struct containerfile_step *s)
{
    for (size_t i = 0; i < s->n_flags; i++)
        free(s->flags[i].value);
    for (size_t i = 0; i < s->n_docs; i++) {
        free(s->docs[i].name);
        free(s->docs[i].text);
    }
    free(s->flags);
    free(s->docs);
    free(s->text);
    strv_free(s->words);
    memset(s, 0, sizeof(*s));
}

void containerfile_done(struct containerfile *f)
{
    for (size_t i = 0; i < f->n_steps; i++)
        containerfile_step_done(&f->steps[i]);
    free(f->steps);
    free(f->stages);
    free(f->name);
    memset(f, 0, sizeof(*f));
}

/* --- the arguments --- */

static int read_text(struct containerfile_step *s, char escape, struct error *err)
{
    (void)escape, (void)err;
    s->words = NULL;
    return 0;
}

static int read_words(struct containerfile_step *s, char escape, struct error *err)
{
    return cf_split(s->text, escape, &s->words, err);
}

static int read_pairs(struct containerfile_step *s, char escape, struct error *err)
{
    return cf_split_pairs(s->text, escape, containerfile_kind_name(s->kind), &s->words, err);
}

static int read_command(struct containerfile_step *s, char escape, struct error *err)
{
    (void)escape;
    int r = cf_parse_list(s->text, &s->words, err);
    s->exec_form = s->words != NULL;
    if (r == 0 && s->kind == CF_RUN && s->exec_form && !s->words[0])
        return error_invalid(err, "RUN of an empty list");
    return r;
}

static int read_shell(struct containerfile_step *s, char escape, struct error *err)
{
    int r = read_command(s, escape, err);
    if (r == 0 && (!s->exec_form || !s->words[0]))
        return error_invalid(err, "SHELL wants a list: SHELL [\"/bin/sh\", \"-c\"]");
    return r;
}

static int read_volume(struct containerfile_step *s, char escape, struct error *err)
{
    int r = read_command(s, escape, err);
    return r < 0 || s->exec_form ? r : read_words(s, escape, err);
}

static int read_copy(struct containerfile_step *s, char escape, struct error *err)
{
    int r = read_command(s, escape, err);
    if (r == 0 && !s->exec_form)
        r = cf_split(s->text, escape, &s->words, err);
    if (r == 0 && strv_len(s->words) < 2)
        return error_invalid(err, "%s wants a source and a destination",
                             containerfile_kind_name(s->kind));
    return r;
}

static bool is_stage_name(const char *name)
{
    if (!isalpha((unsigned char)*name) || strlen(name) > 128)
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_' && *p != '.')
            return false;
    return true;
}

static int read_from(struct containerfile_step *s, char escape, struct error *err)
{
    _cleanup_strv_ char **words = NULL;
    int r = cf_split(s->text, escape, &words, err);
    if (r < 0)
        return r;
    size_t n = strv_len(words);
    if (n != 1 && (n != 3 || strcasecmp(words[1], "AS") != 0))
        return error_invalid(err, "FROM wants IMAGE or IMAGE AS NAME");
    if (n == 3 && !is_stage_name(words[2]))
        return error_invalid(err, "\"%.60s\" is no name of a stage", words[2]);
    strv_add(&s->words, words[0]);
    for (char *p = n == 3 ? words[2] : NULL; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (n == 3)
        strv_add(&s->words, words[2]);
    return 0;
}

static int read_health(struct containerfile_step *s, char escape, struct error *err)
{
    const char *end = cf_word_end(s->text, escape), *rest = cf_skip_blanks(end);
    size_t len = (size_t)(end - s->text);
    if (len == 4 && strncasecmp(s->text, "NONE", 4) == 0 && !*rest) {
        strv_add(&s->words, "NONE");
        return 0;
    }
    if (len != 3 || strncasecmp(s->text, "CMD", 3) != 0 || !*rest)
        return error_invalid(err, "HEALTHCHECK wants CMD and a command, or NONE");
    char *command = xstrdup(rest);
    free(s->text);
    s->text = command;
    return read_command(s, escape, err);
}

static int read_onbuild(struct containerfile_step *s, char escape, struct error *err)
{
    struct containerfile_step later = {.kind = CF_COUNT};
    (void)escape;
    int r = containerfile_parse_line(s->text, &later, err);
    enum containerfile_kind kind = later.kind;
    bool docs = later.n_docs > 0;
    containerfile_step_done(&later);
    if (r < 0)
        return error_prefix(err, "ONBUILD");
    if (kind == CF_ONBUILD || kind == CF_FROM || kind == CF_MAINTAINER)
        return error_invalid(err, "ONBUILD cannot hold %s", containerfile_kind_name(kind));
    return docs ? error_invalid(err, "ONBUILD cannot hold a here-document") : 0;
}

/* --- a line --- */

static int find_kind(const char *line, size_t len, enum containerfile_kind *ret, struct error *err)
{
    for (int kind = 0; kind < CF_COUNT; kind++)
        if (strlen(instructions[kind].name) == len &&
            strncasecmp(instructions[kind].name, line, len) == 0) {
            *ret = (enum containerfile_kind)kind;
            return 0;
        }
    return error_invalid(err, "unknown instruction \"%.*s\"", (int)MIN(len, 40), line);
}

static int read_line(const char *line, char escape, struct containerfile_step *s, struct error *err)
{
    const char *text = line;
    while (*text && *text != ' ' && *text != '\t')
        text++;
    int r = find_kind(line, (size_t)(text - line), &s->kind, err);
    if (r < 0)
        return r;
    text = cf_skip_blanks(text);
    if (instructions[s->kind].flags &&
        (r = cf_take_flags(s, &text, instructions[s->kind].flags, escape, err)) < 0)
        return r;
    if (!*text)
        return error_invalid(err, "%s needs an argument", instructions[s->kind].name);
    s->text = xstrdup(text);
    if ((r = instructions[s->kind].read(s, escape, err)) < 0)
        return r;
    return instructions[s->kind].docs && !s->exec_form ? cf_find_docs(s, escape, err) : 0;
}

int containerfile_parse_line(const char *text, struct containerfile_step *ret, struct error *err)
{
    struct containerfile_step s = {.kind = CF_COUNT};
    int r = read_line(text, '\\', &s, err);
    if (r < 0)
        containerfile_step_done(&s);
    else
        *ret = s;
    return r;
}

/* --- the file --- */

static int add_stage(struct containerfile *f, const struct containerfile_step *s, struct error *err)
{
    if (s->kind == CF_FROM) {
        const char *name = s->words[1];
        for (size_t i = 0; name && i < f->n_stages; i++)
            if (f->stages[i].name && strcmp(f->stages[i].name, name) == 0)
                return error_invalid(err, "two stages are named \"%.60s\"", name);
        if (f->n_stages == CONTAINERFILE_MAX_STAGES)
            return error_set(err, ERROR_LIMIT, E2BIG, "more than %u stages",
                             CONTAINERFILE_MAX_STAGES);
        f->stages = xreallocarray(f->stages, f->n_stages + 1, sizeof(*f->stages));
        f->stages[f->n_stages++] = (struct containerfile_stage){.from = f->n_steps, .name = name};
    } else if (f->n_stages == 0 && s->kind != CF_ARG) {
        return error_invalid(err, "%s before the first FROM", containerfile_kind_name(s->kind));
    }
    if (f->n_stages > 0)
        f->stages[f->n_stages - 1].end = f->n_steps + 1;
    return 0;
}

static int read_step(struct containerfile *f, struct cf_lines *l, const char *line,
                     unsigned int number, struct error *err)
{
    struct containerfile_step s = {.line = number};
    if (f->n_steps == CONTAINERFILE_MAX_STEPS)
        return error_set(err, ERROR_LIMIT, E2BIG, "more than %u instructions",
                         CONTAINERFILE_MAX_STEPS);
    int r = read_line(line, f->escape, &s, err);
    for (size_t i = 0; r == 0 && i < s.n_docs; i++)
        r = cf_lines_doc(l, &s.docs[i], err);
    if (r == 0)
        r = add_stage(f, &s, err);
    if (r < 0) {
        containerfile_step_done(&s);
        return error_prefix(err, "%s:%u", f->name, number);
    }
    f->steps = xreallocarray(f->steps, f->n_steps + 1, sizeof(*f->steps));
    f->steps[f->n_steps++] = s;
    return 0;
}

static int read_file(struct containerfile *f, struct cf_lines *l, struct error *err)
{
    _cleanup_buf_ struct buf line = BUF_INIT(CONTAINERFILE_MAX_BYTES);
    unsigned int number = 0;
    int r = cf_lines_directives(l, err);
    if (r < 0)
        return error_prefix(err, "%s:%u", f->name, l->number);
    f->escape = l->escape;
    while ((r = cf_lines_next(l, &line, &number, err)) > 0)
        if (line.len > 0 && (r = read_step(f, l, line.data, number, err)) < 0)
            return r;
    if (r == 0 && f->n_stages == 0)
        return error_invalid(err, "%s: there is no FROM in it", f->name);
    return r;
}

int containerfile_parse(const char *text, size_t len, const char *name, struct containerfile *ret,
                        struct error *err)
{
    struct containerfile f = {.name = xstrdup(name)};
    struct cf_lines l = {.at = text, .end = text + len, .escape = '\\'};
    int r = 0;
    if (len > CONTAINERFILE_MAX_BYTES)
        r = error_set(err, ERROR_LIMIT, EFBIG, "%s is larger than %zu bytes", name,
                      CONTAINERFILE_MAX_BYTES);
    else if (!containerfile_text_valid(text, len))
        r = error_invalid(err, "%s is no text in UTF-8", name);
    if (r == 0 && len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        l.at += 3;
    if (r == 0)
        r = read_file(&f, &l, err);
    if (r < 0)
        containerfile_done(&f);
    else
        *ret = f;
    return r;
}
