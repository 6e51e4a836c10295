/* Networks of a machine that runs: a card of one that boots a disk, which proa-vm does (pc-card.c),
 * and what a light one knows of names, which its agent writes. */
#include "base/fd_pass.h"
#include "runtime/vm/client.h"

static int ask_card(const struct runtime_target *t, const char *text, int tap_fd, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    int r = agent_client_open(&c, t, err);
    if (r < 0)
        return r;
    r = agent_add_string(&c.out, AGENT_CARD, 1, text);
    if (r == 0)
        r = fd_pass(c.fd, c.out.data, c.out.len, tap_fd);
    if (r < 0)
        return error_errno(err, r, "talk to the machine");
    buf_reset(&c.out);
    return agent_client_answer(&c, &f, err);
}

int vm_plug_card(const struct runtime_target *t, uint8_t position, const char *mac, int tap_fd,
                 struct error *err)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"position\":%u,\"mac\":\"%.17s\"}", position, mac);
    return ask_card(t, text, tap_fd, err);
}

int vm_unplug_card(const struct runtime_target *t, uint8_t position, struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "{\"position\":%u}", position);
    return ask_card(t, text, -EBADF, err);
}

int vm_set_names(const struct runtime_target *t, char *const *gone, const char *more,
                 const char *resolv_conf, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    const struct agent_names names = {
        .gone = (char **)gone, .more = more, .resolv_conf = resolv_conf};
    struct agent_frame f;
    int r = agent_client_open(&c, t, err);
    if (r < 0)
        return r;
    r = agent_names_add(&c.out, 1, &names);
    return r < 0 ? error_errno(err, r, "talk to the machine") : agent_client_answer(&c, &f, err);
}
