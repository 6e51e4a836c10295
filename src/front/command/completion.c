/*
 * Completion scripts. Each shell gets the commands and options as data of its own form; the names
 * of instances, images, networks and volumes are asked of the program when Tab is pressed.
 */
#include <string.h>

#include "base/alloc.h"
#include "front/command/command.h"

static const char *const kinds[] = {
    [COMPLETES_NOTHING] = "nothing",   [COMPLETES_INSTANCE] = "instance",
    [COMPLETES_RUNNING] = "running",   [COMPLETES_IMAGE] = "image",
    [COMPLETES_NETWORK] = "network",   [COMPLETES_VOLUME] = "volume",
    [COMPLETES_SNAPSHOT] = "snapshot", [COMPLETES_FILE] = "file",
    [COMPLETES_COMMAND] = "command",
};

struct script {
    FILE *out;
    const struct command_set *set;
    const struct command_group *group;
    const struct command *command;
    const char *verb;
};

/* Text inside single quotes of a shell. */
static void quote(FILE *out, const char *s)
{
    fputc('\'', out);
    for (; *s; s++) {
        if (*s == '\'')
            fputs("'\\''", out);
        else
            fputc(*s, out);
    }
    fputc('\'', out);
}

/* --- bash: one case per verb, setting what the rest of the function works with --- */

static void bash_option(void *context, const struct cli_option *o)
{
    FILE *out = context;
    fprintf(out, " --%s", o->name);
    if (o->letter)
        fprintf(out, " -%c", o->letter);
}

static void bash_valued(void *context, const struct cli_option *o)
{
    FILE *out = context;
    if (o->type == OPTION_FLAG)
        return;
    fprintf(out, " --%s:%s", o->name, kinds[o->completes]);
    if (o->letter)
        fprintf(out, " -%c:%s", o->letter, kinds[o->completes]);
}

static void bash_case(void *context, const char *verb, const struct command *c)
{
    struct script *s = context;
    fprintf(s->out, "    '%s%s%s') options='--help", s->group ? s->group->name : "",
            s->group ? " " : "", verb);
    options_each(c, bash_option, s->out);
    fputs("' valued='", s->out);
    options_each(c, bash_valued, s->out);
    fprintf(s->out, " ' kind=%s stop=%d ;;\n", kinds[c->completes], c->stop_at_argument);
}

static void verb_word(void *context, const char *verb, const struct command *c)
{
    struct script *s = context;
    (void)c;
    fprintf(s->out, " %s", verb);
}

/* "a b c": the words that may stand after the program, or after a group's name. */
static void print_words(struct script *s)
{
    command_each(s->set, s->group, false, verb_word, s);
    for (size_t i = 0; !s->group && i < s->set->n_groups; i++)
        if (!s->set->groups[i].hidden)
            fprintf(s->out, " %s", s->set->groups[i].name);
}

static void bash_sources(FILE *out, const struct command_set *set)
{
    fprintf(out, "_%s_names() {\n  case \"$1\" in\n", set->program);
    for (size_t i = 0; i < COMPLETES_COMMAND; i++)
        if (set->sources[i])
            fprintf(out, "    %s) command %s %s 2>/dev/null ;;\n", kinds[i], set->program,
                    set->sources[i]);
    fputs("  esac\n}\n", out);
}

static void bash_groups(struct script *s)
{
    fputs("  case \"$verb\" in\n", s->out);
    for (size_t i = 0; i < s->set->n_groups; i++) {
        if (s->set->groups[i].hidden)
            continue;
        s->group = &s->set->groups[i];
        fprintf(s->out, "    %s) words_next='", s->group->name);
        print_words(s);
        fputs("' ;;\n", s->out);
    }
    s->group = NULL;
    fputs("    '') words_next='", s->out);
    print_words(s);
    fputs("' ;;\n  esac\n", s->out);
}

static const char bash_head[] =
    "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
    "  local verb='' options='' valued='' kind='' stop=0 words_next='' at=1 word entry given=0\n"
    "  while (( at < COMP_CWORD )); do\n"
    "    word=\"${COMP_WORDS[at]}\"\n"
    "    if [[ -z $verb && $word == --root ]]; then at=$((at + 2)); continue; fi\n"
    "    if [[ -z $verb && $word == -* ]]; then at=$((at + 1)); continue; fi\n"
    "    if [[ -z $verb ]]; then verb=\"$word\"\n"
    "    elif [[ -z $options && -n $words_next ]]; then verb=\"$verb $word\"\n"
    "    elif [[ $prev_valued == 1 ]]; then :\n"
    "    elif [[ $word != -* ]]; then given=$((given + 1)); fi\n"
    "    prev_valued=0\n";

static const char bash_loop_end[] = "    [[ $valued == *\" $word:\"* ]] && prev_valued=1\n"
                                    "    at=$((at + 1))\n"
                                    "  done\n";

static const char bash_tail[] =
    "  if [[ -n $options && $valued == *\" $prev:\"* ]]; then\n"
    "    entry=\"${valued#*\" $prev:\"}\"; kind=\"${entry%% *}\"\n"
    "  elif [[ -n $options && $cur == -* && ! ( $stop == 1 && $given -gt 0 ) ]]; then\n"
    "    COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")); return\n"
    "  elif [[ -z $options ]]; then\n"
    "    COMPREPLY=($(compgen -W \"$words_next --help\" -- \"$cur\")); return\n"
    "  elif [[ $stop == 1 && $given -gt 0 ]]; then kind=file; fi\n"
    "  case \"$kind\" in\n"
    "    nothing) ;;\n"
    "    file) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n";

static void bash_print(struct script *s)
{
    const char *program = s->set->program;
    fprintf(s->out, "# bash completion for %s, made by `%s completion bash`\n", program, program);
    bash_sources(s->out, s->set);
    fprintf(s->out, "_%s_describe() {\n", program);
    bash_groups(s);
    fputs("  case \"$verb\" in\n", s->out);
    command_each(s->set, NULL, true, bash_case, s);
    for (size_t i = 0; i < s->set->n_groups; i++) {
        s->group = &s->set->groups[i];
        if (!s->group->hidden)
            command_each(s->set, s->group, true, bash_case, s);
    }
    fprintf(s->out, "  esac\n}\n_%s() {\n  local prev_valued=0\n%s    _%s_describe\n%s", program,
            bash_head, program, bash_loop_end);
    fprintf(s->out, "  [[ -z $verb ]] && _%s_describe\n%s", program, bash_tail);
    fprintf(s->out,
            "    command) COMPREPLY=($(compgen -W \"$(verb= options= words_next=; "
            "_%s_describe; echo \"$words_next\")\" -- \"$cur\")) ;;\n",
            program);
    fprintf(s->out, "    *) COMPREPLY=($(compgen -W \"$(_%s_names \"$kind\")\" -- \"$cur\")) ;;\n",
            program);
    fprintf(s->out, "  esac\n}\ncomplete -F _%s %s\n", program, program);
}

/* --- zsh: the bash function, which zsh runs through bashcompinit --- */

static void zsh_print(struct script *s)
{
    fprintf(s->out, "#compdef %s\nautoload -Uz bashcompinit && bashcompinit\n", s->set->program);
    bash_print(s);
}

/* --- fish: one `complete` line per verb and option --- */

static void fish_condition(const struct script *s)
{
    fprintf(s->out, "complete -c %s -n '__fish_%s_at %s%s%s' ", s->set->program, s->set->program,
            s->group ? s->group->name : "", s->group ? " " : "", s->verb);
}

static void fish_candidates(const struct script *s, enum completes kind)
{
    if (s->set->sources[kind]) {
        char *text =
            xasprintf("(command %s %s 2>/dev/null)", s->set->program, s->set->sources[kind]);
        fputs(" -a ", s->out);
        quote(s->out, text);
        free(text);
    }
}

static void fish_option(void *context, const struct cli_option *o)
{
    struct script *s = context;
    fish_condition(s);
    fprintf(s->out, "-l %s", o->name);
    if (o->letter)
        fprintf(s->out, " -s %c", o->letter);
    if (o->type != OPTION_FLAG)
        fputs(o->completes == COMPLETES_FILE ? " -r -F" : " -x", s->out);
    fish_candidates(s, o->completes);
    fputs(" -d ", s->out);
    quote(s->out, o->help);
    fputc('\n', s->out);
}

static void fish_verb(void *context, const char *verb, const struct command *c)
{
    struct script *s = context;
    s->verb = verb;
    fprintf(s->out, "complete -c %s -n '__fish_%s_next %s' -a %s -d ", s->set->program,
            s->set->program, s->group ? s->group->name : "", verb);
    quote(s->out, c->summary);
    fputc('\n', s->out);
    options_each(c, fish_option, s);
    if (s->set->sources[c->completes]) {
        fish_condition(s);
        fish_candidates(s, c->completes);
        fputc('\n', s->out);
    } else if (c->completes == COMPLETES_FILE) {
        fish_condition(s);
        fputs("-F\n", s->out);
    }
}

static void fish_print(struct script *s)
{
    const char *program = s->set->program;
    fprintf(s->out,
            "# fish completion for %s, made by `%s completion fish`\n"
            "function __fish_%s_at\n"
            "    set -l words (commandline -opc)[2..-1]\n"
            "    set -l wanted (count $argv)\n"
            "    test (count $words) -ge $wanted; or return 1\n"
            "    test \"$words[1..$wanted]\" = \"$argv\"\n"
            "end\n"
            "function __fish_%s_next\n"
            "    set -l words (commandline -opc)[2..-1]\n"
            "    test \"$words\" = \"$argv\"\n"
            "end\ncomplete -c %s -f\n",
            program, program, program, program, program);
    command_each(s->set, NULL, false, fish_verb, s);
    for (size_t i = 0; i < s->set->n_groups; i++) {
        if (s->set->groups[i].hidden)
            continue;
        s->group = NULL;
        fprintf(s->out, "complete -c %s -n '__fish_%s_next' -a %s -d ", program, program,
                s->set->groups[i].name);
        quote(s->out, s->set->groups[i].summary);
        fputc('\n', s->out);
        s->group = &s->set->groups[i];
        command_each(s->set, s->group, false, fish_verb, s);
    }
}

int completion_print(FILE *out, const struct command_set *set, const char *shell, struct error *err)
{
    struct script s = {.out = out, .set = set};
    if (strcmp(shell, "bash") == 0)
        bash_print(&s);
    else if (strcmp(shell, "zsh") == 0)
        zsh_print(&s);
    else if (strcmp(shell, "fish") == 0)
        fish_print(&s);
    else
        return error_invalid(err, "no completion for \"%s\": bash, zsh and fish are known", shell);
    return 0;
}
