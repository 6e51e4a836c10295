/* Addresses below /v2/: which end-point, of which repository. */
#pragma once

#include "wire/serve/name.h"
#include "wire/serve/problem.h"

enum serve_route_kind {
    ROUTE_ROOT,      /* /v2/ */
    ROUTE_TOKEN,     /* /token */
    ROUTE_CATALOG,   /* /v2/_catalog */
    ROUTE_TAGS,      /* /v2/NAME/tags/list */
    ROUTE_MANIFEST,  /* /v2/NAME/manifests/REFERENCE */
    ROUTE_BLOB,      /* /v2/NAME/blobs/DIGEST */
    ROUTE_UPLOADS,   /* /v2/NAME/blobs/uploads/ */
    ROUTE_UPLOAD,    /* /v2/NAME/blobs/uploads/ID */
    ROUTE_REFERRERS, /* /v2/NAME/referrers/DIGEST */
};

struct serve_route {
    enum serve_route_kind kind;
    char repository[SERVE_REPOSITORY_MAX + 1];
    char reference[SERVE_DIGEST_MAX + 1]; /* tag, digest or upload, checked */
};

/* PROBLEM_NONE, or what is wrong with the address (already without its query and decoded). */
enum serve_problem serve_route_parse(const char *path, struct serve_route *ret) _must_check_;
