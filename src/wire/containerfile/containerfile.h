/*
 * Containerfiles (Dockerfiles): from text to steps, and the expansion of variables in them. Nothing
 * here opens, reads or runs anything; a file is outside bytes, so everything that it can size has a
 * bound.
 *
 * The grammar is Docker's: parser directives (escape, syntax, check), comments, continuation lines,
 * flags, the shell and the exec form (a JSON list), here-documents for RUN, COPY and ADD. What a
 * word means with its variables is known only while building: words are kept as they are written,
 * quotes included, and go through containerfile_expand() when their step's turn comes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CONTAINERFILE_MAX_BYTES  ((size_t)1 << 20)
#define CONTAINERFILE_MAX_STEPS  4096u
#define CONTAINERFILE_MAX_STAGES 256u
#define CONTAINERFILE_MAX_WORDS  4096u
#define CONTAINERFILE_MAX_FLAGS  64u
#define CONTAINERFILE_MAX_DOCS   64u
#define CONTAINERFILE_MAX_VALUE  ((size_t)131072) /* of one word after expansion */

enum containerfile_kind {
    CF_ADD,
    CF_ARG,
    CF_CMD,
    CF_COPY,
    CF_ENTRYPOINT,
    CF_ENV,
    CF_EXPOSE,
    CF_FROM,
    CF_HEALTHCHECK,
    CF_LABEL,
    CF_MAINTAINER,
    CF_ONBUILD,
    CF_RUN,
    CF_SHELL,
    CF_STOPSIGNAL,
    CF_USER,
    CF_VOLUME,
    CF_WORKDIR,
    CF_COUNT,
};

struct containerfile_flag {
    const char *name; /* without "--"; one of the instruction's own */
    char *value;      /* "true" for a flag without one */
};

struct containerfile_doc {
    char *name;  /* the word that ends it */
    char *text;  /* whole lines */
    bool expand; /* the word was not quoted */
    bool chomp;  /* "<<-": tabs at the beginning of lines do not count */
};

struct containerfile_step {
    enum containerfile_kind kind;
    unsigned int line;
    char *text; /* what follows the flags, lines joined, without the here-documents */
    /*
     * RUN, CMD, ENTRYPOINT, SHELL   the list in exec form, else NULL: the command is text
     * HEALTHCHECK                   the same; {"NONE"} without exec_form for NONE; text is what
     *                               follows CMD
     * ENV, LABEL                    name, value, name, value...
     * FROM                          the image, and the name of the stage when it has one
     * MAINTAINER, ONBUILD, STOPSIGNAL, USER, WORKDIR   NULL: the argument is text
     * ADD, COPY, ARG, EXPOSE, VOLUME   the words
     */
    char **words;
    bool exec_form;
    struct containerfile_flag *flags;
    size_t n_flags;
    struct containerfile_doc *docs;
    size_t n_docs;
};

/* Steps [from, end) of the file; from is the FROM. */
struct containerfile_stage {
    size_t from, end;
    const char *name; /* lower-case, or NULL; borrowed from the FROM */
};

struct containerfile {
    char *name;  /* of the file, for messages */
    char escape; /* backslash or backquote */
    struct containerfile_step *steps;
    size_t n_steps;
    struct containerfile_stage *stages;
    size_t n_stages;
};

void containerfile_step_done(struct containerfile_step *s);
void containerfile_done(struct containerfile *f);

/* name is what messages call the file: "Containerfile:3: ...". */
int containerfile_parse(const char *text, size_t len, const char *name, struct containerfile *ret,
                        struct error *err) _must_check_;

/* One instruction in one line, as ONBUILD keeps it. */
int containerfile_parse_line(const char *text, struct containerfile_step *ret,
                             struct error *err) _must_check_;

const char *containerfile_kind_name(enum containerfile_kind kind); /* "RUN" */

/* The value of the step's flag, the last one when it is given several times; NULL without. */
const char *containerfile_flag(const struct containerfile_step *s, const char *name);

/* The body, without tabs at the beginning of lines where "<<-" says so. Owned. */
char *containerfile_doc_text(const struct containerfile_doc *doc);

/* What variables are worth: the value, or NULL for one that is not set. name has len bytes. */
struct containerfile_scope {
    const char *(*lookup)(void *context, const char *name, size_t len);
    void *context;
    char escape;
};

/* $x, ${x}, ${x:-word}, ${x-word}, ${x:+word}, ${x+word}, ${x:?word}, ${x?word}, quotes and
 * escapes. *ret is owned. */
int containerfile_expand(const struct containerfile_scope *scope, const char *word, char **ret,
                         struct error *err) _must_check_;
/* The same, split at blanks that are not quoted: a variable can bring several words. */
int containerfile_expand_words(const struct containerfile_scope *scope, const char *word,
                               char ***ret, struct error *err) _must_check_;
/* Variables only, quotes and escapes (but of "$") kept: the body of a here-document. */
int containerfile_expand_text(const struct containerfile_scope *scope, const char *text, char **ret,
                              struct error *err) _must_check_;

/* UTF-8 without NUL: what can go into an image's configuration. */
bool containerfile_text_valid(const char *text, size_t len);
