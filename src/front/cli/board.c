#include "front/cli/board.h"

#include <string.h>

#include "base/macro.h"
#include "base/terminal.h"
#include "base/text.h"

enum { EVERY_MS = 100, FIRST_MS = 300, BAR_MAX = 40, STATE_WIDTH = 11 };

void board_begin(struct board *b)
{
    memset(b, 0, sizeof(*b));
    b->active = isatty(STDERR_FILENO);
    b->started_ms = b->active ? time_monotonic_ms() : 0;
}

void board_format(const struct board_line *l, unsigned int columns, char *out, size_t size)
{
    struct text32 done = format_size(l->done), total = format_size(l->total);
    size_t fixed = strlen(l->label) + STATE_WIDTH + 32;
    size_t width = columns > fixed + 4 ? MIN(columns - fixed, (size_t)BAR_MAX) : 0;
    uint64_t shown = MIN(l->done, l->total);
    unsigned int percent = l->total ? (unsigned int)((double)shown * 100 / (double)l->total) : 0;
    char bar[BAR_MAX + 1] = "";
    memset(bar, ' ', width);
    memset(bar, '=', width * percent / 100);
    snprintf(out, size, "%s  %-*s  %s%s%s%3u%%  %s / %s", l->label, STATE_WIDTH, l->state,
             width ? "[" : "", bar, width ? "] " : "", percent, done.s, total.s);
}

static void erase(struct board *b)
{
    if (b->drawn)
        fprintf(stderr, "\r\033[%uA\033[J", b->drawn);
    b->drawn = 0;
}

static size_t count_over(const struct board *b)
{
    size_t over = 0;
    for (size_t i = 0; i < b->n; i++)
        over += b->lines[i].over;
    return over;
}

static void draw(struct board *b, int64_t now)
{
    struct terminal_size size = terminal_size(STDERR_FILENO);
    unsigned int columns = size.columns ? size.columns : 80, rows = size.rows ? size.rows : 24;
    erase(b);
    for (size_t i = 0; i < b->n && b->drawn + 2 < rows; i++) {
        char line[256];
        if (!b->lines[i].used || b->lines[i].over)
            continue;
        board_format(&b->lines[i], columns, line, sizeof(line));
        fprintf(stderr, "%.*s\n", (int)columns - 1, line);
        b->drawn++;
    }
    fprintf(stderr, "%zu of %zu layers\n", count_over(b), b->n);
    b->drawn++;
    b->shown_ms = now;
}

void board_set(struct board *b, size_t index, size_t n, const struct board_line *line)
{
    if (!b->active || index >= BOARD_LINES_MAX)
        return;
    b->n = MIN(n, (size_t)BOARD_LINES_MAX);
    b->lines[index] = *line;
    b->lines[index].used = true;
    int64_t now = time_monotonic_ms();
    if (now - b->started_ms >= FIRST_MS && now - b->shown_ms >= EVERY_MS)
        draw(b, now);
}

void board_end(struct board *b)
{
    if (b->active)
        erase(b);
}
