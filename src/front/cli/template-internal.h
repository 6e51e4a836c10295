/* What template.c and template-functions.c share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

struct render {
    const char *at;
    const char *action_end; /* the "}}" of the action that is being parsed */
    struct buf *out;
    struct error *err;
    unsigned int depth, actions;
    bool safe, trim_next;
};

int template_bad(struct render *r, const char *what); /* "template: WHAT near ..." */
int template_room(struct render *r, int result);      /* the error for a full buffer, or 0 */
int template_print(struct render *r, json_t *v);
bool template_truth(const json_t *v);

struct template_function {
    const char *name; /* NULL ends the table */
    int (*call)(struct render *r, json_t *const *args, size_t n, json_t **ret);
    size_t least, most; /* values it takes */
};
extern const struct template_function template_functions[];
