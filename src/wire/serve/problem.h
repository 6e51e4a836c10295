/* What a registry says when it refuses: the codes of the distribution specification. */
#pragma once

#include "base/macro.h"

enum serve_problem {
    PROBLEM_NONE = 0,
    PROBLEM_BLOB_UNKNOWN,
    PROBLEM_UPLOAD_INVALID,
    PROBLEM_UPLOAD_UNKNOWN,
    PROBLEM_UPLOAD_RANGE, /* BLOB_UPLOAD_INVALID, for bytes that are not the next ones */
    PROBLEM_DIGEST_INVALID,
    PROBLEM_MANIFEST_BLOB_UNKNOWN,
    PROBLEM_MANIFEST_INVALID,
    PROBLEM_MANIFEST_UNKNOWN,
    PROBLEM_NAME_INVALID,
    PROBLEM_NAME_UNKNOWN,
    PROBLEM_SIZE_INVALID,
    PROBLEM_TOO_LARGE, /* SIZE_INVALID, past a limit of this server */
    PROBLEM_UNAUTHORIZED,
    PROBLEM_DENIED,
    PROBLEM_UNSUPPORTED,
    PROBLEM_TOO_MANY,
    PROBLEM_RANGE,    /* the part of a blob that was asked for is not in it */
    PROBLEM_PATH,     /* no end-point of this API */
    PROBLEM_INTERNAL, /* this side failed; not in the specification */
    PROBLEM_FULL,     /* no room is left here; not in the specification */
    PROBLEM_COUNT_,
};

unsigned int serve_problem_status(enum serve_problem p);
const char *serve_problem_code(enum serve_problem p);

/* The body: {"errors":[...]}; owned. message NULL: the code's own. */
char *serve_problem_json(enum serve_problem p, const char *message);
