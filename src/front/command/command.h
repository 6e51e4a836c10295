/* Verbs as a set: finding one by its name, and what is printed about them. */
#pragma once

#include "front/command/options.h"

struct command_group {
    const char *name; /* "network" */
    const char *summary;
    bool hidden;
};

struct command_set {
    const char *program; /* "proa" */
    const char *tagline;
    const struct command *const *commands;
    size_t n_commands;
    const struct command_group *groups;
    size_t n_groups;
    const struct command *global; /* options before the verb; its usage heads the first help */
    /* By enum completes: the words after the program that print what Tab offers; NULL where nothing
     * does. COMPLETES_COMMAND + 1 of them. */
    const char *const *sources;
};

/* What a handler is given. */
struct cli {
    const struct command_set *set;
    const struct command *command;
    const char *root;      /* --root or NULL */
    struct engine *engine; /* proa's, once a verb has opened it */
    const void *globals;   /* the values of set->global */
};

enum command_found {
    COMMAND_FOUND,
    COMMAND_GROUP, /* a group's name with no verb after it */
    COMMAND_UNKNOWN,
};

/* Looks argv[0] (and argv[1] for a group's verb) up. *ret_words says how many words named it;
 * *ret_group is set for COMMAND_GROUP, and for COMMAND_UNKNOWN when the group was known. */
enum command_found command_find(const struct command_set *set, char *const *argv,
                                const struct command **ret, const struct command_group **ret_group,
                                size_t *ret_words);

/* Runs the verb that words name (NULL-terminated; what follows are its arguments). Gives the exit
 * code; what is wrong with the words is said on stderr. */
int command_dispatch(struct cli *cli, char *const *words);

/* One line: what is wrong, and where help is. name NULL: the program's own. Gives code, or 1. */
int command_usage_error(const struct command_set *set, const char *name, const char *message,
                        int code);

/* The name that a mistyped word most likely meant, or NULL. group may be NULL. */
const char *command_suggest(const struct command_set *set, const struct command_group *group,
                            const char *word);

/* True when names (comma-separated, may be NULL) has name. */
bool command_names_have(const char *names, const char *name);

/* Goes through the verbs of a group (NULL: those of no group) by the alphabet, each by its first
 * name there or by every name: each() is given the verb without the group's word. Hidden ones are
 * left out. */
void command_each(const struct command_set *set, const struct command_group *group, bool every_name,
                  void (*each)(void *context, const char *verb, const struct command *c),
                  void *context);

/* --help, wrapped at columns. */
void help_print(FILE *out, const struct command_set *set, const struct command *c,
                unsigned int columns);
void help_print_group(FILE *out, const struct command_set *set, const struct command_group *group,
                      unsigned int columns);
void help_print_all(FILE *out, const struct command_set *set, unsigned int columns);

/* One manual page in roff: of a verb, or of the whole program (c NULL). */
void man_print(FILE *out, const struct command_set *set, const struct command *c);
/* Writes a page for each verb, "proa-network-create.1", and "proa.1" into a directory. */
int man_write_all(const struct command_set *set, const char *dir, struct error *err) _must_check_;

/* A completion script for "bash", "zsh" or "fish". ERROR_INVALID for another shell. */
int completion_print(FILE *out, const struct command_set *set, const char *shell,
                     struct error *err) _must_check_;
