/*
 * Whether KVM can run an ordinary guest. Opening /dev/kvm and creating a machine prove nothing:
 * there are KVMs that stop at the first instruction that a kernel needs. So a loop of 200,000
 * turns is run in long mode, in a child, under an alarm: hardware needs well under a millisecond.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <x86intrin.h>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/vm/machine.h"

#define PROBE_MEMORY  ((size_t)0x10000)
#define PROBE_CODE    0x8000
#define PROBE_TIME_US 20000

/* mov ecx, 200000; 1: dec ecx; jnz 1b; hlt */
static const unsigned char probe_code[] = {0xb9, 0x40, 0x0d, 0x03, 0x00,
                                           0xff, 0xc9, 0x75, 0xfc, 0xf4};

static void set_long_mode(struct kvm_sregs *s)
{
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    s->cr3 = 0x1000;
    s->cr4 = 0x20;       /* PAE */
    s->cr0 = 0x80050033; /* paging, protection */
    s->efer = 0x500;     /* long mode, active */
    s->cs = code;
    s->ds = s->es = s->fs = s->gs = s->ss = data;
}

/* Identity-maps the first 2 MiB. */
static void write_memory(char *memory)
{
    uint64_t entry = 0x2003;
    memcpy(memory + 0x1000, &entry, sizeof(entry));
    entry = 0x3003;
    memcpy(memory + 0x2000, &entry, sizeof(entry));
    entry = 0x83;
    memcpy(memory + 0x3000, &entry, sizeof(entry));
    memcpy(memory + PROBE_CODE, probe_code, sizeof(probe_code));
}

static bool run_probe(int kvm)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = PROBE_CODE, .rflags = 2, .rsp = 0x7000};
    int vm = ioctl(kvm, KVM_CREATE_VM, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    char *memory =
        mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (vm < 0 || size <= 0 || memory == MAP_FAILED)
        return false;
    struct kvm_userspace_memory_region region = {.memory_size = PROBE_MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    write_memory(memory);
    (void)!ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return false;
    int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    struct kvm_run *run =
        cpu < 0 ? MAP_FAILED : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED || ioctl(cpu, KVM_GET_SREGS, &sregs) < 0)
        return false;
    set_long_mode(&sregs);
    if (ioctl(cpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(cpu, KVM_SET_REGS, &regs) < 0)
        return false;
    struct itimerval alarm_in = {.it_value = {.tv_usec = PROBE_TIME_US}};
    setitimer(ITIMER_REAL, &alarm_in, NULL); /* its signal ends the child: a failure */
    return ioctl(cpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT;
}

static bool probe(void)
{
    int status = 1;
    _cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        _exit(run_probe(kvm) ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static unsigned int khz_by_clock(void)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC_RAW, &from);
    uint64_t start = __rdtsc();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    clock_gettime(CLOCK_MONOTONIC_RAW, &to);
    uint64_t ticks = __rdtsc() - start;
    uint64_t ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
                  (uint64_t)from.tv_nsec;
    return (unsigned int)(ticks * 1000000 / ns);
}

/* The kernel's own factor, from the page that perf shares: exact, and costs no measuring. */
static unsigned int khz_by_perf(void)
{
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof(attr),
                                   .config = PERF_COUNT_SW_DUMMY,
                                   .exclude_kernel = 1};
    _cleanup_close_ int fd =
        (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0)
        return 0;
    struct perf_event_mmap_page *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return 0;
    unsigned int khz = 0;
    if (page->cap_user_time && page->time_mult && page->time_shift < 40)
        khz = (unsigned int)(((uint64_t)1000000 << page->time_shift) / page->time_mult);
    munmap(page, 4096);
    return khz;
}

/* One file holds both answers: "kvm 2600000". */
static bool read_cache(const char *cache, bool *kvm, unsigned int *khz)
{
    char kind[8];
    char *text = NULL;
    bool good = cache && file_read(AT_FDCWD, cache, 64, &text) == 0 &&
                sscanf(text, "%7s %u", kind, khz) == 2;
    if (good)
        *kvm = strcmp(kind, "kvm") == 0;
    free(text);
    return good;
}

void vm_accelerator(const char *cache, bool *ret_kvm, unsigned int *ret_tsc_khz)
{
    char text[32];
    if (read_cache(cache, ret_kvm, ret_tsc_khz))
        return;
    *ret_kvm = probe();
    *ret_tsc_khz = khz_by_perf();
    if (*ret_tsc_khz == 0)
        *ret_tsc_khz = khz_by_clock();
    snprintf(text, sizeof(text), "%s %u\n", *ret_kvm ? "kvm" : "tcg", *ret_tsc_khz);
    if (cache) /* without it the next machine asks again */
        (void)!file_write_atomic(AT_FDCWD, cache, text, strlen(text), 0644);
}
