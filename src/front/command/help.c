/* What --help prints, in the layout that Docker's users know, wrapped to the terminal. */
#include <string.h>

#include "front/command/command.h"

enum { INDENT = 2, GAP = 3 };

/* Prints text with its following lines indented, so that none is longer than columns. */
static void print_wrapped(FILE *out, const char *text, unsigned int indent, unsigned int columns)
{
    unsigned int room = columns > indent + 20 ? columns - indent : 20, used = 0;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (used > 0 && used + 1 + word > room) {
            fprintf(out, "\n%*s", (int)indent, "");
            used = 0;
        } else if (used > 0) {
            fputc(' ', out);
            used++;
        }
        fwrite(text, 1, word, out);
        used += (unsigned int)word;
        text += word;
        if (*text == '\n') {
            fprintf(out, "\n%*s", (int)indent, "");
            used = 0;
        }
        text += *text != '\0';
    }
    fputc('\n', out);
}

/* "  -m, --memory bytes" in a buffer of the caller's; gives its length. */
static unsigned int option_head(const struct cli_option *o, char *out, size_t size)
{
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    int n = snprintf(out, size, "%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                     o->argument ? o->argument : "");
    return (unsigned int)n;
}

struct option_list {
    FILE *out;
    unsigned int widest, columns;
};

static void measure_option(void *context, const struct cli_option *o)
{
    struct option_list *l = context;
    char head[160];
    l->widest = MAX(l->widest, option_head(o, head, sizeof(head)));
}

static void print_option(void *context, const struct cli_option *o)
{
    struct option_list *l = context;
    char head[160];
    option_head(o, head, sizeof(head));
    fprintf(l->out, "%*s%-*s", INDENT, "", (int)(l->widest + GAP), head);
    print_wrapped(l->out, o->help, INDENT + l->widest + GAP, l->columns);
}

static void print_options(FILE *out, const struct command *c, const char *title,
                          unsigned int columns)
{
    struct option_list list = {.out = out, .columns = columns};
    options_each(c, measure_option, &list);
    if (list.widest == 0)
        return;
    fprintf(out, "\n%s:\n", title);
    options_each(c, print_option, &list);
}

static void print_aliases(FILE *out, const struct command_set *set, const struct command *c)
{
    if (!c->aliases)
        return;
    fprintf(out, "\nAliases:\n  %s %s", set->program, c->name);
    for (const char *a = c->aliases; *a;) {
        size_t n = strcspn(a, ",");
        fprintf(out, ", %s %.*s", set->program, (int)n, a);
        a += n + (a[n] == ',');
    }
    fputc('\n', out);
}

void help_print(FILE *out, const struct command_set *set, const struct command *c,
                unsigned int columns)
{
    fprintf(out, "Usage:  %s %s%s%s\n\n", set->program, c->name, *c->usage ? " " : "", c->usage);
    print_wrapped(out, c->summary, 0, columns);
    if (c->description) {
        fputc('\n', out);
        print_wrapped(out, c->description, 0, columns);
    }
    print_aliases(out, set, c);
    print_options(out, c, "Options", columns);
}

struct verb_list {
    FILE *out;
    unsigned int widest, columns;
    enum command_section section;
    bool any_section;
};

static bool listed(const struct verb_list *l, const struct command *c)
{
    return l->any_section || c->section == l->section;
}

static void measure_verb(void *context, const char *verb, const struct command *c)
{
    struct verb_list *l = context;
    if (listed(l, c))
        l->widest = MAX(l->widest, (unsigned int)strlen(verb));
}

static void print_line(const struct verb_list *l, const char *name, const char *summary)
{
    fprintf(l->out, "%*s%-*s", INDENT, "", (int)(l->widest + INDENT), name);
    print_wrapped(l->out, summary, INDENT + l->widest + INDENT, l->columns);
}

static void print_verb(void *context, const char *verb, const struct command *c)
{
    struct verb_list *l = context;
    if (listed(l, c))
        print_line(l, verb, c->summary);
}

void help_print_group(FILE *out, const struct command_set *set, const struct command_group *group,
                      unsigned int columns)
{
    struct verb_list list = {.out = out, .columns = columns, .any_section = true};
    fprintf(out, "Usage:  %s %s COMMAND\n\n%s\n\nCommands:\n", set->program, group->name,
            group->summary);
    command_each(set, group, false, measure_verb, &list);
    command_each(set, group, false, print_verb, &list);
    fprintf(out, "\nRun '%s %s COMMAND --help' for more information on a command.\n", set->program,
            group->name);
}

void help_print_all(FILE *out, const struct command_set *set, unsigned int columns)
{
    struct verb_list list = {.out = out, .columns = columns, .section = SECTION_COMMON};
    fprintf(out, "Usage:  %s %s\n\n", set->program, set->global->usage);
    print_wrapped(out, set->tagline, 0, columns);
    command_each(set, NULL, false, measure_verb, &list);
    fputs("\nCommon Commands:\n", out);
    command_each(set, NULL, false, print_verb, &list);

    list.widest = 0;
    for (size_t i = 0; i < set->n_groups; i++)
        if (!set->groups[i].hidden)
            list.widest = MAX(list.widest, (unsigned int)strlen(set->groups[i].name));
    if (set->n_groups)
        fputs("\nManagement Commands:\n", out);
    for (size_t i = 0; i < set->n_groups; i++)
        if (!set->groups[i].hidden)
            print_line(&list, set->groups[i].name, set->groups[i].summary);

    list.section = SECTION_OTHER;
    list.widest = 0;
    command_each(set, NULL, false, measure_verb, &list);
    fputs("\nCommands:\n", out);
    command_each(set, NULL, false, print_verb, &list);
    print_options(out, set->global, "Global Options", columns);
    fprintf(out, "\nRun '%s COMMAND --help' for more information on a command.\n", set->program);
}
