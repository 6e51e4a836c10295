#include "wire/serve/problem.h"

#include "base/json.h"

static const struct {
    unsigned int status;
    const char *code, *message;
} problems[PROBLEM_COUNT_] = {
    [PROBLEM_NONE] = {200, "", ""},
    [PROBLEM_BLOB_UNKNOWN] = {404, "BLOB_UNKNOWN", "there is no such blob in this repository"},
    [PROBLEM_UPLOAD_INVALID] = {400, "BLOB_UPLOAD_INVALID", "the upload cannot be done like that"},
    [PROBLEM_UPLOAD_UNKNOWN] = {404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"},
    [PROBLEM_UPLOAD_RANGE] = {416, "BLOB_UPLOAD_INVALID", "these are not the next bytes"},
    [PROBLEM_DIGEST_INVALID] = {400, "DIGEST_INVALID", "this is not the digest of the content"},
    [PROBLEM_MANIFEST_BLOB_UNKNOWN] = {404, "MANIFEST_BLOB_UNKNOWN",
                                       "the manifest names what is not in this repository"},
    [PROBLEM_MANIFEST_INVALID] = {400, "MANIFEST_INVALID", "the manifest cannot be understood"},
    [PROBLEM_MANIFEST_UNKNOWN] = {404, "MANIFEST_UNKNOWN", "there is no such manifest"},
    [PROBLEM_NAME_INVALID] = {400, "NAME_INVALID", "this is no name of a repository"},
    [PROBLEM_NAME_UNKNOWN] = {404, "NAME_UNKNOWN", "there is no such repository"},
    [PROBLEM_SIZE_INVALID] = {400, "SIZE_INVALID", "the length is not the announced one"},
    [PROBLEM_TOO_LARGE] = {413, "SIZE_INVALID", "it is larger than this server allows"},
    [PROBLEM_UNAUTHORIZED] = {401, "UNAUTHORIZED", "a name and a password are needed"},
    [PROBLEM_DENIED] = {403, "DENIED", "this is not allowed to you"},
    [PROBLEM_UNSUPPORTED] = {405, "UNSUPPORTED", "this server does not offer that"},
    [PROBLEM_TOO_MANY] = {429, "TOOMANYREQUESTS", "too many at once: try again later"},
    [PROBLEM_RANGE] = {416, "SIZE_INVALID", "the range is outside of the blob"},
    [PROBLEM_PATH] = {404, "UNSUPPORTED", "this is no address of the distribution API"},
    [PROBLEM_INTERNAL] = {500, "UNKNOWN", "the server failed"},
    [PROBLEM_FULL] = {507, "UNKNOWN", "the server has no room left"},
};

unsigned int serve_problem_status(enum serve_problem p)
{
    return problems[p].status;
}

const char *serve_problem_code(enum serve_problem p)
{
    return problems[p].code;
}

char *serve_problem_json(enum serve_problem p, const char *message)
{
    /* What is not UTF-8 cannot be quoted. */
    json_t *said = message ? json_string(message) : NULL;
    _cleanup_json_ json_t *o = json_pack("{s[{ssso}]}", "errors", "code", problems[p].code,
                                         "message", said ? said : json_string(problems[p].message));
    return json_to_text(o);
}
