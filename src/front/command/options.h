/*
 * Command lines as data. A verb is one `struct command`: its names, its positional arguments, its
 * options with the place each fills. The parser, --help, the manual pages and the completion
 * scripts are all made from these tables, so that none can say what another does not do.
 *
 * Parsing habits are Docker's: "-it", "--name=x", "--name x", "-p8080:80", "--rm=false", "--" ends
 * the options, and a verb with `stop_at_argument` takes everything after its first positional
 * argument as it stands.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum option_type {
    OPTION_FLAG,      /* bool */
    OPTION_STRING,    /* char *, owned */
    OPTION_LIST,      /* char **, owned; each use adds one */
    OPTION_KEY_VALUE, /* char **, owned; each use is KEY or KEY=VALUE, the last of a KEY counts */
    OPTION_SIZE,      /* uint64_t, bytes */
    OPTION_MILLI,     /* uint64_t, thousandths */
    OPTION_DURATION,  /* uint64_t, milliseconds */
    OPTION_U32,       /* uint32_t */
    OPTION_U64,       /* uint64_t */
    OPTION_I32,       /* int32_t, may be negative */
    OPTION_I64,       /* int64_t, may be negative */
};

/* What a word on the command line names, for completion. */
enum completes {
    COMPLETES_NOTHING,
    COMPLETES_INSTANCE,
    COMPLETES_RUNNING,
    COMPLETES_IMAGE,
    COMPLETES_NETWORK,
    COMPLETES_VOLUME,
    COMPLETES_SNAPSHOT,
    COMPLETES_FILE,
    COMPLETES_COMMAND,
};

struct cli_option {
    const char *name;     /* without "--" */
    const char *argument; /* word shown in help; NULL for flags */
    const char *help;     /* NULL: accepted, not shown */
    size_t offset;        /* of its place in the values */
    enum option_type type;
    enum completes completes;
    char letter; /* 0: none */
};

/* An option whose place is checked against its type when it is compiled. */
#define OPTION_PLACE(values, field, ctype)                                                         \
    (offsetof(values, field) +                                                                     \
     0 * sizeof(char[__builtin_types_compatible_p(ctype, __typeof__(((values *)0)->field)) ? 1     \
                                                                                           : -1]))
#define OPTION(type_, ctype, letter_, name_, values, field, argument_, help_, ...)                 \
    {                                                                                              \
        .name = name_, .letter = letter_, .type = type_, .argument = argument_, .help = help_,     \
        .offset = OPTION_PLACE(values, field, ctype), __VA_ARGS__                                  \
    }
#define OPT_FLAG(l, n, v, f, h)         OPTION(OPTION_FLAG, bool, l, n, v, f, NULL, h)
#define OPT_STRING(l, n, v, f, a, h)    OPTION(OPTION_STRING, char *, l, n, v, f, a, h)
#define OPT_LIST(l, n, v, f, a, h)      OPTION(OPTION_LIST, char **, l, n, v, f, a, h)
#define OPT_KEY_VALUE(l, n, v, f, a, h) OPTION(OPTION_KEY_VALUE, char **, l, n, v, f, a, h)
#define OPT_SIZE(l, n, v, f, a, h)      OPTION(OPTION_SIZE, uint64_t, l, n, v, f, a, h)
#define OPT_MILLI(l, n, v, f, a, h)     OPTION(OPTION_MILLI, uint64_t, l, n, v, f, a, h)
#define OPT_DURATION(l, n, v, f, a, h)  OPTION(OPTION_DURATION, uint64_t, l, n, v, f, a, h)
#define OPT_U32(l, n, v, f, a, h)       OPTION(OPTION_U32, uint32_t, l, n, v, f, a, h)
#define OPT_U64(l, n, v, f, a, h)       OPTION(OPTION_U64, uint64_t, l, n, v, f, a, h)
#define OPT_I32(l, n, v, f, a, h)       OPTION(OPTION_I32, int32_t, l, n, v, f, a, h)
#define OPT_I64(l, n, v, f, a, h)       OPTION(OPTION_I64, int64_t, l, n, v, f, a, h)
#define OPT_NAMED(kind, l, n, v, f, a, h)                                                          \
    OPTION(OPTION_STRING, char *, l, n, v, f, a, h, .completes = kind)
#define OPT_NAMED_LIST(kind, l, n, v, f, a, h)                                                     \
    OPTION(OPTION_LIST, char **, l, n, v, f, a, h, .completes = kind)

/* A table of options that several commands may share: all fill the same values struct. */
struct option_set {
    const struct cli_option *options;
    size_t n;
};
#define OPTION_SET(table)                                                                          \
    {                                                                                              \
        table, ARRAY_SIZE(table)                                                                   \
    }
#define COMMAND_MAX_SETS 4

enum command_section {
    SECTION_COMMON,  /* the first list of `proa --help` */
    SECTION_GROUPED, /* shown in its group's own help only */
    SECTION_OTHER,
    SECTION_HIDDEN,
};

struct cli;

struct command {
    const char *name;    /* "run", "network create" */
    const char *aliases; /* other names, comma-separated: "container ls,container ps"; or NULL */
    const char *usage;   /* what follows the name: "[OPTIONS] IMAGE [COMMAND] [ARG...]" */
    const char *summary; /* one line, no full stop */
    const char *description; /* more for --help and the manual page, or NULL */
    struct option_set sets[COMMAND_MAX_SETS];
    size_t values_size;
    void (*init)(void *values); /* fills in what is not zero before parsing; or NULL */
    unsigned int min_args, max_args;
    enum completes completes; /* its positional arguments */
    enum command_section section;
    bool stop_at_argument;
    bool single_dash; /* "-name" is "--name", too, as Go's flag package has it */
    int usage_exit;   /* exit code for a wrong command line; 0 means 1 */
    /* Gives the exit code. args is NULL-terminated and borrowed. */
    int (*run)(struct cli *cli, void *values, char **args);
};

#define ARGS_MANY 4294967295u

/* An option of the command by its long name (len bytes) or its letter; NULL when it has none. */
const struct cli_option *option_by_name(const struct command *c, const char *name, size_t len);
const struct cli_option *option_by_letter(const struct command *c, char letter);

/* Calls each() for every option that help shows, by name in the order of the alphabet. */
void options_each(const struct command *c, void (*each)(void *context, const struct cli_option *o),
                  void *context);

struct parsed {
    char *
        *args; /* positional arguments, NULL-terminated; the vector is owned, the words borrowed */
    size_t n_args;
    bool help; /* --help was given: nothing else was checked */
};

/* Parses argv (the words after the command's name) into values, which is zeroed or filled by
 * c->init. On failure values may be partly filled: options_done() releases it in any case. */
int options_parse(const struct command *c, char *const *argv, void *values, struct parsed *ret,
                  struct error *err) _must_check_;

/* Releases the strings and lists that options own. */
void options_done(const struct command *c, void *values);
