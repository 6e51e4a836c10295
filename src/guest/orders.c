/*
 * The host's orders that lead to the workload: what the machine is, and what it is to run. A
 * machine that waits for the second, a spare one, rehearses it: a clone under emulation translates
 * whatever it runs for the first time, and would do so while somebody waits.
 */
#include <string.h>

#include "base/alloc.h"
#include "guest/agent-internal.h"

void guest_remember(struct guest *g, const struct agent_configure *c)
{
    g->files = xcalloc(c->n_files + 1, sizeof(*g->files));
    for (size_t i = 0; i < c->n_files; i++)
        g->files[i] = (struct guest_file){xstrdup(c->files[i].path), c->files[i].readonly};
    g->n_files = c->n_files;
    g->shares = xcalloc(c->n_shares + 1, sizeof(*g->shares));
    for (size_t i = 0; i < c->n_shares; i++)
        g->shares[i] = (struct guest_share){
            .tag = xstrdup(c->shares[i].tag),
            .path = xstrdup(c->shares[i].path),
            .file = xstrdup(c->shares[i].file),
            .readonly = c->shares[i].readonly,
        };
    g->n_shares = c->n_shares;
}

static void forget(struct guest *g)
{
    for (size_t i = 0; i < g->n_files; i++)
        free(g->files[i].path);
    for (size_t i = 0; i < g->n_shares; i++) {
        free(g->shares[i].tag);
        free(g->shares[i].path);
        free(g->shares[i].file);
    }
    free(g->files);
    free(g->shares);
    g->files = NULL;
    g->shares = NULL;
    g->n_files = g->n_shares = 0;
}

/* What a spare machine is told when somebody takes it: other files, and its clock and random
 * numbers anew. Its disks and its network are what they were. */
static int configure_anew(struct agent *a, const struct agent_frame *f,
                          const struct agent_configure *c, struct error *err)
{
    if (a->guest.config)
        return error_invalid(err, "the machine is configured already");
    guest_prepared_forget(&a->guest);
    forget(&a->guest);
    int r = guest_prepared_keep(&a->guest, f, err);
    return r < 0 ? r : guest_files_store(c, err);
}

static int configure_first(struct agent *a, const struct agent_frame *f,
                           const struct agent_configure *c, struct error *err)
{
    int r = c->n_shares > 0 ? guest_prepare_shares(err) : 0;
    if (r == 0)
        r = guest_prepared_keep(&a->guest, f, err);
    if (r == 0)
        r = guest_root_build(c, err);
    if (r == 0)
        r = guest_files_store(c, err);
    return r < 0 ? r : guest_network_up(c, err);
}

int agent_configure(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct agent_configure c;
    int r = agent_configure_get(f, &c, err);
    if (r < 0)
        return r;
    set_clock_and_seed(c.clock_ns, c.seed, c.seed_len);
    if (*c.hostname && sethostname(c.hostname, strlen(c.hostname)) < 0)
        r = error_errno(err, errno, "set the host name");
    if (r == 0)
        r = a->configured ? configure_anew(a, f, &c, err) : configure_first(a, f, &c, err);
    if (r == 0) {
        guest_remember(&a->guest, &c);
        a->configured = true;
        agent_must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
    }
    agent_configure_done(&c);
    return r;
}

static void take_filter(struct guest *g, const struct agent_start *start)
{
    g->n_filter = start->filter_len / sizeof(*g->filter);
    if (g->n_filter == 0)
        return;
    g->filter = xcalloc(g->n_filter, sizeof(*g->filter));
    memcpy(g->filter, start->filter, g->n_filter * sizeof(*g->filter));
}

int guest_start_read(struct guest *g, const struct agent_frame *f, struct guest_spawn *ret,
                     struct error *err)
{
    struct agent_start start;
    struct oci_config *config;
    int r = agent_start_get(f, &start, err);
    if (r == 0)
        r = oci_config_parse(start.config, strlen(start.config), &config, err);
    if (r < 0)
        return r;
    if (!config->has_process) {
        oci_config_free(config);
        return error_invalid(err, "the configuration has no process");
    }
    g->config = config;
    take_filter(g, &start);
    *ret = (struct guest_spawn){
        .process = &config->process,
        .argv = config->process.args,
        .env = config->process.env,
        .cwd = config->process.cwd,
        .terminal = config->process.terminal,
        .stdin_open = start.stdin_open,
        .workload = true,
        .init = start.init,
        .rows = start.rows,
        .columns = start.columns,
    };
    return 0;
}

int agent_rehearse(struct agent *a, const struct agent_frame *f, struct error *err)
{
    struct guest *g = &a->guest;
    struct guest_spawn spawn;
    if (!a->configured || g->config)
        return error_invalid(err, "the machine cannot rehearse its start now");
    int r = guest_start_read(g, f, &spawn, err);
    if (r < 0)
        return r;
    r = guest_limits_begin(&g->config->linux_.resources, err);
    if (r == 0)
        r = guest_prepared_rehearse(g, f, err);
    oci_config_free(g->config);
    free(g->filter);
    g->config = NULL;
    g->filter = NULL;
    g->n_filter = 0;
    if (r == 0)
        agent_must(agent_frame_add(&a->out, AGENT_OK, 0, NULL, 0));
    return r;
}
