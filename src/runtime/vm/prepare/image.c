/*
 * A bzImage holds the compressed ELF kernel at an offset that its set-up header states. Debian
 * compresses with LZ4's legacy frame: a magic, then blocks of (u32 compressed size, data) that
 * each unpack to at most 8 MiB, then the kernel build's own u32 with the unpacked size. That u32
 * follows the others, too, except gzip, which has one of its own.
 *
 * An ELF kernel can be booted by QEMU when a note of it says where its 32-bit entry is (PVH).
 */
#include <elf.h>
#include <lz4.h>
#include <string.h>

#include "runtime/vm/prepare/prepare.h"

#define PVH_NOTE_TYPE    18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTES_MAX        64u
#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_BLOCK_MAX    ((size_t)8 << 20)

static uint32_t get32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int unpack_lz4(const char *p, size_t len, struct buf *out, struct error *err)
{
    size_t at = 4;
    while (len - at >= 8) {
        size_t packed = get32(p + at);
        char *space;
        at += 4;
        if (packed == 0 || packed > len - at)
            break; /* the unpacked size that ends the payload */
        if (buf_reserve(out, LZ4_BLOCK_MAX, &space) < 0)
            return error_set(err, ERROR_LIMIT, EFBIG, "the kernel is larger than %zu MiB",
                             KERNEL_MAX_BYTES >> 20);
        int n = LZ4_decompress_safe(p + at, space, (int)packed, (int)LZ4_BLOCK_MAX);
        if (n <= 0)
            return error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel's LZ4 data is damaged");
        out->len += (size_t)n;
        at += packed;
    }
    return 0;
}

static bool is_elf(const char *data, size_t len)
{
    return len >= sizeof(Elf64_Ehdr) && memcmp(data, ELFMAG, SELFMAG) == 0;
}

static int unpack_other(const char *p, size_t len, struct buf *out, struct error *err)
{
    bool gzip = (unsigned char)p[0] == 0x1f && (unsigned char)p[1] == 0x8b;
    int r = inflate_bytes(p, gzip ? len : len - 4, out);
    if (r == -EFBIG || r == -ENOMEM)
        return error_set(err, ERROR_LIMIT, EFBIG, "the kernel is larger than %zu MiB",
                         KERNEL_MAX_BYTES >> 20);
    if (r < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the kernel's data is damaged, or its compression is none of LZ4, gzip, "
                         "xz, zstd and bzip2");
    return 0;
}

int kernel_unpack(const char *image, size_t len, struct buf *out, struct error *err)
{
    if (len < 0x250 || memcmp(image + 0x202, "HdrS", 4) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "not a bzImage");
    size_t setup = ((unsigned char)image[0x1f1] + (size_t)1) * 512;
    size_t offset = setup + get32(image + 0x248), size = get32(image + 0x24c);
    if (offset > len || size > len - offset || size < 8)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel image is cut short");
    int r = get32(image + offset) == LZ4_LEGACY_MAGIC
                ? unpack_lz4(image + offset, size, out, err)
                : unpack_other(image + offset, size, out, err);
    if (r == 0 && !is_elf(out->data, out->len))
        r = error_set(err, ERROR_CORRUPT, EBADMSG, "the kernel image holds no ELF kernel");
    return r;
}

/* Whether one of a segment's notes is the PVH entry. */
static bool has_entry(const char *notes, size_t len)
{
    for (unsigned int i = 0; i < NOTES_MAX && len >= sizeof(Elf64_Nhdr); i++) {
        Elf64_Nhdr n;
        memcpy(&n, notes, sizeof(n));
        size_t name = ((size_t)n.n_namesz + 3) & ~(size_t)3;
        size_t whole = sizeof(n) + name + (((size_t)n.n_descsz + 3) & ~(size_t)3);
        if (whole > len)
            return false;
        if (n.n_type == PVH_NOTE_TYPE && n.n_namesz == 4 &&
            memcmp(notes + sizeof(n), "Xen", 4) == 0)
            return true;
        notes += whole;
        len -= whole;
    }
    return false;
}

int kernel_check(const char *elf, size_t len, struct error *err)
{
    Elf64_Ehdr header;
    if (!is_elf(elf, len))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "neither a bzImage nor an ELF kernel");
    memcpy(&header, elf, sizeof(header));
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > len ||
        header.e_phnum > (len - header.e_phoff) / sizeof(Elf64_Phdr))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "not a 64-bit x86 kernel");
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, elf + header.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type == PT_NOTE && p.p_offset <= len && p.p_filesz <= len - p.p_offset &&
            has_entry(elf + p.p_offset, p.p_filesz))
            return 0;
    }
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "the kernel has no PVH entry: it must be built with CONFIG_PVH");
}

int kernel_read(const char *data, size_t len, struct buf *out, struct error *err)
{
    int r;
    if (!is_elf(data, len)) {
        r = kernel_unpack(data, len, out, err);
    } else {
        r = buf_add(out, data, len);
        if (r < 0)
            r = error_set(err, ERROR_LIMIT, EFBIG, "the kernel is larger than %zu MiB",
                          KERNEL_MAX_BYTES >> 20);
    }
    return r < 0 ? r : kernel_check(out->data, out->len, err);
}

void kernel_version(const char *elf, size_t len, char *ret, size_t size)
{
    static const char banner[] = "Linux version ";
    const char *at = elf, *end = elf + len;
    ret[0] = '\0';
    while (at && (at = memmem(at, (size_t)(end - at), banner, sizeof(banner) - 1))) {
        size_t n = 0;
        at += sizeof(banner) - 1;
        while (at + n < end && n + 1 < size && at[n] > ' ' && at[n] < 127 && at[n] != '/')
            n++;
        if (n > 0 && at[0] >= '0' && at[0] <= '9') { /* and not the format that it is made with */
            memcpy(ret, at, n);
            ret[n] = '\0';
            return;
        }
    }
}
