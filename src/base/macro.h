/*
 * Small macros used everywhere: attributes, array sizes, and cleanup bound to scope.
 *
 * A variable declared with one of the _cleanup_*_ attributes releases what it holds when it leaves
 * scope; TAKE_PTR and TAKE_FD move the value out so that the scope no longer owns it. Descriptors
 * start at -EBADF, which close never touches.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define ARRAY_SIZE(a)      (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)          ((a) < (b) ? (a) : (b))
#define MAX(a, b)          ((a) > (b) ? (a) : (b))
#define _cleanup_(f)       __attribute__((cleanup(f)))
#define _must_check_       __attribute__((warn_unused_result))
#define _printf_(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define _noreturn_         __attribute__((noreturn))
#define _unused_           __attribute__((unused))

#define _cleanup_free_   _cleanup_(cleanup_free)
#define _cleanup_close_  _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)

/* Moves a pointer or a descriptor out of a variable that would otherwise release it. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) *take_from_ = &(p);                                                          \
        __typeof__(p) taken_ = *take_from_;                                                        \
        *take_from_ = NULL;                                                                        \
        taken_;                                                                                    \
    })
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int *take_from_ = &(fd);                                                                   \
        int taken_ = *take_from_;                                                                  \
        *take_from_ = -EBADF;                                                                      \
        taken_;                                                                                    \
    })

/* Defines cleanup_NAME() for a pointer type whose release function takes NULL. */
#define DEFINE_CLEANUP(type, release)                                                              \
    static inline void release##_cleanup(type *p)                                                  \
    {                                                                                              \
        if (*p)                                                                                    \
            release(*p);                                                                           \
    }

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

/* Closes and keeps errno; negative descriptors are left alone. Always gives -EBADF. */
static inline int close_fd(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return -EBADF;
}

static inline void cleanup_close(int *fd)
{
    *fd = close_fd(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f)
        fclose(*f);
}
