/*
 * The one error idiom.
 *
 * A function that can fail takes a `struct error *err` last and gives 0 or a negative errno. On
 * failure it fills err; on success it leaves err alone. The caller owns the struct, normally on its
 * stack, initialised with ERROR_INIT. `err` may be NULL where the caller only wants the number.
 *
 * `kind` alone decides a program's exit code (and an HTTP status): see error_exit_code().
 */
#pragma once

#include "base/macro.h"

enum error_kind {
    ERROR_NONE = 0,
    ERROR_INVALID,           /* the caller asked for something that makes no sense */
    ERROR_NOT_FOUND,         /* the thing named does not exist */
    ERROR_CONFLICT,          /* a name, a port or a state is in the way */
    ERROR_DENIED,            /* permission or policy */
    ERROR_UNSUPPORTED,       /* this kind, kernel or host cannot do it */
    ERROR_CORRUPT,           /* bytes from outside are not what they claim to be */
    ERROR_LIMIT,             /* a stated bound was exceeded, or a disk is full */
    ERROR_SYSTEM,            /* the kernel or another program failed */
    ERROR_COMMAND_NOT_FOUND, /* the workload's command does not exist: exit code 127 */
    ERROR_COMMAND_NOT_RUN,   /* the workload's command cannot be executed: exit code 126 */
};

struct error {
    int code; /* positive errno */
    enum error_kind kind;
    char msg[512]; /* one line, no trailing newline */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        0, ERROR_NONE, ""                                                                          \
    }

/* Fills err with a message of the caller's own. Gives -code. */
int error_set(struct error *err, enum error_kind kind, int code, const char *fmt, ...)
    _printf_(4, 5);

/* Fills err from errno: ": " and the system's text are added, the kind follows from the number.
 * Gives -errnum. */
int error_errno(struct error *err, int errnum, const char *fmt, ...) _printf_(3, 4);

/* What that errno says, beginning small; in a buffer of the caller's. Gives out. */
const char *error_text(int errnum, char *out, size_t size);

/* Shorthand for bad input: kind ERROR_INVALID, code EINVAL. Gives -EINVAL. */
int error_invalid(struct error *err, const char *fmt, ...) _printf_(2, 3);

/* Puts "context: " before the message on the way up. Gives -err->code (or -EIO without err). */
int error_prefix(struct error *err, const char *fmt, ...) _printf_(2, 3);

/* Marks err as empty again. */
void error_clear(struct error *err);

/* 125 for the engine's own failures, 126 and 127 for the two command kinds, as Docker has it. */
int error_exit_code(const struct error *err);

/* A stable lower-case word for a kind ("not-found"), for JSON; and back (ERROR_SYSTEM if unknown).
 */
const char *error_kind_name(enum error_kind kind);
enum error_kind error_kind_from_name(const char *name);
