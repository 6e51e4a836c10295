/* One checker a format, and what they share. */
#pragma once

#include "wire/disk/format.h"

int disk_check_qcow2(const struct disk_reader *r, uint64_t *ret_virtual_bytes,
                     struct error *err) _must_check_;
int disk_check_vmdk(const struct disk_reader *r, uint64_t *ret_virtual_bytes,
                    struct error *err) _must_check_;
int disk_check_vhdx(const struct disk_reader *r, uint64_t *ret_virtual_bytes,
                    struct error *err) _must_check_;

/* Bytes that must be there: ERROR_CORRUPT when the file ends before. */
int disk_read(const struct disk_reader *r, uint64_t offset, void *data, size_t len,
              struct error *err) _must_check_;

static inline uint64_t disk_be(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint64_t disk_le(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = bytes; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}
