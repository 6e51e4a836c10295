#include "base/alloc.h"
#include "wire/agent/agent.h"
#include "wire/agent/cursor.h"

static struct agent_reader reader(const struct agent_frame *f)
{
    return (struct agent_reader){(const unsigned char *)f->payload, f->len, 0};
}

static void write_network(struct agent_writer *w, const struct agent_network *n)
{
    agent_write_string(w, n->mac);
    agent_write_string(w, n->address);
    agent_write_string(w, n->gateway);
    agent_write_string(w, n->address6);
    agent_write_string(w, n->gateway6);
    agent_write_u32(w, n->prefix);
    agent_write_u32(w, n->prefix6);
    agent_write_u32(w, n->mtu);
}

void agent_write_networks(struct agent_writer *w, const struct agent_network *list, size_t n)
{
    agent_write_u32(w, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        write_network(w, &list[i]);
    if (n > AGENT_ITEMS_MAX)
        w->error = -E2BIG;
}

int agent_networks_add(struct buf *out, uint32_t stream, const struct agent_network *list, size_t n)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_networks(&w, list, n);
    return agent_write_end(&w, out, AGENT_NETWORKS, stream);
}

int agent_networks_get(const struct agent_frame *f, struct agent_network **ret_list, size_t *ret_n,
                       struct error *err)
{
    struct agent_reader r = reader(f);
    size_t n = 0;
    struct agent_network *list = agent_read_networks(&r, &n);
    int bad = agent_read_end(&r, err);
    if (bad < 0) {
        free(list);
        return bad;
    }
    *ret_list = list;
    *ret_n = n;
    return 0;
}

int agent_names_add(struct buf *out, uint32_t stream, const struct agent_names *n)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_vector(&w, n->gone);
    agent_write_string(&w, n->more);
    agent_write_string(&w, n->resolv_conf);
    return agent_write_end(&w, out, AGENT_NAMES, stream);
}

int agent_names_get(const struct agent_frame *f, struct agent_names *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_names n = {.gone = agent_read_vector(&r), .more = agent_read_string(&r)};
    n.resolv_conf = agent_read_string(&r);
    int bad = agent_read_end(&r, err);
    if (bad < 0)
        free(n.gone);
    else
        *ret = n;
    return bad;
}

int agent_configure_add(struct buf *out, const struct agent_configure *c)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_string(&w, c->hostname);
    agent_write_string(&w, c->machine_id);
    agent_write_u64(&w, (uint64_t)c->clock_ns);
    agent_write_bytes(&w, c->seed, c->seed_len);
    agent_write_u32(&w, c->n_layers);
    agent_write_u8(&w, c->has_disk);
    agent_write_networks(&w, c->networks, c->n_networks);
    agent_write_u32(&w, (uint32_t)c->n_files);
    for (size_t i = 0; i < c->n_files; i++) {
        agent_write_string(&w, c->files[i].path);
        agent_write_bytes(&w, c->files[i].content, c->files[i].len);
        agent_write_u32(&w, c->files[i].mode);
        agent_write_u8(&w, c->files[i].readonly);
    }
    agent_write_u32(&w, (uint32_t)c->n_shares);
    for (size_t i = 0; i < c->n_shares; i++) {
        agent_write_string(&w, c->shares[i].tag);
        agent_write_string(&w, c->shares[i].path);
        agent_write_string(&w, c->shares[i].file);
        agent_write_u8(&w, c->shares[i].readonly);
    }
    if (c->n_files > AGENT_ITEMS_MAX || c->n_shares > AGENT_ITEMS_MAX)
        w.error = -E2BIG;
    return agent_write_end(&w, out, AGENT_CONFIGURE, 0);
}

struct agent_network *agent_read_networks(struct agent_reader *r, size_t *ret_n)
{
    uint32_t n = agent_read_count(r, AGENT_ITEMS_MAX, 37);
    struct agent_network *list = xcalloc(n + 1, sizeof(*list));
    for (uint32_t i = 0; i < n; i++) {
        struct agent_network *net = &list[i];
        net->mac = agent_read_string(r);
        net->address = agent_read_string(r);
        net->gateway = agent_read_string(r);
        net->address6 = agent_read_string(r);
        net->gateway6 = agent_read_string(r);
        net->prefix = agent_read_u32(r);
        net->prefix6 = agent_read_u32(r);
        net->mtu = agent_read_u32(r);
        if (net->prefix > 32 || net->prefix6 > 128 || net->mtu > UINT16_MAX)
            r->error = -EPROTO;
    }
    *ret_n = n;
    return list;
}

static void read_files(struct agent_reader *r, struct agent_configure *c)
{
    uint32_t n = agent_read_count(r, AGENT_ITEMS_MAX, 15);
    c->files = xcalloc(n + 1, sizeof(*c->files));
    for (uint32_t i = 0; i < n; i++) {
        c->files[i].path = agent_read_string(r);
        c->files[i].content = agent_read_bytes(r, &c->files[i].len);
        c->files[i].mode = agent_read_u32(r) & 07777;
        c->files[i].readonly = agent_read_bool(r);
    }
    c->n_files = n;
}

static void read_shares(struct agent_reader *r, struct agent_configure *c)
{
    uint32_t n = agent_read_count(r, AGENT_ITEMS_MAX, 16);
    c->shares = xcalloc(n + 1, sizeof(*c->shares));
    for (uint32_t i = 0; i < n; i++) {
        c->shares[i].tag = agent_read_string(r);
        c->shares[i].path = agent_read_string(r);
        c->shares[i].file = agent_read_string(r);
        c->shares[i].readonly = agent_read_bool(r);
    }
    c->n_shares = n;
}

int agent_configure_get(const struct agent_frame *f, struct agent_configure *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_configure c = {.hostname = agent_read_string(&r)};
    c.machine_id = agent_read_string(&r);
    c.clock_ns = (int64_t)agent_read_u64(&r);
    c.seed = agent_read_bytes(&r, &c.seed_len);
    c.n_layers = agent_read_u32(&r);
    c.has_disk = agent_read_bool(&r);
    c.networks = agent_read_networks(&r, &c.n_networks);
    read_files(&r, &c);
    read_shares(&r, &c);
    if (c.n_layers > AGENT_ITEMS_MAX || c.clock_ns < 0)
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad < 0)
        agent_configure_done(&c);
    else
        *ret = c;
    return bad;
}

void agent_configure_done(struct agent_configure *c)
{
    free(c->networks);
    free(c->files);
    free(c->shares);
    c->networks = NULL;
    c->files = NULL;
    c->shares = NULL;
    c->n_files = c->n_shares = c->n_networks = 0;
}

int agent_start_add(struct buf *out, const struct agent_start *s)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_string(&w, s->config);
    agent_write_u8(&w, s->init);
    agent_write_u8(&w, s->stdin_open);
    agent_write_u32(&w, s->rows);
    agent_write_u32(&w, s->columns);
    agent_write_bytes(&w, s->filter, s->filter_len);
    return agent_write_end(&w, out, AGENT_START, AGENT_WORKLOAD);
}

int agent_start_get(const struct agent_frame *f, struct agent_start *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_start s = {.config = agent_read_string(&r)};
    s.init = agent_read_bool(&r);
    s.stdin_open = agent_read_bool(&r);
    s.rows = agent_read_u32(&r);
    s.columns = agent_read_u32(&r);
    s.filter = agent_read_bytes(&r, &s.filter_len);
    if (s.filter_len % 8 != 0 || s.filter_len > AGENT_FILTER_MAX)
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad == 0)
        *ret = s;
    return bad;
}

int agent_exec_add(struct buf *out, uint32_t stream, const struct agent_exec *e)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_vector(&w, e->argv);
    agent_write_vector(&w, e->env);
    agent_write_string(&w, e->cwd);
    agent_write_string(&w, e->user);
    agent_write_u8(&w, e->terminal);
    agent_write_u8(&w, e->stdin_open);
    agent_write_u8(&w, e->detach);
    agent_write_u8(&w, e->privileged);
    agent_write_u32(&w, e->rows);
    agent_write_u32(&w, e->columns);
    return agent_write_end(&w, out, AGENT_EXEC, stream);
}

int agent_exec_get(const struct agent_frame *f, struct agent_exec *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_exec e = {.argv = agent_read_vector(&r), .env = agent_read_vector(&r)};
    e.cwd = agent_read_string(&r);
    e.user = agent_read_string(&r);
    e.terminal = agent_read_bool(&r);
    e.stdin_open = agent_read_bool(&r);
    e.detach = agent_read_bool(&r);
    e.privileged = agent_read_bool(&r);
    e.rows = agent_read_u32(&r);
    e.columns = agent_read_u32(&r);
    if (!e.argv[0])
        r.error = -EPROTO;
    int bad = agent_read_end(&r, err);
    if (bad < 0)
        agent_exec_done(&e);
    else
        *ret = e;
    return bad;
}

void agent_exec_done(struct agent_exec *e)
{
    free(e->argv);
    free(e->env);
    e->argv = e->env = NULL;
}

int agent_stats_add(struct buf *out, uint32_t stream, const struct agent_stats *s)
{
    struct agent_writer w = AGENT_WRITER_INIT;
    agent_write_u64(&w, s->cpu_ns);
    agent_write_u64(&w, s->memory_bytes);
    agent_write_u64(&w, s->memory_limit);
    agent_write_u64(&w, s->pids);
    agent_write_u64(&w, s->pids_limit);
    agent_write_u64(&w, s->net_rx_bytes);
    agent_write_u64(&w, s->net_tx_bytes);
    agent_write_u64(&w, s->block_read_bytes);
    agent_write_u64(&w, s->block_write_bytes);
    return agent_write_end(&w, out, AGENT_STATS_REPLY, stream);
}

int agent_stats_get(const struct agent_frame *f, struct agent_stats *ret, struct error *err)
{
    struct agent_reader r = reader(f);
    struct agent_stats s = {.cpu_ns = agent_read_u64(&r)};
    s.memory_bytes = agent_read_u64(&r);
    s.memory_limit = agent_read_u64(&r);
    s.pids = agent_read_u64(&r);
    s.pids_limit = agent_read_u64(&r);
    s.net_rx_bytes = agent_read_u64(&r);
    s.net_tx_bytes = agent_read_u64(&r);
    s.block_read_bytes = agent_read_u64(&r);
    s.block_write_bytes = agent_read_u64(&r);
    int bad = agent_read_end(&r, err);
    if (bad == 0)
        *ret = s;
    return bad;
}
