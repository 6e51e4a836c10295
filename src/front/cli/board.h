/* Several bars at once, on stderr: silent where that is no terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOARD_LINES_MAX 256

struct board_line {
    char label[16], state[16];
    uint64_t done, total;
    bool used, over;
};
struct board {
    bool active;
    unsigned int drawn; /* lines on the terminal now */
    int64_t started_ms, shown_ms;
    struct board_line lines[BOARD_LINES_MAX];
    size_t n; /* of how many */
};

void board_begin(struct board *b);
/* over: this line is finished, and only counted from now on. At most ten times a second does this
 * print anything. */
void board_set(struct board *b, size_t index, size_t n, const struct board_line *line);
/* Removes them. */
void board_end(struct board *b);

/* One line for a terminal of this width, without control characters. */
void board_format(const struct board_line *line, unsigned int columns, char *out, size_t size);
