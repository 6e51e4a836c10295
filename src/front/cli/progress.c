#include "front/cli/progress.h"

#include <string.h>

#include "base/terminal.h"
#include "base/text.h"

enum { EVERY_MS = 100, FIRST_MS = 300, BAR_MAX = 40 };

void progress_begin(struct progress *p, const char *label, uint64_t total)
{
    *p = (struct progress){.label = label, .total = total, .active = isatty(STDERR_FILENO)};
    p->started_ms = p->active ? time_monotonic_ms() : 0;
}

void progress_line(const struct progress *p, uint64_t done, int64_t now_ms, unsigned int columns,
                   char *out, size_t size)
{
    struct text32 amount = format_size(done), total = format_size(p->total);
    int64_t elapsed_ms = MAX(now_ms - p->started_ms, (int64_t)1);
    struct text32 speed = format_size((uint64_t)((double)done * 1000 / (double)elapsed_ms));
    if (p->total == 0) {
        snprintf(out, size, "%s  %s  %s/s", p->label, amount.s, speed.s);
        return;
    }
    uint64_t shown = MIN(done, p->total);
    unsigned int percent = (unsigned int)((double)shown * 100 / (double)p->total);
    size_t fixed = strlen(p->label) + strlen(amount.s) + strlen(total.s) + strlen(speed.s) + 20;
    size_t width = columns > fixed + 4 ? MIN(columns - fixed, (size_t)BAR_MAX) : 0;
    char bar[BAR_MAX + 1] = "";
    memset(bar, ' ', width);
    memset(bar, '=', width * percent / 100);
    snprintf(out, size, "%s  %s%s%s %3u%%  %s / %s  %s/s", p->label, width ? "[" : "", bar,
             width ? "]" : "", percent, amount.s, total.s, speed.s);
}

void progress_update(void *context, uint64_t done)
{
    struct progress *p = context;
    char line[512];
    if (!p->active)
        return;
    int64_t now = time_monotonic_ms();
    if (now - p->started_ms < FIRST_MS || now - p->shown_ms < EVERY_MS)
        return;
    unsigned int columns = terminal_size(STDERR_FILENO).columns;
    progress_line(p, done, now, columns ? columns : 80, line, sizeof(line));
    fprintf(stderr, "\r%.*s\033[K", (int)(columns ? columns - 1 : 79), line);
    p->shown_ms = now;
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
