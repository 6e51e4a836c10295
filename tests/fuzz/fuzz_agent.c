/* A stream of frames; each is decoded as what its type says. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "wire/agent/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct agent_frame *f)
{
    struct agent_configure configure;
    struct agent_start start;
    struct agent_exec exec;
    struct agent_stats stats;
    struct agent_resume resume;
    struct agent_network *networks;
    struct agent_names names;
    bool frozen;
    uint64_t pause_us;
    struct error err = ERROR_INIT;
    uint32_t a, b;
    uint8_t channel;
    const char *text;
    size_t len;
    if (agent_configure_get(f, &configure, &err) == 0)
        agent_configure_done(&configure);
    if (agent_exec_get(f, &exec, &err) == 0)
        agent_exec_done(&exec);
    (void)!agent_start_get(f, &start, &err);
    (void)!agent_stats_get(f, &stats, &err);
    if (agent_resume_get(f, &resume, &err) == 0)
        agent_resume_done(&resume);
    if (agent_networks_get(f, &networks, &len, &err) == 0)
        free(networks);
    if (agent_names_get(f, &names, &err) == 0)
        free(names.gone);
    (void)!agent_get_snapshot_reply(f, &frozen, &pause_us, &err);
    (void)!agent_get_u32(f, &a, &err);
    (void)!agent_get_string(f, &text, &err);
    (void)!agent_get_data(f, &channel, &text, &len, &err);
    (void)!agent_get_close(f, &channel, &err);
    (void)!agent_get_credit(f, &channel, &a, &err);
    (void)!agent_get_resize(f, &a, &b, &err);
    (void)!agent_get_error(f, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0, used = 1;
    struct agent_frame f;
    struct error err = ERROR_INIT;
    while (used > 0 &&
           agent_frame_parse((const char *)data + at, size - at, &f, &used, &err) == 0) {
        if (used > 0)
            decode(&f);
        at += used;
    }
    return 0;
}
