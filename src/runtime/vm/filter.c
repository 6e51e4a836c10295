#include "runtime/vm/filter.h"

#include <linux/audit.h>
#include <stddef.h>

#include "kernel/seccomp.h"

#define X32_BIT        0x40000000u
#define RETURN(action) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, action)
#define LOAD(offset)   (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
#define JUMP(op, value, yes, no)                                                                   \
    (struct sock_filter)                                                                           \
        BPF_JUMP(BPF_JMP | (op) | BPF_K, (uint32_t)(value), (uint8_t)(yes), (uint8_t)(no))
#define NUMBER offsetof(struct seccomp_data, nr)

/* Past the end nothing is kept, and filter_load refuses. */
static void add(struct filter *f, struct sock_filter instruction)
{
    if (f->n < FILTER_MAX)
        f->at[f->n] = instruction;
    f->n++;
}

void filter_begin(struct filter *f)
{
    f->n = 0;
    add(f, LOAD(offsetof(struct seccomp_data, arch)));
    add(f, JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
    add(f, RETURN(SECCOMP_RET_KILL_PROCESS));
    add(f, LOAD(NUMBER));
    add(f, JUMP(BPF_JGE, X32_BIT, 0, 1));
    add(f, RETURN(SECCOMP_RET_KILL_PROCESS));
}

void filter_calls(struct filter *f, const long *calls, size_t n, uint32_t action)
{
    for (size_t i = 0; i < n; i++) {
        add(f, JUMP(BPF_JEQ, calls[i], 0, 1));
        add(f, RETURN(action));
    }
}

/* The lower half of the argument: the machine is little-endian. */
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + (i) * sizeof(uint64_t))

void filter_any_bit(struct filter *f, long call, size_t argument, uint32_t bits, uint32_t action)
{
    add(f, JUMP(BPF_JEQ, call, 0, 4));
    add(f, LOAD(ARGUMENT(argument)));
    add(f, JUMP(BPF_JSET, bits, 0, 1));
    add(f, RETURN(action));
    add(f, LOAD(NUMBER));
}

void filter_all_bits(struct filter *f, long call, size_t argument, uint32_t bits, uint32_t action)
{
    add(f, JUMP(BPF_JEQ, call, 0, 5));
    add(f, LOAD(ARGUMENT(argument)));
    add(f, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits));
    add(f, JUMP(BPF_JEQ, bits, 0, 1));
    add(f, RETURN(action));
    add(f, LOAD(NUMBER));
}

int filter_load(struct filter *f, uint32_t action)
{
    add(f, RETURN(action));
    if (f->n > FILTER_MAX)
        return -E2BIG;
    struct seccomp_filter loaded = {.instructions = f->at, .n = (unsigned short)f->n};
    return seccomp_filter_load(&loaded, NULL);
}
