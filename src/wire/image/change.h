/* One Dockerfile instruction applied to the "config" object of an image configuration. */
#pragma once

#include <jansson.h>

#include "base/error.h"

int image_change_apply(json_t *settings, const char *line, struct error *err) _must_check_;
