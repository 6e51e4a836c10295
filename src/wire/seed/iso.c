/*
 * ISO 9660, as small as it goes, in sectors of 2 KiB:
 *
 *   0-15  nothing       16 descriptor     17 descriptor of Joliet   18 end of descriptors
 *   19    path table    20 likewise, big-endian   21, 22 both for Joliet
 *   23    directory     24 directory of Joliet    25… the files
 *
 * Plain names are the short ones that every reader takes (F0.;1); those that count are Joliet's.
 * Numbers that stand twice are little-endian first. All times are one: the same input gives the
 * same bytes.
 */
#include <stdint.h>
#include <string.h>

#include "wire/seed/seed.h"

#define SECTOR     2048u
#define AT_PRIMARY 16u
#define AT_JOLIET  17u
#define AT_END     18u
#define AT_TABLES  19u
#define AT_DIRS    23u
#define AT_FILES   25u

static const unsigned char when[7] = {100, 1, 1, 0, 0, 0, 0}; /* 2000-01-01 */

static void put16(unsigned char *p, uint32_t v)
{
    p[0] = p[3] = (unsigned char)v;
    p[1] = p[2] = (unsigned char)(v >> 8);
}

static void put32_le(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static void put32_be(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put32(unsigned char *p, uint32_t v)
{
    put32_le(p, v);
    put32_be(p + 4, v);
}

/* ASCII, or its UCS-2; what is left of the field gets blanks. */
static void put_text(unsigned char *p, size_t size, const char *s, bool joliet)
{
    size_t step = joliet ? 2 : 1, n = strlen(s);
    memset(p, joliet ? 0 : ' ', size);
    for (size_t i = 0; (i + 1) * step <= size; i++)
        p[i * step + step - 1] = i < n ? (unsigned char)s[i] : ' ';
}

/* A directory's record of one entry; gives its length. */
static size_t put_record(unsigned char *p, const char *name, size_t name_len, bool directory,
                         uint32_t sector, uint32_t len)
{
    size_t size = (33 + name_len + 1) & ~(size_t)1;
    p[0] = (unsigned char)size;
    put32(p + 2, sector);
    put32(p + 10, len);
    memcpy(p + 18, when, sizeof(when));
    p[25] = directory ? 2 : 0;
    put16(p + 28, 1);
    p[32] = (unsigned char)name_len;
    memcpy(p + 33, name, name_len);
    return size;
}

static void put_descriptor(unsigned char *p, const char *label, bool joliet, uint32_t sectors)
{
    uint32_t tables = AT_TABLES + (joliet ? 2 : 0);
    p[0] = joliet ? 2 : 1;
    memcpy(p + 1, "CD001\1", 6);
    put_text(p + 8, 32, "", joliet);
    put_text(p + 40, 32, label, joliet);
    put32(p + 80, sectors);
    if (joliet)
        memcpy(p + 88, "%/E", 3);
    put16(p + 120, 1);
    put16(p + 124, 1);
    put16(p + 128, SECTOR);
    put32(p + 132, 10); /* a path table with the root alone */
    put32_le(p + 140, tables);
    put32_be(p + 148, tables + 1);
    put_record(p + 156, "", 1, true, AT_DIRS + joliet, SECTOR);
    for (size_t at = 190; at < 813; at += at < 702 ? 128 : 37)
        put_text(p + at, at < 702 ? 128 : 37, "", joliet);
    for (size_t at = 813; at < 881; at += 17) {
        memset(p + at, '0', 16);
        if (at < 847)
            memcpy(p + at, "2000010100000000", 16);
    }
    p[881] = 1;
}

static void put_tables(unsigned char *disk)
{
    for (uint32_t i = 0; i < 4; i++) {
        unsigned char *p = disk + (size_t)(AT_TABLES + i) * SECTOR;
        p[0] = 1;
        (i % 2 ? put32_be : put32_le)(p + 2, AT_DIRS + i / 2);
        p[i % 2 ? 7 : 6] = 1;
    }
}

static void put_directory(unsigned char *p, const struct iso_file *files, size_t n, bool joliet)
{
    uint32_t self = AT_DIRS + joliet, sector = AT_FILES;
    p += put_record(p, "", 1, true, self, SECTOR);
    p += put_record(p, "\1", 1, true, self, SECTOR);
    for (size_t i = 0; i < n; i++) {
        unsigned char name[128];
        size_t len = strlen(files[i].name);
        if (joliet)
            put_text(name, len * 2, files[i].name, true);
        else
            len = (size_t)snprintf((char *)name, sizeof(name), "F%zu.;1", i);
        p += put_record(p, (char *)name, joliet ? len * 2 : len, false, sector,
                        (uint32_t)files[i].len);
        sector += (uint32_t)((files[i].len + SECTOR - 1) / SECTOR);
    }
}

int iso_make(const char *label, const struct iso_file *files, size_t n, struct buf *out)
{
    size_t sectors = AT_FILES, at = AT_FILES;
    char *space;
    for (size_t i = 0; i < n; i++) {
        if (strlen(files[i].name) > 60 || files[i].len > SEED_MAX)
            return -EFBIG;
        sectors += (files[i].len + SECTOR - 1) / SECTOR;
    }
    int r = n > ISO_FILES_MAX ? -E2BIG : buf_reserve(out, sectors * SECTOR, &space);
    if (r < 0)
        return r;
    unsigned char *disk = (unsigned char *)space;
    memset(disk, 0, sectors * SECTOR);
    put_descriptor(disk + (size_t)AT_PRIMARY * SECTOR, label, false, (uint32_t)sectors);
    put_descriptor(disk + (size_t)AT_JOLIET * SECTOR, label, true, (uint32_t)sectors);
    memcpy(disk + (size_t)AT_END * SECTOR,
           "\xff"
           "CD001\1",
           7);
    put_tables(disk);
    put_directory(disk + (size_t)AT_DIRS * SECTOR, files, n, false);
    put_directory(disk + (size_t)(AT_DIRS + 1) * SECTOR, files, n, true);
    for (size_t i = 0; i < n; i++) {
        if (files[i].len > 0)
            memcpy(disk + at * SECTOR, files[i].data, files[i].len);
        at += (files[i].len + SECTOR - 1) / SECTOR;
    }
    out->len += sectors * SECTOR;
    return 0;
}
