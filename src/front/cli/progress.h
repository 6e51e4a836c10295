/* A bar on stderr for work that takes long; silent where stderr is no terminal. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct progress {
    const char *label;
    uint64_t total; /* 0: not known, only what was done is shown */
    int64_t started_ms, shown_ms;
    bool active, shown;
};

void progress_begin(struct progress *p, const char *label, uint64_t total);
/* At most ten times a second does this print anything. Fits image_import's callback. */
void progress_update(void *p, uint64_t done);
/* Removes the bar. */
void progress_end(struct progress *p);

/* The line for a bar of a terminal of this width, without control characters. */
void progress_line(const struct progress *p, uint64_t done, int64_t now_ms, unsigned int columns,
                   char *out, size_t size);
