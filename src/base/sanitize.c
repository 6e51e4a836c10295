/*
 * Only in builds with sanitizers. Looking for leaks needs ptrace, which programs that have given up
 * every privilege are refused; the unit tests switch it on again for themselves (ASAN_OPTIONS).
 */
#include "base/macro.h"

const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
