/*
 * Functions that this tree does not use, because each has a bounded or safer twin: a call of one is
 * a compile error. Included by base/macro.h, after the system headers that declare them.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strncpy
#undef strncat
#undef strtok
#undef alloca
#define strcpy(...)   banned_strcpy_is_unbounded
#define strcat(...)   banned_strcat_is_unbounded
#define sprintf(...)  banned_sprintf_is_unbounded
#define vsprintf(...) banned_vsprintf_is_unbounded
#define strncpy(...)  banned_strncpy_may_not_terminate
#define strncat(...)  banned_strncat_is_misread
#define strtok(...)   banned_strtok_has_hidden_state
#define gets(...)     banned_gets_is_unbounded
#define system(...)   banned_system_runs_a_shell
#define popen(...)    banned_popen_runs_a_shell
#define atoi(...)     banned_atoi_hides_errors
#define atol(...)     banned_atol_hides_errors
#define alloca(...)   banned_alloca_has_no_bound
