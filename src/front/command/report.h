/* What every program prints with: errors, and the end of output. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Whose messages these are; "proa" before the first call. name is borrowed for good. */
void output_program(const char *name);

/* "PROGRAM: MESSAGE" on stderr, one line. */
void output_error(const char *message);
void output_warning(const char *fmt, ...) _printf_(1, 2);

/* Columns of the terminal on stdout; 0 when it is none. */
unsigned int output_columns(void);
/* The same, and 80 where there is no terminal: for text that is always wrapped. */
unsigned int output_wrap_columns(void);

/* Flushes stdout; a failure to write what was printed is reported and gives 1, else code. */
int output_finish(int code);
