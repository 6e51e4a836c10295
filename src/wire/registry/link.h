/* RFC 8288's Link header, as far as registries use it: where the next page of a list is. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* The target of rel="next", owned; NULL when there is none or it cannot be read. */
char *link_next(const char *header);
