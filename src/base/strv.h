/* A NULL-terminated vector of owned strings, as argv and environments are. */
#pragma once

#include <stdbool.h>

#include "base/macro.h"

#define _cleanup_strv_ _cleanup_(strv_cleanup)

size_t strv_len(char *const *v);         /* NULL counts as empty */
void strv_free(char **v);                /* takes NULL */
char **strv_copy(char *const *v);        /* never NULL */
void strv_add(char ***v, const char *s); /* copies s */
void strv_addf(char ***v, const char *fmt, ...) _printf_(2, 3);
void strv_take(char ***v, char *s); /* takes ownership of s */
bool strv_has(char *const *v, const char *s);
char *strv_join(char *const *v, const char *separator);
char **strv_split(const char *s, char separator); /* empty pieces are kept; "" gives none */

/* NAME=VALUE handling: sets or replaces NAME's entry; finds a value or gives NULL (borrowed). */
void env_set(char ***env, const char *name_value);
const char *env_get(char *const *env, const char *name);

static inline void strv_cleanup(char ***v)
{
    strv_free(*v);
}
