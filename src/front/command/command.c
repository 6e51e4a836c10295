#include "front/command/command.h"

#include <string.h>

#include "base/alloc.h"

bool command_names_have(const char *names, const char *name)
{
    size_t len = strlen(name);
    while (names && *names) {
        size_t n = strcspn(names, ",");
        if (n == len && strncmp(names, name, len) == 0)
            return true;
        names += n + (names[n] == ',');
    }
    return false;
}

static bool is_named(const struct command *c, const char *name)
{
    return strcmp(c->name, name) == 0 || command_names_have(c->aliases, name);
}

static const struct command *find_named(const struct command_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_commands; i++)
        if (is_named(set->commands[i], name))
            return set->commands[i];
    return NULL;
}

enum command_found command_find(const struct command_set *set, char *const *argv,
                                const struct command **ret, const struct command_group **ret_group,
                                size_t *ret_words)
{
    *ret_group = NULL;
    for (size_t i = 0; i < set->n_groups; i++)
        if (strcmp(set->groups[i].name, argv[0]) == 0)
            *ret_group = &set->groups[i];
    *ret_words = *ret_group ? 2 : 1;
    if (*ret_group && (!argv[1] || argv[1][0] == '-')) {
        *ret_words = 1;
        return COMMAND_GROUP;
    }
    char name[128];
    int n = *ret_group ? snprintf(name, sizeof(name), "%s %s", argv[0], argv[1])
                       : snprintf(name, sizeof(name), "%s", argv[0]);
    *ret = n < 0 || n >= (int)sizeof(name) ? NULL : find_named(set, name);
    return *ret ? COMMAND_FOUND : COMMAND_UNKNOWN;
}

/* The part of a name that stands after the group's word, or NULL when it is not of that group. */
static const char *verb_in_group(const char *name, const struct command_group *group)
{
    if (!group)
        return strchr(name, ' ') ? NULL : name;
    size_t len = strlen(group->name);
    return strncmp(name, group->name, len) == 0 && name[len] == ' ' ? name + len + 1 : NULL;
}

struct verb {
    char *name;
    const struct command *command;
};

static int by_verb(const void *a, const void *b)
{
    return strcmp(((const struct verb *)a)->name, ((const struct verb *)b)->name);
}

/* Adds one verb for each name, or for the first, that c has in the group. */
static size_t add_verbs(struct verb *verbs, size_t n, const struct command *c,
                        const struct command_group *group, bool every_name)
{
    const char *names = c->name;
    size_t before = n;
    while (names && *names && (every_name || n == before)) {
        size_t len = strcspn(names, ",");
        _cleanup_free_ char *name = xstrndup(names, len);
        const char *verb = verb_in_group(name, group);
        if (verb) {
            verbs[n].name = xstrdup(verb);
            verbs[n++].command = c;
        }
        names = names == c->name ? c->aliases : names + len + (names[len] == ',');
    }
    return n;
}

static size_t count_names(const struct command *c)
{
    size_t n = 2;
    for (const char *a = c->aliases; a && *a; a++)
        n += *a == ',';
    return n;
}

void command_each(const struct command_set *set, const struct command_group *group, bool every_name,
                  void (*each)(void *context, const char *verb, const struct command *c),
                  void *context)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n_commands; i++)
        n += count_names(set->commands[i]);
    _cleanup_free_ struct verb *verbs = xcalloc(n + 1, sizeof(*verbs));
    n = 0;
    for (size_t i = 0; i < set->n_commands; i++)
        if (set->commands[i]->section != SECTION_HIDDEN)
            n = add_verbs(verbs, n, set->commands[i], group, every_name);
    qsort(verbs, n, sizeof(*verbs), by_verb);
    for (size_t i = 0; i < n; i++) {
        each(context, verbs[i].name, verbs[i].command);
        free(verbs[i].name);
    }
}

/* Edit distance with exchanged neighbours; words longer than the table are never close. */
static unsigned int distance(const char *a, const char *b)
{
    enum { LONGEST = 24 };
    unsigned int d[LONGEST + 1][LONGEST + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned int)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned int)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            unsigned int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, d[i - 1][j] + 1);
            best = MIN(best, d[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[n][m];
}

struct nearest {
    const char *word;
    const struct command_group *group;
    const char *name; /* static text */
    unsigned int distance;
};

static void consider(struct nearest *n, const char *candidate)
{
    unsigned int d = distance(n->word, candidate);
    if (d >= n->distance || d >= strlen(candidate))
        return;
    n->distance = d;
    n->name = candidate;
}

const char *command_suggest(const struct command_set *set, const struct command_group *group,
                            const char *word)
{
    struct nearest nearest = {.word = word, .group = group, .distance = 3};
    for (size_t i = 0; i < set->n_commands; i++) {
        const char *verb = verb_in_group(set->commands[i]->name, group);
        if (verb && set->commands[i]->section != SECTION_HIDDEN)
            consider(&nearest, verb);
    }
    for (size_t i = 0; !group && i < set->n_groups; i++)
        if (!set->groups[i].hidden)
            consider(&nearest, set->groups[i].name);
    return nearest.name;
}
