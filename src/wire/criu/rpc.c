/*
 * Protocol buffers are (number and wire type) keys as variable-length integers, each followed by
 * its value: an integer, or a length and bytes. The plain members of a request are a table of their
 * field numbers; the repeated ones are written by hand.
 */
#include "wire/criu/rpc.h"

#include <stddef.h>
#include <string.h>

#include "base/macro.h"

enum wire_type {
    WIRE_INTEGER = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

enum member {
    MEMBER_DESCRIPTOR,
    MEMBER_PID,
    MEMBER_FLAG,
    MEMBER_NUMBER,
    MEMBER_TEXT,
};

#define MEMBER(number, kind, member)                                                               \
    {                                                                                              \
        number, kind, offsetof(struct criu_request, member)                                        \
    }
/* Field numbers of criu_opts. */
static const struct {
    uint32_t number;
    enum member kind;
    size_t offset;
} members[] = {
    MEMBER(1, MEMBER_DESCRIPTOR, images_fd),
    MEMBER(2, MEMBER_PID, pid),
    MEMBER(3, MEMBER_FLAG, leave_running),
    MEMBER(4, MEMBER_FLAG, external_sockets),
    MEMBER(5, MEMBER_FLAG, tcp_established),
    MEMBER(6, MEMBER_FLAG, evasive_devices),
    MEMBER(7, MEMBER_FLAG, shell_job),
    MEMBER(8, MEMBER_FLAG, file_locks),
    MEMBER(10, MEMBER_TEXT, log_file),
    MEMBER(13, MEMBER_TEXT, root),
    MEMBER(14, MEMBER_TEXT, parent),
    MEMBER(15, MEMBER_FLAG, track_memory),
    MEMBER(16, MEMBER_FLAG, auto_dedup),
    MEMBER(17, MEMBER_DESCRIPTOR, work_fd),
    MEMBER(26, MEMBER_FLAG, sibling),
    MEMBER(38, MEMBER_NUMBER, empty_namespaces),
    MEMBER(44, MEMBER_TEXT, freezer),
    MEMBER(46, MEMBER_FLAG, tcp_skip_in_flight),
    MEMBER(50, MEMBER_FLAG, orphan_terminal),
    MEMBER(53, MEMBER_TEXT, lsm_profile),
    MEMBER(63, MEMBER_TEXT, lsm_mount_context),
};

enum { /* criu_opts */
       OPTS_LOG_LEVEL = 9,
       OPTS_NOTIFY_SCRIPTS = 12,
       OPTS_MANAGE_CGROUPS = 24,
       OPTS_CG_ROOT = 25,
       OPTS_INHERIT_FD = 27,
       OPTS_MANAGE_CGROUPS_MODE = 34,
       OPTS_EXTERNAL = 37,
       OPTS_JOIN_NS = 39,
};
enum { /* criu_req */
       REQ_TYPE = 1,
       REQ_OPTS = 2,
       REQ_NOTIFY_SUCCESS = 3,
};
enum { /* criu_resp, and in it criu_restore_resp, criu_notify and criu_version */
       RESP_TYPE = 1,
       RESP_SUCCESS = 2,
       RESP_RESTORE = 4,
       RESP_NOTIFY = 5,
       RESP_ERRNO = 7,
       RESP_MESSAGE = 9,
       RESP_VERSION = 10,
       RESTORE_PID = 1,
       NOTIFY_SCRIPT = 1,
       NOTIFY_PID = 2,
       VERSION_MAJOR = 1,
       VERSION_MINOR = 2,
};
#define LOG_LEVEL 4 /* everything but CRIU's own debugging */

static int put_varint(struct buf *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
        n++;
    } while (value);
    return buf_add(out, bytes, n);
}

static int put_number(struct buf *out, uint32_t field, uint64_t value)
{
    int r = put_varint(out, (uint64_t)field << 3 | WIRE_INTEGER);
    return r < 0 ? r : put_varint(out, value);
}

static int put_bytes(struct buf *out, uint32_t field, const void *data, size_t len)
{
    int r = put_varint(out, (uint64_t)field << 3 | WIRE_BYTES);
    if (r == 0)
        r = put_varint(out, len);
    return r < 0 ? r : buf_add(out, data, len);
}

static int put_text(struct buf *out, uint32_t field, const char *text)
{
    return put_bytes(out, field, text, strlen(text));
}

static int put_member(struct buf *out, uint32_t field, enum member kind, const void *at)
{
    const char *text;
    uint64_t number = 0;
    switch (kind) {
    case MEMBER_TEXT:
        memcpy(&text, at, sizeof(text));
        return text ? put_text(out, field, text) : 0;
    case MEMBER_DESCRIPTOR:
        return *(const int *)at < 0 ? 0 : put_number(out, field, (uint64_t)(*(const int *)at));
    case MEMBER_FLAG:
        number = *(const bool *)at;
        break;
    case MEMBER_PID:
        number = (uint64_t)(*(const pid_t *)at);
        break;
    case MEMBER_NUMBER:
        number = *(const uint32_t *)at;
        break;
    }
    return number ? put_number(out, field, number) : 0;
}

/* A message of two members inside another: text first, then text or a number. */
static int put_pair(struct buf *out, uint32_t field, const char *first, const char *second,
                    int number)
{
    _cleanup_buf_ struct buf inner = BUF_INIT(out->max);
    int r = put_text(&inner, 1, first);
    if (r == 0)
        r = second ? put_text(&inner, 2, second) : put_number(&inner, 2, (uint64_t)number);
    return r < 0 ? r : put_bytes(out, field, inner.data, inner.len);
}

static int put_lists(const struct criu_request *q, struct buf *out)
{
    int r = 0;
    for (size_t i = 0; q->external && q->external[i] && r == 0; i++)
        r = put_text(out, OPTS_EXTERNAL, q->external[i]);
    for (size_t i = 0; i < q->n_inherited && r == 0; i++)
        r = put_pair(out, OPTS_INHERIT_FD, q->inherited[i].key, NULL, q->inherited[i].fd);
    for (size_t i = 0; i < q->n_groups && r == 0; i++)
        r = put_pair(out, OPTS_CG_ROOT, q->groups[i].controller, q->groups[i].path, 0);
    for (size_t i = 0; i < q->n_joins && r == 0; i++)
        r = put_pair(out, OPTS_JOIN_NS, q->joins[i].name, q->joins[i].file, 0);
    return r;
}

static int put_options(const struct criu_request *q, struct buf *out)
{
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(members) && r == 0; i++)
        r = put_member(out, members[i].number, members[i].kind,
                       (const char *)q + members[i].offset);
    if (r == 0)
        r = put_number(out, OPTS_LOG_LEVEL, LOG_LEVEL);
    if (r == 0)
        r = put_number(out, OPTS_NOTIFY_SCRIPTS, true);
    if (r == 0)
        r = put_number(out, OPTS_MANAGE_CGROUPS, true);
    if (r == 0)
        r = put_number(out, OPTS_MANAGE_CGROUPS_MODE, q->cgroups);
    return r < 0 ? r : put_lists(q, out);
}

int criu_request_encode(const struct criu_request *q, struct buf *out)
{
    _cleanup_buf_ struct buf options = BUF_INIT(out->max);
    if (q->type == CRIU_VERSION)
        return put_number(out, REQ_TYPE, q->type);
    int r = put_options(q, &options);
    if (r == 0)
        r = put_number(out, REQ_TYPE, q->type);
    return r < 0 ? r : put_bytes(out, REQ_OPTS, options.data, options.len);
}

int criu_reply_encode(bool success, struct buf *out)
{
    int r = put_number(out, REQ_TYPE, CRIU_NOTIFY);
    return r < 0 ? r : put_number(out, REQ_NOTIFY_SUCCESS, success);
}

struct reader {
    const unsigned char *at;
    size_t left;
};

/* One member: number has an integer's value, bytes what a length goes before. */
struct field {
    uint32_t number;
    uint64_t value;
    struct reader bytes;
};

static int take_varint(struct reader *r, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned int shift = 0; shift < 64; shift += 7) {
        if (r->left == 0)
            return -EPROTO;
        unsigned char byte = *r->at++;
        r->left--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return -EPROTO;
}

static int take_bytes(struct reader *r, uint64_t len, struct reader *ret)
{
    if (len > r->left)
        return -EPROTO;
    *ret = (struct reader){r->at, (size_t)len};
    r->at += len;
    r->left -= (size_t)len;
    return 0;
}

static int take_field(struct reader *r, struct field *ret)
{
    uint64_t key, len;
    *ret = (struct field){.number = 0};
    int e = take_varint(r, &key);
    if (e < 0)
        return e;
    ret->number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case WIRE_INTEGER:
        return take_varint(r, &ret->value);
    case WIRE_BYTES:
        e = take_varint(r, &len);
        return e < 0 ? e : take_bytes(r, len, &ret->bytes);
    case WIRE_FIXED64:
        return take_bytes(r, 8, &ret->bytes);
    case WIRE_FIXED32:
        return take_bytes(r, 4, &ret->bytes);
    default:
        return -EPROTO;
    }
}

/* Cut where it is too long; control characters would make more than one line of it. */
static void copy_text(const struct reader *from, char *to, size_t size)
{
    size_t len = MIN(from->left, size - 1);
    for (size_t i = 0; i < len; i++)
        to[i] = from->at[i] < ' ' ? ' ' : (char)from->at[i];
    to[len] = '\0';
}

static int decode_restore(struct reader r, struct criu_answer *a)
{
    struct field f;
    while (r.left > 0) {
        int e = take_field(&r, &f);
        if (e < 0)
            return e;
        if (f.number == RESTORE_PID)
            a->pid = (int32_t)f.value;
    }
    return 0;
}

static int decode_notify(struct reader r, struct criu_answer *a)
{
    struct field f;
    while (r.left > 0) {
        int e = take_field(&r, &f);
        if (e < 0)
            return e;
        if (f.number == NOTIFY_SCRIPT)
            copy_text(&f.bytes, a->script, sizeof(a->script));
        else if (f.number == NOTIFY_PID)
            a->pid = (int32_t)f.value;
    }
    return 0;
}

static int decode_version(struct reader r, struct criu_answer *a)
{
    struct field f;
    while (r.left > 0) {
        int e = take_field(&r, &f);
        if (e < 0)
            return e;
        if (f.number == VERSION_MAJOR)
            a->major = (uint32_t)f.value;
        else if (f.number == VERSION_MINOR)
            a->minor = (uint32_t)f.value;
    }
    return 0;
}

static int decode_member(const struct field *f, struct criu_answer *a)
{
    switch (f->number) {
    case RESP_TYPE:
        a->type = (uint32_t)f->value;
        return 0;
    case RESP_SUCCESS:
        a->success = f->value != 0;
        return 0;
    case RESP_RESTORE:
        return decode_restore(f->bytes, a);
    case RESP_NOTIFY:
        return decode_notify(f->bytes, a);
    case RESP_VERSION:
        return decode_version(f->bytes, a);
    case RESP_ERRNO:
        a->errnum = (int32_t)f->value;
        return 0;
    case RESP_MESSAGE:
        copy_text(&f->bytes, a->complaint, sizeof(a->complaint));
        return 0;
    default:
        return 0;
    }
}

int criu_answer_decode(const void *data, size_t len, struct criu_answer *ret)
{
    struct criu_answer a = {.type = 0};
    struct reader r = {data, len};
    while (r.left > 0) {
        struct field f;
        int e = take_field(&r, &f);
        if (e == 0)
            e = decode_member(&f, &a);
        if (e < 0)
            return e;
    }
    if (a.type == 0)
        return -EPROTO;
    *ret = a;
    return 0;
}
