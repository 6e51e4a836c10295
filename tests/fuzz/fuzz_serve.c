/*
 * What proa-serve reads from the network, and what the two processes read from each other. The
 * first byte says which: an address, a range, a chunk, a request, a reply, a manifest.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/image/artifact.h"
#include "wire/serve/message.h"
#include "wire/serve/range.h"
#include "wire/serve/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_route(const char *text)
{
    struct serve_route r;
    if (serve_route_parse(text, &r) != PROBLEM_NONE)
        return;
    if (r.repository[0] && !serve_repository_ok(r.repository))
        abort();
    if (strstr(r.repository, "..") || strchr(r.reference, '/'))
        abort();
}

static void try_range(const char *text)
{
    struct serve_range r;
    if (serve_range_parse(text, 1000, &r) == RANGE_FOUND &&
        (r.length == 0 || r.start + r.length > 1000))
        abort();
    if (serve_chunk_parse(text, &r) && r.length == 0)
        abort();
}

/* What was understood is written, and understood again. */
static void try_request(const char *text, size_t len)
{
    struct serve_request r, again;
    if (serve_request_decode(text, len, &r, NULL) < 0)
        return;
    _cleanup_free_ char *written = serve_request_encode(&r);
    if (strlen(written) <= SERVE_MESSAGE_MAX &&
        serve_request_decode(written, strlen(written), &again, NULL) < 0)
        abort();
    if (strlen(written) <= SERVE_MESSAGE_MAX)
        serve_request_done(&again);
    serve_request_done(&r);
}

static void try_reply(const char *text, size_t len)
{
    struct serve_reply r;
    if (serve_reply_decode(text, len, &r, NULL) == 0)
        serve_reply_done(&r);
}

static void try_manifest(const char *text, size_t len)
{
    struct artifact a;
    if (artifact_parse(text, len, NULL, serve_digest_ok, &a, NULL) < 0)
        return;
    for (size_t i = 0; i < a.n_needs; i++)
        if (!serve_digest_ok(a.needs[i].digest))
            abort();
    artifact_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    _cleanup_free_ char *text = xstrndup((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'p':
        try_route(text);
        break;
    case 'r':
        try_range(text);
        break;
    case 'q':
        try_request((const char *)data + 1, size - 1);
        break;
    case 'm':
        try_manifest((const char *)data + 1, size - 1);
        break;
    case 'a':
        try_reply((const char *)data + 1, size - 1);
        break;
    }
    return 0;
}
