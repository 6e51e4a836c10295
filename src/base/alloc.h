/*
 * Allocation for small internal things: these abort when memory is gone. What outside bytes can
 * size goes through base/buf.h, which has a maximum and fails with an error.
 * All results are owned by the caller and released with free().
 */
#pragma once

#include <stdarg.h>

#include "base/macro.h"

void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
char *xvasprintf(const char *fmt, va_list ap) _printf_(1, 0);

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

/* Replaces *p by a copy of s and frees what was there. */
void xreplace(char **p, const char *s);
