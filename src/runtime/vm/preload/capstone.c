/*
 * Stands for libcapstone in the QEMU of a clone, by its name as a library. QEMU is linked with the
 * disassembler for logs of its own debugging, which nobody can ask for here. To load the real one
 * fills in 1.7 MiB of tables with addresses, in each QEMU again.
 *
 * What is asked of it fails, as it would for a processor that it does not know.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNKNOWN_PROCESSOR 2 /* CS_ERR_ARCH */

int cs_open(int architecture, int mode, size_t *handle);
int cs_close(size_t *handle);
int cs_option(size_t handle, int type, size_t value);
void *cs_malloc(size_t handle);
bool cs_disasm_iter(size_t handle, const uint8_t **code, size_t *size, uint64_t *address,
                    void *instruction);

int cs_open(int architecture, int mode, size_t *handle)
{
    (void)architecture;
    (void)mode;
    *handle = 0;
    return UNKNOWN_PROCESSOR;
}

int cs_close(size_t *handle)
{
    *handle = 0;
    return UNKNOWN_PROCESSOR;
}

int cs_option(size_t handle, int type, size_t value)
{
    (void)handle;
    (void)type;
    (void)value;
    return UNKNOWN_PROCESSOR;
}

void *cs_malloc(size_t handle)
{
    (void)handle;
    return NULL;
}

bool cs_disasm_iter(size_t handle, const uint8_t **code, size_t *size, uint64_t *address,
                    void *instruction)
{
    (void)handle;
    (void)code;
    (void)size;
    (void)address;
    (void)instruction;
    return false;
}
