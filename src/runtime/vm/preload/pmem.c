/*
 * Stands for libpmem in the QEMU of a clone, by its name as a library. QEMU needs it for memory
 * that outlives the host's power, which no machine has; with it come six more libraries, libcrypto
 * among them, and their tables.
 */
#include <stddef.h>
#include <stdlib.h>

void pmem_persist(const void *address, size_t len);
void *pmem_memcpy_persist(void *to, const void *from, size_t len);

void pmem_persist(const void *address, size_t len)
{
    (void)address;
    (void)len;
    abort();
}

void *pmem_memcpy_persist(void *to, const void *from, size_t len)
{
    (void)to;
    (void)from;
    (void)len;
    abort();
}
