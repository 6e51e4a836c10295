/*
 * `--format '{{.ID}}\t{{.Names}}'`: the part of Go's templates that people use with container
 * tools, over JSON values.
 *
 *   {{.A.B}}  {{json X}}  {{index X KEY...}}  {{len X}}  {{join X SEP}}  {{upper X}}  {{lower X}}
 *   {{println X}}  {{range X}}...{{else}}...{{end}}  {{if X}}...{{else}}...{{end}}
 *   {{eq X Y}}  {{ne X Y}}  {{not X}}  {{X | json}}  {{- trims -}}
 *
 * X is a path, a quoted string, a number, true, false, or one of these in parentheses. In the text
 * around, "\t" and "\n" are a tab and a new line.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

/* Appends the rendering of `dot` to out. safe: values are made harmless for a terminal.
 * ERROR_INVALID for a template that makes no sense, ERROR_LIMIT when it does not end. */
int template_render(const char *text, json_t *dot, bool safe, struct buf *out,
                    struct error *err) _must_check_;

/* JSON text in which no byte is a control character, DEL and C1 controls included. Owned. */
char *template_json(const json_t *value, bool indent);
