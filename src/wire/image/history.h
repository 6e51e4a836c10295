/* How an image was made, as its configuration tells it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define IMAGE_HISTORY_MAX 4096u

struct image_history_step {
    int64_t created_ns;                  /* 0: not said */
    char *created_by, *comment, *author; /* NULL: not said */
    bool empty;                          /* made no layer */
};
struct image_history {
    struct image_history_step *steps; /* first one first */
    size_t n_steps;
};
void image_history_done(struct image_history *h);
int image_history_parse(const char *config, size_t len, struct image_history *ret,
                        struct error *err) _must_check_;
