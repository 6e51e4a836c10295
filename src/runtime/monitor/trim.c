#include "runtime/monitor/trim.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/macro.h"

#define MAX_RANGES          8
#define KERNEL_SIGSET_BYTES 8

struct ranges {
    struct {
        uintptr_t start, len;
    } list[MAX_RANGES];
    size_t n;
};

/* Only segments that were never writable: what the loader relocated is not in the file. */
static int find_ranges(struct dl_phdr_info *info, size_t size, void *context)
{
    struct ranges *r = context;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum && r->n < MAX_RANGES; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
            continue;
        uintptr_t start = (info->dlpi_addr + p->p_vaddr + page) & ~page;
        uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz) & ~page;
        if (start < end) {
            r->list[r->n].start = start;
            r->list[r->n++].len = end - start;
        }
    }
    return 0;
}

int trim_and_wait(struct pollfd *fds, nfds_t n, const sigset_t *mask)
{
    struct ranges r = {.n = 0};
    dl_iterate_phdr(find_ranges, &r);
    /* syscall(2) for both, so that one page of the C library comes back rather than several. */
    for (size_t i = 0; i < r.n; i++)
        syscall(SYS_madvise, r.list[i].start, r.list[i].len, MADV_DONTNEED);
    return (int)syscall(SYS_ppoll, fds, n, NULL, mask, KERNEL_SIGSET_BYTES);
}
