/*
 * Limits of a machine that runs. There are two walls: inside, the control group of a light
 * machine's workload, and what the guest has at all; outside, the control group that QEMU is in
 * (group.c). What becomes wider does so outside first, what becomes narrower does so inside first:
 * in between the guest has less than it may have, never more.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "runtime/vm/client.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/ops-internal.h"
#include "runtime/vm/share.h"

/* patient: proa-vm sees to it that there is an answer, be it late. */
static int ask(const struct runtime_target *t, enum agent_type type, const char *text, bool patient,
               struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct agent_frame f;
    int r = agent_client_open(&c, t, err);
    if (r == 0 && patient)
        r = agent_client_patient(&c, err);
    if (r < 0)
        return r;
    r = agent_add_string(&c.out, type, 1, text);
    return r < 0 ? error_errno(err, r, "talk to the machine") : agent_client_answer(&c, &f, err);
}

static int change_group(const struct bundle *b, const char *resources, struct error *err)
{
    struct oci_resources res;
    oci_resources_init(&res);
    int r = oci_resources_parse(resources, strlen(resources), &res, err);
    if (r == 0)
        r = vm_group_change(b, 0, 0, &res, err);
    oci_resources_done(&res);
    return r;
}

/* A system of its own has no inner wall. */
int vm_ops_update(const struct runtime_target *t, const char *resources, struct error *err)
{
    _cleanup_(bundle_done) struct bundle b;
    bundle_init(&b);
    int r = bundle_load(t->bundle, &b, err);
    if (r == 0)
        r = change_group(&b, resources, err);
    return r < 0 || machine_boots_disk(&b.machine) ? r
                                                   : ask(t, AGENT_LIMITS, resources, false, err);
}

static int resize(const struct runtime_target *t, uint32_t cpus, uint64_t memory_bytes, bool light,
                  struct error *err)
{
    char text[96];
    snprintf(text, sizeof(text), "{\"cpus\":%u,\"memory\":%llu}", cpus,
             (unsigned long long)memory_bytes);
    return ask(t, AGENT_SIZE, text, light, err);
}

static int count_shares(const struct runtime_target *t, size_t *ret, struct error *err)
{
    _cleanup_free_ char *path = path_join(t->bundle, "config.json"), *text = NULL;
    struct oci_config *config = NULL;
    struct vm_shares shares;
    vm_shares_init(&shares);
    int r = file_read(AT_FDCWD, path, AGENT_PAYLOAD_MAX, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    r = oci_config_parse(text, strlen(text), &config, err);
    if (r == 0)
        r = vm_shares_plan(config, t->bundle, &shares, err);
    *ret = shares.n;
    vm_shares_done(&shares);
    oci_config_free(config);
    return r;
}

/* Its bundle may be behind what it has, when an update was killed: the wall is put up anew. */
static int resize_light(const struct runtime_target *t, const struct bundle *b, uint32_t cpus,
                        uint64_t memory_bytes, struct error *err)
{
    size_t n_shares = 0;
    uint64_t wider = MAX(memory_bytes, b->memory_bytes);
    struct error ignored = ERROR_INIT;
    int r = count_shares(t, &n_shares, err);
    if (r == 0)
        r = vm_group_change(b, wider, n_shares, NULL, err);
    if (r < 0)
        return r;
    r = resize(t, cpus, memory_bytes, true, err);
    if (r < 0)
        (void)!vm_group_change(b, b->memory_bytes, n_shares, NULL, &ignored);
    else if (wider != memory_bytes)
        r = vm_group_change(b, memory_bytes, n_shares, NULL, err);
    return r;
}

int vm_resize(const struct runtime_target *t, const struct bundle *b, uint32_t cpus,
              uint64_t memory_bytes, struct error *err)
{
    return machine_boots_disk(&b->machine) ? resize(t, cpus, memory_bytes, false, err)
                                           : resize_light(t, b, cpus, memory_bytes, err);
}
