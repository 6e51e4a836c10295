/* Shared between lines.c, parse.c and words.c. */
#pragma once

#include "base/buf.h"
#include "wire/containerfile/containerfile.h"

/* The file as lines: comments left out, continuations joined (lines.c). */
struct cf_lines {
    const char *at, *end;
    unsigned int number; /* of the line that at is in */
    char escape;
};
/* The directives at the top; moves on past them. */
int cf_lines_directives(struct cf_lines *l, struct error *err) _must_check_;
/* 1: the next logical line is in *line, begun at *ret_number; 0: the end. */
int cf_lines_next(struct cf_lines *l, struct buf *line, unsigned int *ret_number,
                  struct error *err) _must_check_;
/* Reads the body of a here-document whose name is set. */
int cf_lines_doc(struct cf_lines *l, struct containerfile_doc *doc, struct error *err) _must_check_;

/* words.c */
const char *cf_skip_blanks(const char *p);
/* The end of the word at p: blanks inside of quotes and after an escape belong to it. */
const char *cf_word_end(const char *p, char escape);
int cf_split(const char *text, char escape, char ***ret, struct error *err) _must_check_;
/* name, value, name, value... of "a=1 b=2" or "a the rest". */
int cf_split_pairs(const char *text, char escape, const char *what, char ***ret,
                   struct error *err) _must_check_;
/* A JSON list of strings; 0 with *ret NULL when the text is none. */
int cf_parse_list(const char *text, char ***ret, struct error *err) _must_check_;
/* Takes flags off the front of *text; allowed is NULL-terminated. */
int cf_take_flags(struct containerfile_step *s, const char **text, const char *const *allowed,
                  char escape, struct error *err) _must_check_;
/* The here-documents that the words of text ask for, without their bodies. */
int cf_find_docs(struct containerfile_step *s, char escape, struct error *err) _must_check_;
