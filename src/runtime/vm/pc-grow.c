/*
 * More processors and memory for a machine that runs, as far as it was started with room for them
 * (--max-cpus, --max-memory). QEMU plugs them in, and the system inside finds them by ACPI. Nothing
 * is taken away: whether a system gives a processor or memory up is its own affair. Who asks for
 * fewer processors than there are gets all of them, with less time (group.c).
 *
 * One request is a few commands to QEMU, one after the other; what each has done counts at once, so
 * that a failure in between leaves the truth here, and the request can be made again.
 */
#include "base/alloc.h"
#include "runtime/vm/pc-internal.h"
#include "runtime/vm/pc.h"

#define STEP ((uint64_t)128 << 20) /* what Linux can take in */

static struct {
    bool busy;
    struct client *client; /* NULL: gone, or nobody */
    uint32_t cpus;         /* to have in the end */
    uint64_t memory;
} grow;

static void finish(const struct error *e)
{
    struct client *c = grow.client;
    grow.busy = false;
    grow.client = NULL;
    pc_answer(c, e);
}

static void fail(const char *why)
{
    struct error err = ERROR_INIT;
    error_set(&err, ERROR_SYSTEM, EIO, "QEMU plugs nothing in: %s", why);
    finish(&err);
}

static void plug_next(struct relay *m);

static void on_processor(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)context;
    m->shape.more_cpus += q->type == QMP_RETURN;
    if (q->type == QMP_ERROR)
        fail(q->text);
    else
        plug_next(m);
}

static int plug_processor(struct relay *m)
{
    _cleanup_free_ char *type = vm_pc_processor_type(m->r->qemu);
    uint32_t number = m->shape.cpus + m->shape.more_cpus;
    char id[24];
    snprintf(id, sizeof(id), "cpu%u", number);
    return relay_qmp(m, "device_add",
                     json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "driver", type, "id", id,
                               "socket-id", 0, "die-id", 0, "core-id", (int)number, "thread-id", 0),
                     -EBADF, on_processor, NULL);
}

static void on_module(struct relay *m, void *context, const struct qmp_message *q)
{
    char id[24];
    (void)context;
    if (q->type == QMP_RETURN) {
        m->shape.modules[m->shape.n_modules++] = grow.memory - vm_shape_memory(&m->shape);
        plug_next(m);
        return;
    }
    snprintf(id, sizeof(id), "memory%u", m->shape.n_modules);
    (void)!relay_qmp(m, "object-del", json_pack("{s:s}", "id", id), -EBADF, NULL, NULL);
    fail(q->text);
}

static void on_memory(struct relay *m, void *context, const struct qmp_message *q)
{
    char memory[24], dimm[24];
    (void)context;
    if (q->type == QMP_ERROR) {
        fail(q->text);
        return;
    }
    snprintf(memory, sizeof(memory), "memory%u", m->shape.n_modules);
    snprintf(dimm, sizeof(dimm), "dimm%u", m->shape.n_modules);
    if (relay_qmp(m, "device_add",
                  json_pack("{s:s, s:s, s:s}", "driver", "pc-dimm", "id", dimm, "memdev", memory),
                  -EBADF, on_module, NULL) < 0)
        fail("it does not answer");
}

static int plug_memory(struct relay *m, uint64_t bytes)
{
    char memory[24];
    snprintf(memory, sizeof(memory), "memory%u", m->shape.n_modules);
    return relay_qmp(m, "object-add",
                     json_pack("{s:s, s:s, s:b, s:I}", "qom-type", "memory-backend-ram", "id",
                               memory, "merge", 0, "size", (json_int_t)bytes),
                     -EBADF, on_memory, NULL);
}

static void plug_next(struct relay *m)
{
    uint64_t memory = vm_shape_memory(&m->shape);
    int r = 0;
    if (grow.cpus > m->shape.cpus + m->shape.more_cpus)
        r = plug_processor(m);
    else if (grow.memory > memory)
        r = plug_memory(m, grow.memory - memory);
    else
        finish(NULL);
    if (r < 0)
        fail("it does not answer");
}

/* What is asked for, beside what there is and what there may be. 0 in a number: as it is. */
static int check(const struct relay *m, uint32_t cpus, uint64_t memory, struct error *err)
{
    const struct bundle *b = m->r->qemu->bundle;
    uint32_t cpus_now = m->shape.cpus + m->shape.more_cpus,
             cpus_max = MAX(b->machine.cpus_max, cpus_now);
    uint64_t memory_now = vm_shape_memory(&m->shape),
             memory_max = MAX(b->machine.memory_max, memory_now);
    if (grow.busy || m->snapshot.step)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the machine is %s: try again",
                         grow.busy ? "growing already" : "being kept in a snapshot");
    if (memory && memory < memory_now)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "a machine that runs gives no memory back: stop it first");
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
    if (memory > memory_now && m->shape.n_modules == VM_MODULES_MAX)
        return error_set(err, ERROR_LIMIT, E2BIG,
                         "the memory of a machine that runs grows %u times at most: restart it",
                         VM_MODULES_MAX);
    return 0;
}

void pc_grow(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    uint32_t cpus;
    uint64_t memory;
    int r = vm_size_parse(f, &cpus, &memory, &err);
    if (r == 0)
        r = check(m, cpus, memory, &err);
    if (r < 0) {
        pc_answer(c, &err);
        return;
    }
    grow.busy = true;
    grow.client = c;
    grow.cpus = cpus;
    grow.memory = memory;
    plug_next(m);
}

bool pc_grows(void)
{
    return grow.busy;
}

bool pc_grow_gone(const struct client *c)
{
    bool ours = grow.client == c;
    if (ours)
        grow.client = NULL;
    return ours;
}
