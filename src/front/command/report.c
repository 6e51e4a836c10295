#include "front/command/report.h"

#include <stdarg.h>
#include <string.h>

#include "base/terminal.h"
#include "front/command/safetext.h"

static const char *program = "proa";

void output_program(const char *name)
{
    program = name;
}

/* Colours are for terminals, and for people who did not say no to them (no-color.org). */
static bool has_colours(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(no && *no) && term && strcmp(term, "dumb") != 0 && isatty(fileno(f));
}

void output_error(const char *message)
{
    bool colours = has_colours(stderr);
    _cleanup_free_ char *safe = text_safe(message);
    fflush(stdout);
    fprintf(stderr, "%s%s:%s %s\n", colours ? "\033[1;31m" : "", program, colours ? "\033[0m" : "",
            safe);
}

void output_warning(const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    output_error(message);
}

unsigned int output_columns(void)
{
    return isatty(STDOUT_FILENO) ? terminal_size(STDOUT_FILENO).columns : 0;
}

unsigned int output_wrap_columns(void)
{
    unsigned int columns = output_columns();
    return columns ? MIN(columns, 120u) : 80;
}

int output_finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    output_warning("write to standard output: %s", strerror(errno));
    return code ? code : 1;
}
