#include "wire/serve/message.h"

#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/strv.h"

static bool text_ok(const char *s)
{
    size_t len = strlen(s);
    return len > 0 && len <= SERVE_SECRET_MAX;
}

/* Any word that was given as `last`: it is compared, never used as a name. */
static bool word_ok(const char *s)
{
    return strlen(s) <= SERVE_REPOSITORY_MAX;
}

enum field_type { FIELD_TEXT, FIELD_NUMBER, FIELD_FLAG, FIELD_TAGS };
struct field {
    const char *name;
    size_t offset;
    enum field_type type;
    bool (*ok)(const char *s);
};
#define TEXT(s, f, check)                                                                          \
    {                                                                                              \
#f, offsetof(struct s, f), FIELD_TEXT, check                                               \
    }
#define NUMBER(s, f)                                                                               \
    {                                                                                              \
#f, offsetof(struct s, f), FIELD_NUMBER, NULL                                              \
    }
#define FLAG(s, f)                                                                                 \
    {                                                                                              \
#f, offsetof(struct s, f), FIELD_FLAG, NULL                                                \
    }

enum {
    F_SESSION = 1 << 0,
    F_USER = 1 << 1,
    F_SECRET = 1 << 2,
    F_REPOSITORY = 1 << 3,
    F_REFERENCE = 1 << 4,
    F_DIGEST = 1 << 5,
    F_UPLOAD = 1 << 6,
    F_FROM = 1 << 7,
    F_MEDIA_TYPE = 1 << 8,
    F_ARTIFACT_TYPE = 1 << 9,
    F_LAST = 1 << 10,
    F_TAGS = 1 << 11,
    F_OFFSET = 1 << 12,
    F_COUNT = 1 << 13,
    F_HEAD = 1 << 14,
};

/* In the order of the bits. */
static const struct field request_fields[] = {
    TEXT(serve_request, session, serve_id_ok),
    TEXT(serve_request, user, text_ok),
    TEXT(serve_request, secret, text_ok),
    TEXT(serve_request, repository, serve_repository_ok),
    TEXT(serve_request, reference, serve_reference_ok),
    TEXT(serve_request, digest, serve_digest_ok),
    TEXT(serve_request, upload, serve_id_ok),
    TEXT(serve_request, from, serve_repository_ok),
    TEXT(serve_request, media_type, serve_type_ok),
    TEXT(serve_request, artifact_type, serve_type_ok),
    TEXT(serve_request, last, word_ok),
    {"tags", offsetof(struct serve_request, tags), FIELD_TAGS, serve_tag_ok},
    NUMBER(serve_request, offset),
    NUMBER(serve_request, count),
    FLAG(serve_request, head),
};

static const struct field reply_fields[] = {
    TEXT(serve_reply, message, text_ok),
    TEXT(serve_reply, session, serve_id_ok),
    TEXT(serve_reply, upload, serve_id_ok),
    TEXT(serve_reply, digest, serve_digest_ok),
    TEXT(serve_reply, media_type, serve_type_ok),
    TEXT(serve_reply, subject, serve_digest_ok),
    TEXT(serve_reply, next, word_ok),
    NUMBER(serve_reply, size),
    NUMBER(serve_reply, offset),
    FLAG(serve_reply, filtered),
};

static const struct {
    const char *name;
    unsigned int role;
    unsigned int needs, may; /* F_*; session, offset and count may always be there */
} ops[SERVE_OP_COUNT_] = {
    [SERVE_LOGIN] = {"login", 0, F_SECRET, F_USER},
    [SERVE_CHECK] = {"check", SERVE_ROLE_PULL, 0, 0},
    [SERVE_MANIFEST_GET] = {"manifest-get", SERVE_ROLE_PULL, F_REPOSITORY | F_REFERENCE, F_HEAD},
    [SERVE_MANIFEST_PUT] = {"manifest-put", SERVE_ROLE_PUSH, F_REPOSITORY | F_REFERENCE | F_UPLOAD,
                            F_MEDIA_TYPE | F_TAGS},
    [SERVE_MANIFEST_DELETE] = {"manifest-delete", SERVE_ROLE_DELETE, F_REPOSITORY | F_REFERENCE, 0},
    [SERVE_BLOB_GET] = {"blob-get", SERVE_ROLE_PULL, F_REPOSITORY | F_DIGEST, F_HEAD},
    [SERVE_BLOB_DELETE] = {"blob-delete", SERVE_ROLE_DELETE, F_REPOSITORY | F_DIGEST, 0},
    [SERVE_BLOB_MOUNT] = {"blob-mount", SERVE_ROLE_PUSH, F_REPOSITORY | F_DIGEST, F_FROM},
    [SERVE_UPLOAD_BEGIN] = {"upload-begin", SERVE_ROLE_PUSH, F_REPOSITORY, 0},
    [SERVE_UPLOAD_WRITE] = {"upload-write", SERVE_ROLE_PUSH, F_REPOSITORY | F_UPLOAD, 0},
    [SERVE_UPLOAD_WROTE] = {"upload-wrote", SERVE_ROLE_PUSH, F_REPOSITORY | F_UPLOAD, 0},
    [SERVE_UPLOAD_STATUS] = {"upload-status", SERVE_ROLE_PUSH, F_REPOSITORY | F_UPLOAD, 0},
    [SERVE_UPLOAD_COMMIT] = {"upload-commit", SERVE_ROLE_PUSH, F_REPOSITORY | F_UPLOAD | F_DIGEST,
                             0},
    [SERVE_UPLOAD_CANCEL] = {"upload-cancel", SERVE_ROLE_PUSH, F_REPOSITORY | F_UPLOAD, 0},
    [SERVE_TAGS] = {"tags", SERVE_ROLE_PULL, F_REPOSITORY, F_LAST},
    [SERVE_CATALOG] = {"catalog", SERVE_ROLE_PULL, 0, F_LAST},
    [SERVE_REFERRERS] = {"referrers", SERVE_ROLE_PULL, F_REPOSITORY | F_DIGEST, F_ARTIFACT_TYPE},
};

const char *serve_op_name(enum serve_op op)
{
    return ops[op].name;
}

unsigned int serve_op_role(enum serve_op op)
{
    return ops[op].role;
}

static void fields_done(void *place, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *at = (char *)place + fields[i].offset;
        if (fields[i].type == FIELD_TEXT)
            free(*(char **)at);
        else if (fields[i].type == FIELD_TAGS)
            strv_free(*(char ***)at);
    }
}

void serve_request_done(struct serve_request *r)
{
    fields_done(r, request_fields, ARRAY_SIZE(request_fields));
    memset(r, 0, sizeof(*r));
}

void serve_reply_done(struct serve_reply *r)
{
    fields_done(r, reply_fields, ARRAY_SIZE(reply_fields));
    memset(r, 0, sizeof(*r));
}

/* Members with nothing in them are left out. */
static void encode_fields(json_t *o, const void *place, const struct field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *at = (const char *)place + fields[i].offset;
        json_t *value = NULL;
        if (fields[i].type == FIELD_TEXT && *(char *const *)at)
            value = json_string(*(char *const *)at);
        else if (fields[i].type == FIELD_TAGS && *(char **const *)at)
            value = json_from_strv(*(char **const *)at);
        else if (fields[i].type == FIELD_NUMBER && *(const uint64_t *)at)
            value = json_integer((json_int_t) * (const uint64_t *)at);
        else if (fields[i].type == FIELD_FLAG && *(const bool *)at)
            value = json_true();
        if (value)
            json_object_set_new(o, fields[i].name, value);
    }
}

static int bad(struct error *err, const char *name)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "a message with a wrong \"%s\"", name);
}

static int decode_field(const json_t *o, const struct field *f, char *at, struct error *err)
{
    const char *text = NULL, *what = "message";
    int64_t number = 0;
    int r = 0;
    switch (f->type) {
    case FIELD_TEXT:
        if ((r = json_get_string(o, what, f->name, &text, err)) == 0 && text && !f->ok(text))
            return bad(err, f->name);
        *(char **)at = xstrdup(text);
        return r;
    case FIELD_NUMBER:
        if ((r = json_get_i64(o, what, f->name, &number, err)) == 0 && number < 0)
            return bad(err, f->name);
        *(uint64_t *)at = (uint64_t)number;
        return r;
    case FIELD_FLAG:
        return json_get_bool(o, what, f->name, (bool *)at, err);
    case FIELD_TAGS:
        if ((r = json_get_strv(o, what, f->name, (char ***)at, err)) < 0)
            return r;
        if (strv_len(*(char ***)at) > SERVE_TAGS_MAX)
            return bad(err, f->name);
        for (char **tag = *(char ***)at; tag && *tag; tag++)
            if (!f->ok(*tag))
                return bad(err, f->name);
        return 0;
    }
    return bad(err, f->name);
}

/* *ret_have: the bits of the members that are there. A member that is not in the table is refused.
 */
static int decode_fields(json_t *o, const struct field *fields, size_t n, void *place,
                         unsigned int *ret_have, struct error *err)
{
    const char *key;
    json_t *value;
    unsigned int have = 0;
    json_object_foreach(o, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0)
            i++;
        if (i == n)
            return bad(err, "member");
        if (json_is_null(value))
            return bad(err, fields[i].name);
        int r = decode_field(o, &fields[i], (char *)place + fields[i].offset, err);
        if (r < 0)
            return r;
        have |= 1u << i;
    }
    *ret_have = have;
    return 0;
}

char *serve_request_encode(const struct serve_request *r)
{
    _cleanup_json_ json_t *o = json_pack("{ss}", "op", ops[r->op].name);
    encode_fields(o, r, request_fields, ARRAY_SIZE(request_fields));
    return json_to_text(o);
}

/* Takes "op" out of the object. */
static int decode_op(json_t *o, enum serve_op *ret, struct error *err)
{
    const char *name = NULL;
    int r = json_get_string(o, "message", "op", &name, err);
    if (r < 0)
        return r;
    for (size_t i = 0; name && i < ARRAY_SIZE(ops); i++) {
        if (strcmp(ops[i].name, name) == 0) {
            *ret = (enum serve_op)i;
            json_object_del(o, "op");
            return 0;
        }
    }
    return bad(err, "op");
}

int serve_request_decode(const char *text, size_t len, struct serve_request *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(serve_request_done) struct serve_request q = {0};
    unsigned int have = 0;
    int r;
    if (len > SERVE_MESSAGE_MAX)
        return bad(err, "size");
    if ((r = json_parse(text, len, "message", &o, err)) < 0 || (r = decode_op(o, &q.op, err)) < 0 ||
        (r = decode_fields(o, request_fields, ARRAY_SIZE(request_fields), &q, &have, err)) < 0)
        return r;
    unsigned int may = ops[q.op].needs | ops[q.op].may | F_SESSION | F_OFFSET | F_COUNT;
    if ((have & ops[q.op].needs) != ops[q.op].needs || (have & ~may))
        return bad(err, ops[q.op].name);
    *ret = q;
    memset(&q, 0, sizeof(q));
    return 0;
}

char *serve_reply_encode(const struct serve_reply *r)
{
    _cleanup_json_ json_t *o = json_pack("{si}", "problem", (int)r->problem);
    encode_fields(o, r, reply_fields, ARRAY_SIZE(reply_fields));
    return json_to_text(o);
}

int serve_reply_decode(const char *text, size_t len, struct serve_reply *ret, struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    _cleanup_(serve_reply_done) struct serve_reply p = {0};
    int64_t problem = -1;
    unsigned int have = 0;
    int r;
    if (len > SERVE_MESSAGE_MAX)
        return bad(err, "size");
    if ((r = json_parse(text, len, "message", &o, err)) < 0 ||
        (r = json_get_i64(o, "message", "problem", &problem, err)) < 0)
        return r;
    if (problem < 0 || problem >= PROBLEM_COUNT_)
        return bad(err, "problem");
    json_object_del(o, "problem");
    p.problem = (enum serve_problem)problem;
    if ((r = decode_fields(o, reply_fields, ARRAY_SIZE(reply_fields), &p, &have, err)) < 0)
        return r;
    *ret = p;
    memset(&p, 0, sizeof(p));
    return 0;
}
