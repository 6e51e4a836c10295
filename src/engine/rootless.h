/* What an ordinary user cannot be given, said before anything is made. Nothing is refused to root.
 */
#pragma once

#include "base/error.h"
#include "engine/place.h"

/* ERROR_DENIED: `what` (the subject of a sentence) needs root. */
int rootless_refuse(const char *what, struct error *err) _must_check_;
/* The options of a new instance that stands there. */
int rootless_check(const struct create_options *o, const struct places *p,
                   struct error *err) _must_check_;
