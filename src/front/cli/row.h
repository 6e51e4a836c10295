/* Building the rows of a list: objects whose members are texts. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

void row_set(json_t *row, const char *field, const char *text); /* NULL: "" */
void row_setf(json_t *row, const char *field, const char *fmt, ...) _printf_(3, 4);
/* "key=value,key=value". */
void row_set_list(json_t *row, const char *field, char *const *list);
/* "3 minutes ago"; and the time itself as 2026-11-22 06:15:04 +0000 UTC. */
void row_set_age(json_t *row, const char *age_field, const char *time_field, int64_t ns);

/* A JSON string from any bytes: what is no UTF-8 is escaped. Never NULL; NULL text gives "". */
json_t *json_text(const char *text);
/* {"key":"value"} from "key=value" lines. */
json_t *json_labels(char *const *labels);
/* A list of texts; NULL gives null. */
json_t *json_texts(char *const *list);
/* RFC 3339; "0001-01-01T00:00:00Z" for 0, as Docker has it. */
json_t *json_time(int64_t ns);
