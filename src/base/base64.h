/* RFC 4648's base64, with the standard alphabet. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Owned, with padding. */
char *base64_encode(const void *data, size_t len);
/* Strict, padding may be left out; *ret is owned and NUL-terminated. -EBADMSG. */
int base64_decode(const char *text, char **ret, size_t *ret_len) _must_check_;
