/* The text of a file as /etc/hosts. */
#pragma once

#include "base/buf.h"

/* Appends the lines of text that do not begin with one of these addresses, and then more. -EFBIG
 * past out's bound. */
int hosts_text_edit(const char *text, char *const *gone, const char *more,
                    struct buf *out) _must_check_;
