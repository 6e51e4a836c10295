#include <string.h>

#include "base/alloc.h"
#include "wire/agent/agent.h"
#include "wire/agent/cursor.h"

static const unsigned char *take(struct agent_reader *r, size_t n)
{
    const unsigned char *p = r->p;
    if (r->error < 0 || n > r->left) {
        r->error = -EPROTO;
        return NULL;
    }
    r->p += n;
    r->left -= n;
    return p;
}

static uint64_t read_number(struct agent_reader *r, size_t size)
{
    const unsigned char *p = take(r, size);
    uint64_t v = 0;
    for (size_t i = 0; p && i < size; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t agent_read_u8(struct agent_reader *r)
{
    return (uint8_t)read_number(r, 1);
}

uint32_t agent_read_u32(struct agent_reader *r)
{
    return (uint32_t)read_number(r, 4);
}

uint64_t agent_read_u64(struct agent_reader *r)
{
    return read_number(r, 8);
}

bool agent_read_bool(struct agent_reader *r)
{
    uint8_t v = agent_read_u8(r);
    if (v > 1)
        r->error = -EPROTO;
    return v == 1;
}

const char *agent_read_bytes(struct agent_reader *r, size_t *ret_len)
{
    size_t len = agent_read_u32(r);
    const char *p = (const char *)take(r, len);
    const unsigned char *end = p ? take(r, 1) : NULL;
    *ret_len = 0;
    if (!end || *end != 0) {
        r->error = -EPROTO;
        return "";
    }
    *ret_len = len;
    return p;
}

const char *agent_read_string(struct agent_reader *r)
{
    size_t len;
    const char *s = agent_read_bytes(r, &len);
    if (memchr(s, 0, len)) {
        r->error = -EPROTO;
        return "";
    }
    return s;
}

uint32_t agent_read_count(struct agent_reader *r, uint32_t max, size_t min_bytes)
{
    uint32_t n = agent_read_u32(r);
    if (r->error < 0 || n > max || n > r->left / min_bytes) {
        r->error = -EPROTO;
        return 0;
    }
    return n;
}

char **agent_read_vector(struct agent_reader *r)
{
    uint32_t n = agent_read_count(r, AGENT_VECTOR_MAX, 5);
    char **v = xcalloc(n + 1, sizeof(*v));
    for (uint32_t i = 0; i < n; i++)
        v[i] = (char *)agent_read_string(r);
    return v;
}

int agent_read_end(const struct agent_reader *r, struct error *err)
{
    if (r->error < 0 || r->left > 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "malformed message");
    return 0;
}

static void write_number(struct agent_writer *w, uint64_t v, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    if (w->error == 0)
        w->error = buf_add(&w->buf, bytes, size);
}

void agent_write_u8(struct agent_writer *w, uint8_t v)
{
    write_number(w, v, 1);
}

void agent_write_u32(struct agent_writer *w, uint32_t v)
{
    write_number(w, v, 4);
}

void agent_write_u64(struct agent_writer *w, uint64_t v)
{
    write_number(w, v, 8);
}

void agent_write_bytes(struct agent_writer *w, const char *data, size_t len)
{
    agent_write_u32(w, (uint32_t)MIN(len, (size_t)UINT32_MAX));
    if (w->error == 0)
        w->error = buf_add(&w->buf, data, len);
    agent_write_u8(w, 0);
}

void agent_write_string(struct agent_writer *w, const char *s)
{
    agent_write_bytes(w, s ? s : "", s ? strlen(s) : 0);
}

void agent_write_vector(struct agent_writer *w, char *const *v)
{
    uint32_t n = 0;
    while (v && v[n])
        n++;
    if (n > AGENT_VECTOR_MAX)
        w->error = -E2BIG;
    agent_write_u32(w, n);
    for (uint32_t i = 0; i < n; i++)
        agent_write_string(w, v[i]);
}

int agent_write_end(struct agent_writer *w, struct buf *out, int type, uint32_t stream)
{
    int r = w->error;
    if (r == 0)
        r = agent_frame_add(out, (enum agent_type)type, stream, w->buf.data, w->buf.len);
    buf_done(&w->buf);
    return r;
}
