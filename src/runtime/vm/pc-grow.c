/*
 * More processors and memory for a machine that runs, as far as it was started with room for them
 * (--max-cpus, --max-memory). QEMU plugs them in, and the system inside finds them by ACPI. Nothing
 * is taken away: whether a system gives a processor or memory up is its own affair.
 *
 * One request is a few commands to QEMU; what each has done counts at once, so that a failure in
 * between leaves the truth here, and the request can be made again.
 */
#include <string.h>

#include "base/json.h"
#include "runtime/vm/pc-internal.h"

#define STEP ((uint64_t)128 << 20) /* what Linux can take in */

static struct {
    struct client *client; /* NULL: gone, or nobody */
    size_t steps;          /* answers still to come */
    uint32_t more_cpus, dimms;
    uint64_t more_memory, asked_memory;
    struct error err;
} grow;

static void finish_step(const struct qmp_message *q)
{
    if (q->type == QMP_ERROR && grow.err.kind == ERROR_NONE)
        error_set(&grow.err, ERROR_SYSTEM, EIO, "QEMU plugs nothing in: %s", q->text);
    if (--grow.steps > 0 || !grow.client)
        return;
    struct client *c = grow.client;
    grow.client = NULL;
    if (grow.err.kind != ERROR_NONE) {
        c->stream = 0;
        client_answer_error(c, &grow.err);
        return;
    }
    relay_must(agent_frame_add(&c->out, AGENT_OK, 1, NULL, 0));
    client_end(c);
}

static void on_processor(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)context;
    if (q->type == QMP_RETURN) {
        grow.more_cpus++;
        m->grown = true;
    }
    finish_step(q);
}

static void on_backend(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)m;
    (void)context;
    finish_step(q);
}

static void on_memory(struct relay *m, void *context, const struct qmp_message *q)
{
    char id[24];
    (void)context;
    if (q->type == QMP_RETURN) {
        grow.more_memory += grow.asked_memory;
        grow.dimms++;
        m->grown = true;
    } else {
        snprintf(id, sizeof(id), "memory%u", grow.dimms);
        (void)!relay_qmp(m, "object-del", json_pack("{s:s}", "id", id), -EBADF, NULL, NULL);
    }
    finish_step(q);
}

static int step(int r)
{
    grow.steps += r == 0;
    return r;
}

/* The type is the model's, without the features, which all processors of the machine have. */
static int plug_processor(struct relay *m, uint32_t number)
{
    const struct vm_qemu *q = m->r->qemu;
    const char *model = q->bundle->machine.cpu_model;
    char type[128], id[24];
    if (!model)
        model = q->kvm ? "host" : "max";
    snprintf(type, sizeof(type), "%.*s-x86_64-cpu", (int)MIN(strcspn(model, ","), (size_t)100),
             model);
    snprintf(id, sizeof(id), "cpu%u", number);
    return step(
        relay_qmp(m, "device_add",
                  json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "driver", type, "id", id, "socket-id",
                            0, "die-id", 0, "core-id", (int)number, "thread-id", 0),
                  -EBADF, on_processor, NULL));
}

static int plug_memory(struct relay *m, uint64_t bytes)
{
    char memory[24], dimm[24];
    snprintf(memory, sizeof(memory), "memory%u", grow.dimms);
    snprintf(dimm, sizeof(dimm), "dimm%u", grow.dimms);
    grow.asked_memory = bytes;
    int r = step(relay_qmp(m, "object-add",
                           json_pack("{s:s, s:s, s:I}", "qom-type", "memory-backend-ram", "id",
                                     memory, "size", (json_int_t)bytes),
                           -EBADF, on_backend, NULL));
    return r < 0 ? r
                 : step(relay_qmp(m, "device_add",
                                  json_pack("{s:s, s:s, s:s}", "driver", "pc-dimm", "id", dimm,
                                            "memdev", memory),
                                  -EBADF, on_memory, NULL));
}

/* What is asked for, beside what there is and what there may be. 0 in a number: as it is. */
static int check(const struct bundle *b, uint32_t cpus, uint64_t memory, struct error *err)
{
    uint32_t cpus_now = b->cpus + grow.more_cpus, cpus_max = MAX(b->machine.cpus_max, b->cpus);
    uint64_t memory_now = b->memory_bytes + grow.more_memory,
             memory_max = MAX(b->machine.memory_max, b->memory_bytes);
    if (grow.steps > 0)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the machine is growing already");
    if ((cpus && cpus < cpus_now) || (memory && memory < memory_now))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine that runs gives neither processors nor memory back: stop it "
                         "first");
    if (cpus > cpus_max)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "the machine was started with room for %u processors (--max-cpus): stop "
                         "it first",
                         cpus_max);
    if (memory > memory_max)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "the machine was started with room for %llu MiB (--max-memory): stop it "
                         "first",
                         (unsigned long long)memory_max >> 20);
    if (memory && (memory - memory_now) % STEP)
        return error_invalid(err, "the memory of a machine that runs grows by steps of 128 MiB");
    return 0;
}

static int parse(const struct agent_frame *f, uint32_t *ret_cpus, uint64_t *ret_memory,
                 struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const char *text;
    int64_t memory = 0;
    *ret_cpus = 0;
    int r = agent_get_string(f, &text, err);
    if (r == 0)
        r = json_parse(text, strlen(text), "what to grow by", &o, err);
    if (r == 0)
        r = json_get_u32(o, "grow", "cpus", ret_cpus, err);
    if (r == 0)
        r = json_get_i64(o, "grow", "memory", &memory, err);
    *ret_memory = (uint64_t)MAX(memory, (int64_t)0);
    return r;
}

void pc_grow(struct relay *m, struct client *c, const struct agent_frame *f)
{
    const struct bundle *b = m->r->qemu->bundle;
    struct error err = ERROR_INIT;
    uint32_t cpus;
    uint64_t memory, memory_now = b->memory_bytes + grow.more_memory;
    int r = parse(f, &cpus, &memory, &err);
    if (r == 0)
        r = check(b, cpus, memory, &err);
    if (r == 0) {
        grow.err = (struct error)ERROR_INIT;
        for (uint32_t n = b->cpus + grow.more_cpus; r == 0 && n < cpus; n++)
            r = plug_processor(m, n);
        if (r == 0 && memory > memory_now)
            r = plug_memory(m, memory - memory_now);
        if (r < 0)
            error_set(&err, ERROR_SYSTEM, EIO, "QEMU does not answer");
    }
    if (r < 0 || grow.steps == 0) {
        c->stream = 0;
        if (r < 0)
            client_answer_error(c, &err);
        else
            client_answer_ok(c);
        return;
    }
    grow.client = c;
}

bool pc_grow_gone(const struct client *c)
{
    bool ours = grow.client == c;
    if (ours)
        grow.client = NULL;
    return ours;
}
