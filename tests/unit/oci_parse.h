/* For the tests of configurations: a text that is taken, and one that is refused. */
#pragma once

#include "check.h"

#include <string.h>

#include "wire/oci/config.h"

#define HEAD "{\"ociVersion\":\"1.0.2\","
#define PROC HEAD "\"process\":{\"args\":[\"true\"],\"cwd\":\"/\","

static inline struct oci_config *parse(const char *text)
{
    struct oci_config *c = NULL;
    struct error err = ERROR_INIT;
    if (oci_config_parse(text, strlen(text), &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

/* Refused, in one line that names the member. */
static inline void refused(const char *text, const char *part)
{
    struct oci_config *c = NULL;
    struct error err = ERROR_INIT;
    if (oci_config_parse(text, strlen(text), &c, &err) == 0)
        fail_msg("taken: %s", text);
    assert_null(c);
    assert_null(strchr(err.msg, '\n'));
    if (!strstr(err.msg, part))
        fail_msg("\"%s\" does not name \"%s\"", err.msg, part);
}
