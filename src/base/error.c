#include "base/error.h"

#include <stdarg.h>
#include <string.h>

static const char *const kind_names[] = {
    [ERROR_NONE] = "none",
    [ERROR_INVALID] = "invalid",
    [ERROR_NOT_FOUND] = "not-found",
    [ERROR_CONFLICT] = "conflict",
    [ERROR_DENIED] = "denied",
    [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_CORRUPT] = "corrupt",
    [ERROR_LIMIT] = "limit",
    [ERROR_SYSTEM] = "system",
    [ERROR_COMMAND_NOT_FOUND] = "command-not-found",
    [ERROR_COMMAND_NOT_RUN] = "command-not-run",
};

static enum error_kind kind_of_errno(int errnum)
{
    switch (errnum) {
    case EINVAL:
        return ERROR_INVALID;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
    case EBUSY:
    case EADDRINUSE:
        return ERROR_CONFLICT;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_DENIED;
    case ENOSYS:
    case EOPNOTSUPP:
        return ERROR_UNSUPPORTED;
    case ENOSPC:
    case EDQUOT:
    case E2BIG:
    case EFBIG:
        return ERROR_LIMIT;
    default:
        return ERROR_SYSTEM;
    }
}

/* Control characters from outside text must not reach a terminal or break the one-line rule. */
static void make_one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
}

int error_set(struct error *err, enum error_kind kind, int code, const char *fmt, ...)
{
    if (code <= 0)
        code = EIO;
    if (err) {
        va_list ap;
        err->code = code;
        err->kind = kind;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
        make_one_line(err->msg);
    }
    return -code;
}

/* The system's text as the end of a sentence, and as programs that look for it in messages of
 * container engines know it: "no such file or directory". A system call that is not there says
 * which kernel has all that is used without a fallback. */
const char *error_text(int errnum, char *out, size_t size)
{
    snprintf(out, size, "%s%s", strerror(errnum),
             errnum == ENOSYS ? " (Linux 5.15 or later is needed)" : "");
    if (out[0] >= 'A' && out[0] <= 'Z' && out[1] >= 'a' && out[1] <= 'z')
        out[0] = (char)(out[0] - 'A' + 'a');
    return out;
}

int error_errno(struct error *err, int errnum, const char *fmt, ...)
{
    if (errnum < 0)
        errnum = -errnum;
    if (errnum == 0)
        errnum = EIO;
    if (err) {
        char text[400], system[80];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        return error_set(err, kind_of_errno(errnum), errnum, "%s: %s", text,
                         error_text(errnum, system, sizeof(system)));
    }
    return -errnum;
}

int error_invalid(struct error *err, const char *fmt, ...)
{
    char text[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_set(err, ERROR_INVALID, EINVAL, "%s", text);
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    char text[sizeof(err->msg)];
    char old[sizeof(err->msg)];
    va_list ap;
    if (!err)
        return -EIO;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(old, err->msg, sizeof(old));
    return error_set(err, err->kind, err->code, "%.200s: %s", text, old);
}

void error_clear(struct error *err)
{
    err->code = 0;
    err->kind = ERROR_NONE;
    err->msg[0] = '\0';
}

int error_exit_code(const struct error *err)
{
    switch (err->kind) {
    case ERROR_NONE:
        return 0;
    case ERROR_COMMAND_NOT_FOUND:
        return 127;
    case ERROR_COMMAND_NOT_RUN:
        return 126;
    default:
        return 125;
    }
}

const char *error_kind_name(enum error_kind kind)
{
    return (size_t)kind < ARRAY_SIZE(kind_names) ? kind_names[kind] : "system";
}

enum error_kind error_kind_from_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++)
        if (strcmp(kind_names[i], name) == 0)
            return (enum error_kind)i;
    return ERROR_SYSTEM;
}

#ifdef PROA_SANITIZED
/* Asked by the address sanitizer, and here because every program has this file. Looking for leaks
 * needs ptrace, which programs without privilege are refused; the unit tests switch it on again. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif
