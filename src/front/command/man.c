/* Manual pages in roff, one per verb, from the same tables as --help. */
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "front/command/command.h"

/* Text with roff's own characters made harmless: "-", "\", and a control character at a line's
 * beginning. */
static void print_text(FILE *out, const char *s)
{
    bool line_start = true;
    for (; *s; s++) {
        if (line_start && (*s == '.' || *s == '\''))
            fputs("\\&", out);
        if (*s == '-')
            fputs("\\-", out);
        else if (*s == '\\')
            fputs("\\e", out);
        else
            fputc(*s, out);
        line_start = *s == '\n';
    }
}

static void print_option(void *context, const struct cli_option *o)
{
    FILE *out = context;
    fputs(".TP\n", out);
    if (o->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    print_text(out, o->name);
    fputs("\\fR", out);
    if (o->argument) {
        fputs(" \\fI", out);
        print_text(out, o->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    print_text(out, o->help);
    fputc('\n', out);
}

/* "proa-network-create": owned. */
static char *page_name(const struct command_set *set, const struct command *c)
{
    char *name = c ? xasprintf("%s-%s", set->program, c->name) : xstrdup(set->program);
    for (char *s = name; *s; s++)
        if (*s == ' ')
            *s = '-';
    return name;
}

static void print_title(FILE *out, const struct command_set *set, const struct command *c)
{
    _cleanup_free_ char *name = page_name(set, c);
    fputs(".TH ", out);
    for (const char *s = name; *s; s++)
        fputc(*s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s, out);
    fprintf(out, " 1 \"\" \"%s %s\" \"Proa\"\n.SH NAME\n", set->program, PROA_VERSION);
    print_text(out, name);
    fputs(" \\- ", out);
    print_text(out, c ? c->summary : set->tagline);
}

static void print_program_verb(void *context, const char *verb, const struct command *c)
{
    FILE *out = context;
    fprintf(out, ".TP\n\\fB%s\\fR\n", verb);
    print_text(out, c->summary);
    fputc('\n', out);
}

static void print_program(FILE *out, const struct command_set *set)
{
    fputs("\n.SH COMMANDS\n", out);
    command_each(set, NULL, false, print_program_verb, out);
    for (size_t i = 0; i < set->n_groups; i++) {
        if (set->groups[i].hidden)
            continue;
        fprintf(out, ".TP\n\\fB%s\\fR \\fICOMMAND\\fR\n", set->groups[i].name);
        print_text(out, set->groups[i].summary);
        fputc('\n', out);
    }
    fputs(".SH OPTIONS\n", out);
    options_each(set->global, print_option, out);
}

void man_print(FILE *out, const struct command_set *set, const struct command *c)
{
    const struct command *shown = c ? c : set->global;
    print_title(out, set, c);
    fprintf(out, "\n.SH SYNOPSIS\n\\fB%s%s%s\\fR ", set->program, c ? " " : "", c ? c->name : "");
    print_text(out, shown->usage);
    if (shown->description) {
        fputs("\n.SH DESCRIPTION\n", out);
        print_text(out, shown->description);
    }
    if (!c) {
        print_program(out, set);
        return;
    }
    fputs("\n.SH OPTIONS\n", out);
    options_each(c, print_option, out);
    fprintf(out, ".TP\n\\fB\\-\\-help\\fR\nPrint help and leave\n.SH SEE ALSO\n\\fB%s\\fR(1)\n",
            set->program);
}

static int write_page(const struct command_set *set, const struct command *c, const char *dir,
                      struct error *err)
{
    _cleanup_free_ char *name = page_name(set, c), *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return error_errno(err, errno, "make a manual page");
    man_print(out, set, c);
    if (fclose(out) != 0)
        return error_errno(err, ENOMEM, "make a manual page");
    _cleanup_free_ char *path = xasprintf("%s/%s.1", dir, name);
    int r = file_write_atomic(AT_FDCWD, path, text, size, 0644);
    return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int man_write_all(const struct command_set *set, const char *dir, struct error *err)
{
    int r = path_make_dirs(dir, 0755);
    if (r < 0)
        return error_errno(err, r, "make directory %s", dir);
    r = write_page(set, NULL, dir, err);
    for (size_t i = 0; r == 0 && i < set->n_commands; i++)
        if (set->commands[i]->section != SECTION_HIDDEN)
            r = write_page(set, set->commands[i], dir, err);
    return r;
}
