/* Taking a spare machine over: relay_spare.c is the other side. */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "runtime/vm/client.h"
#include "runtime/vm/machine.h"
#include "runtime/vm/networks.h"
#include "runtime/vm/share.h"
#include "wire/agent/prepare.h"

static int add_start(struct agent_client *c, const char *config, bool init, const char *filter_path,
                     struct error *err)
{
    _cleanup_buf_ struct buf filter = BUF_INIT(AGENT_FILTER_MAX);
    _cleanup_close_ int fd = filter_path ? open(filter_path, O_RDONLY | O_CLOEXEC) : -EBADF;
    int r = filter_path && fd < 0 ? -errno : 0;
    if (r == 0 && fd >= 0)
        r = fd_read_to_end(fd, &filter);
    if (r < 0)
        return error_errno(err, r, "read %s", filter_path);
    const struct agent_start start = {
        .config = config, .init = init, .filter = filter.data, .filter_len = filter.len};
    r = agent_start_add(&c->out, &start);
    return r < 0 ? error_errno(err, r, "describe the workload") : 0;
}

static int add_orders(struct agent_client *c, const char *bundle_dir, const struct bundle *b,
                      bool ephemeral, struct error *err)
{
    _cleanup_free_ char *path = path_join(bundle_dir, "config.json"), *text = NULL;
    struct oci_config *config = NULL;
    struct vm_shares shares;
    vm_shares_init(&shares);
    int r = file_read(AT_FDCWD, path, AGENT_PAYLOAD_MAX - 4096, &text);
    if (r < 0)
        return error_errno(err, r, "read %s", path);
    r = oci_config_parse(text, strlen(text), &config, err);
    if (r == 0)
        r = vm_shares_plan(config, bundle_dir, &shares, err);
    char machine_id[VM_MACHINE_ID_BYTES];
    vm_machine_id(b, machine_id);
    const struct agent_configure configure = {
        .hostname = r == 0 && config->hostname ? config->hostname : "",
        .machine_id = machine_id,
        .seed = "",
        .files = shares.files,
        .n_files = shares.n_files};
    if (r == 0 &&
        (agent_add_u32(&c->out, AGENT_ADOPT, 1, ephemeral ? AGENT_ADOPT_EPHEMERAL : 0) < 0 ||
         agent_configure_add(&c->out, &configure) < 0))
        r = error_set(err, ERROR_LIMIT, EFBIG, "the machine's description is too long");
    if (r == 0)
        r = add_start(c, text, b->init, b->seccomp_filter, err);
    vm_shares_done(&shares);
    oci_config_free(config);
    return r;
}

int vm_take_spare(const struct runtime_target *t, bool ephemeral, struct error *err)
{
    _cleanup_client_ struct agent_client c = AGENT_CLIENT_INIT;
    struct bundle b;
    struct agent_frame f;
    bundle_init(&b);
    int r = bundle_load(t->bundle, &b, err);
    if (r == 0)
        r = agent_client_open(&c, t, err);
    if (r == 0)
        r = add_orders(&c, t->bundle, &b, ephemeral, err);
    bundle_done(&b);
    return r < 0 ? r : agent_client_answer(&c, &f, err);
}
