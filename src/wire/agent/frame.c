#include <string.h>

#include "wire/agent/agent.h"
#include "wire/agent/cursor.h"
#include "wire/agent/forms.h"

/* The largest payload of each type. */
static const size_t payload_max[AGENT_TYPES] = {
    [AGENT_HELLO] = 4,
    [AGENT_CONFIGURE] = AGENT_PAYLOAD_MAX,
    [AGENT_START] = AGENT_PAYLOAD_MAX,
    [AGENT_EXEC] = AGENT_PAYLOAD_MAX,
    [AGENT_STARTED] = 0,
    [AGENT_DATA] = AGENT_DATA_MAX + 1,
    [AGENT_CLOSE] = 1,
    [AGENT_CREDIT] = 5,
    [AGENT_EXIT] = 4,
    [AGENT_SIGNAL] = 4,
    [AGENT_RESIZE] = 8,
    [AGENT_STATS] = 0,
    [AGENT_STATS_REPLY] = 72,
    [AGENT_PROCESSES] = 0,
    [AGENT_TEXT] = AGENT_PAYLOAD_MAX,
    [AGENT_TREE_OUT] = 8192,
    [AGENT_TREE_FOLLOW] = 8192,
    [AGENT_TREE_WHOLE] = 32,
    [AGENT_SIZE] = 128,
    [AGENT_TREE_IN] = 8192,
    [AGENT_SHUTDOWN] = 0,
    [AGENT_OK] = 0,
    [AGENT_ERROR] = 1024,
    [AGENT_FREEZE] = 4,
    [AGENT_LIMITS] = AGENT_PAYLOAD_MAX,
    [AGENT_SETTLE] = 4,
    [AGENT_SETTLED] = 4,
    [AGENT_RESUME] = 8192,
    [AGENT_SNAPSHOT] = 4,
    [AGENT_SNAPSHOT_REPLY] = 9,
    [AGENT_QUIESCE] = 0,
    [AGENT_GUEST_INFO] = 0,
    [AGENT_PREPARE] = 4,
    [AGENT_PROGRAM] = 32768,
    [AGENT_REHEARSE] = AGENT_PAYLOAD_MAX,
    [AGENT_ADOPT] = 4,
    [AGENT_NETWORKS] = 8192,
    [AGENT_NAMES] = 65536,
    [AGENT_CARD] = 128,
};

const char *const agent_tree_forms[AGENT_TREE_FORMS] = {NULL, "export", "layer", "changes"};

static uint32_t get32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void put32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (8 * i));
}

int agent_frame_parse(const char *data, size_t len, struct agent_frame *ret, size_t *ret_used,
                      struct error *err)
{
    *ret_used = 0;
    if (len < AGENT_HEADER)
        return 0;
    uint32_t payload = get32(data), type = get32(data + 4);
    if (type == 0 || type >= AGENT_TYPES)
        return error_set(err, ERROR_CORRUPT, EPROTO, "unknown message type %u", type);
    if (payload > payload_max[type])
        return error_set(err, ERROR_CORRUPT, EPROTO, "message of %u bytes is too long", payload);
    if (len - AGENT_HEADER < payload)
        return 0;
    *ret = (struct agent_frame){
        .type = (enum agent_type)type,
        .stream = get32(data + 8),
        .payload = data + AGENT_HEADER,
        .len = payload,
    };
    *ret_used = AGENT_HEADER + payload;
    return 0;
}

int agent_frame_add(struct buf *out, enum agent_type type, uint32_t stream, const void *payload,
                    size_t len)
{
    char *p;
    if (len > payload_max[type])
        return -EFBIG;
    int r = buf_reserve(out, AGENT_HEADER + len, &p);
    if (r < 0)
        return r;
    put32(p, (uint32_t)len);
    put32(p + 4, (uint32_t)type);
    put32(p + 8, stream);
    if (len)
        memcpy(p + AGENT_HEADER, payload, len);
    out->len += AGENT_HEADER + len;
    out->data[out->len] = '\0';
    return 0;
}

int agent_add_u32(struct buf *out, enum agent_type type, uint32_t stream, uint32_t value)
{
    char p[4];
    put32(p, value);
    return agent_frame_add(out, type, stream, p, sizeof(p));
}

int agent_add_string(struct buf *out, enum agent_type type, uint32_t stream, const char *s)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_string(&w, s);
    return agent_write_end(&w, out, (int)type, stream);
}

int agent_add_data(struct buf *out, uint32_t stream, uint8_t channel, const void *data, size_t len)
{
    char *p;
    if (len > AGENT_DATA_MAX)
        return -EFBIG;
    int r = buf_reserve(out, AGENT_HEADER + 1 + len, &p);
    if (r < 0)
        return r;
    put32(p, (uint32_t)len + 1);
    put32(p + 4, AGENT_DATA);
    put32(p + 8, stream);
    p[AGENT_HEADER] = (char)channel;
    if (len)
        memcpy(p + AGENT_HEADER + 1, data, len);
    out->len += AGENT_HEADER + 1 + len;
    out->data[out->len] = '\0';
    return 0;
}

int agent_add_close(struct buf *out, uint32_t stream, uint8_t channel)
{
    return agent_frame_add(out, AGENT_CLOSE, stream, &channel, 1);
}

int agent_add_credit(struct buf *out, uint32_t stream, uint8_t channel, uint32_t n)
{
    char p[5] = {(char)channel};
    put32(p + 1, n);
    return agent_frame_add(out, AGENT_CREDIT, stream, p, sizeof(p));
}

int agent_add_resize(struct buf *out, uint32_t stream, uint32_t rows, uint32_t columns)
{
    char p[8];
    put32(p, rows);
    put32(p + 4, columns);
    return agent_frame_add(out, AGENT_RESIZE, stream, p, sizeof(p));
}

int agent_add_error(struct buf *out, uint32_t stream, const struct error *e)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_u32(&w, (uint32_t)e->kind);
    agent_write_u32(&w, (uint32_t)e->code);
    agent_write_string(&w, e->msg);
    return agent_write_end(&w, out, AGENT_ERROR, stream);
}

static struct agent_reader reader(const struct agent_frame *f)
{
    return (struct agent_reader){(const unsigned char *)f->payload, f->len, 0};
}

int agent_get_u32(const struct agent_frame *f, uint32_t *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    uint32_t v = agent_read_u32(&r);
    int bad = agent_read_end(&r, err);
    if (bad == 0)
        *ret = v;
    return bad;
}

int agent_get_string(const struct agent_frame *f, const char **ret, struct error *err)
{
    struct agent_reader r = reader(f);
    const char *s = agent_read_string(&r);
    int bad = agent_read_end(&r, err);
    if (bad == 0)
        *ret = s;
    return bad;
}

static uint8_t read_channel(struct agent_reader *r)
{
    uint8_t channel = agent_read_u8(r);
    if (channel > 2)
        r->error = -EPROTO;
    return channel;
}

int agent_get_data(const struct agent_frame *f, uint8_t *ret_channel, const char **ret_data,
                   size_t *ret_len, struct error *err)
{
    struct agent_reader r = reader(f);
    uint8_t channel = read_channel(&r);
    if (r.error < 0 || r.left == 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "malformed data");
    *ret_channel = channel;
    *ret_data = (const char *)r.p;
    *ret_len = r.left;
    return 0;
}

int agent_get_close(const struct agent_frame *f, uint8_t *ret_channel, struct error *err)
{
    struct agent_reader r = reader(f);
    uint8_t channel = read_channel(&r);
    int bad = agent_read_end(&r, err);
    if (bad == 0)
        *ret_channel = channel;
    return bad;
}

int agent_get_credit(const struct agent_frame *f, uint8_t *ret_channel, uint32_t *ret,
                     struct error *err)
{
    struct agent_reader r = reader(f);
    uint8_t channel = read_channel(&r);
    uint32_t n = agent_read_u32(&r);
    if (n > AGENT_WINDOW)
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad == 0) {
        *ret_channel = channel;
        *ret = n;
    }
    return bad;
}

int agent_get_resize(const struct agent_frame *f, uint32_t *ret_rows, uint32_t *ret_columns,
                     struct error *err)
{
    struct agent_reader r = reader(f);
    uint32_t rows = agent_read_u32(&r), columns = agent_read_u32(&r);
    if (rows > UINT16_MAX || columns > UINT16_MAX)
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad == 0) {
        *ret_rows = rows;
        *ret_columns = columns;
    }
    return bad;
}

int agent_get_error(const struct agent_frame *f, struct error *err)
{
    struct agent_reader r = reader(f);
    uint32_t kind = agent_read_u32(&r), code = agent_read_u32(&r);
    const char *text = agent_read_string(&r);
    int bad = agent_read_end(&r, err);
    if (bad < 0)
        return bad;
    if (kind == ERROR_NONE || kind > ERROR_COMMAND_NOT_RUN || code == 0 || code > 4095)
        return error_set(err, ERROR_CORRUPT, EPROTO, "malformed error from the machine");
    return error_set(err, (enum error_kind)kind, (int)code, "%s", text);
}
