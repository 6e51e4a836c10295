/* runtime/vm/prepare: the bzImage's set-up header and LZ4 blocks, a module's ELF sections. Every
 * field that a wrong file could hold is tried at its ends. */
#include "check.h"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <lz4.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "runtime/vm/prepare/prepare.h"

enum { SETUP = 512 * 2, ELF_BYTES = 20000 };

static void set32(char *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* A bzImage of one block; ret_payload is the LZ4 data's length. */
static char *make_image(size_t *ret_len, size_t *ret_payload)
{
    _cleanup_free_ char *elf = xcalloc(ELF_BYTES, 1);
    char *image = xcalloc(SETUP + 2 * ELF_BYTES, 1);
    memcpy(elf, "\177ELF", 4);
    for (size_t i = 4; i < ELF_BYTES; i++)
        elf[i] = (char)(i * 7 % 251);
    int packed = LZ4_compress_default(elf, image + SETUP + 8, ELF_BYTES, ELF_BYTES + 1000);
    assert_true(packed > 0);
    memcpy(image + 0x202, "HdrS", 4);
    image[0x1f1] = 1;
    set32(image + SETUP, 0x184c2102);
    set32(image + SETUP + 4, (uint32_t)packed);
    set32(image + SETUP + 8 + packed, ELF_BYTES); /* the unpacked size */
    *ret_payload = 8 + (size_t)packed + 4;
    *ret_len = SETUP + *ret_payload;
    set32(image + 0x248, 0);
    set32(image + 0x24c, (uint32_t)*ret_payload);
    return image;
}

static int unpack(const char *image, size_t len, struct buf *out, struct error *err)
{
    /* A block of its own: a sanitizer sees every read past its end. */
    _cleanup_free_ char *copy = xcalloc(len ? len : 1, 1);
    if (len)
        memcpy(copy, image, len);
    return kernel_unpack(copy, len, out, err);
}

static void test_kernel(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    size_t len, payload;
    _cleanup_free_ char *image = make_image(&len, &payload);
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)32 << 20);
    assert_int_equal(unpack(image, len, &out, &err), 0);
    assert_int_equal(out.len, ELF_BYTES);
    assert_int_equal((unsigned char)out.data[1000], 1000 * 7 % 251);
}

static void test_kernel_refused(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    size_t len, payload;
    _cleanup_free_ char *image = make_image(&len, &payload);
    for (size_t cut = 0; cut < len; cut += cut < 700 ? 1 : 97) {
        _cleanup_buf_ struct buf out = BUF_INIT((size_t)32 << 20);
        assert_true(unpack(image, cut, &out, &err) < 0);
    }
    static const struct {
        size_t at;
        uint32_t value;
        const char *say;
    } wrong[] = {
        {0x202, 0, "not a bzImage"},       {0x248, 0xffffffff, "cut short"},
        {0x24c, 0xffffffff, "cut short"},  {0x24c, 4, "cut short"},
        {SETUP, 0x00088b1f, "is none of"}, {SETUP, 0x12345678, "is none of"},
        {SETUP + 4, 0, "no ELF"},          {SETUP + 4, 0xffffffff, "no ELF"},
        {SETUP + 4, 5, "damaged"},         {SETUP + 8, 0xffffffff, "damaged"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        _cleanup_free_ char *bad = xcalloc(len, 1);
        _cleanup_buf_ struct buf out = BUF_INIT((size_t)32 << 20);
        memcpy(bad, image, len);
        set32(bad + wrong[i].at, wrong[i].value);
        assert_true(unpack(bad, len, &out, &err) < 0);
        if (!strstr(err.msg, wrong[i].say))
            fail_msg("%zu: %s, not %s", i, err.msg, wrong[i].say);
    }
}

/* No kernel is so large that it fills memory. */
static void test_kernel_bounded(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    size_t len, payload;
    _cleanup_free_ char *image = make_image(&len, &payload);
    _cleanup_buf_ struct buf out = BUF_INIT((size_t)4 << 20);
    assert_int_equal(unpack(image, len, &out, &err), -EFBIG);
}

/* An ELF kernel as small as one can be: a note with the PVH entry, and what it calls itself. */
struct kernel {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } notes[2];
    char text[64];
};

static struct kernel make_kernel(void)
{
    struct kernel k = {
        .segments = {{.p_type = PT_LOAD},
                     {.p_type = PT_NOTE,
                      .p_offset = offsetof(struct kernel, notes),
                      .p_filesz = sizeof(k.notes)}},
        .notes = {{{4, 4, 1}, "GNU", 0}, {{4, 4, 18}, "Xen", 0x1000}},
        .text = "Linux version %s (x)\0\nLinux version 6.1.0-x (me@host) #1",
    };
    memcpy(k.header.e_ident, ELFMAG, SELFMAG);
    k.header.e_ident[EI_CLASS] = ELFCLASS64;
    k.header.e_machine = EM_X86_64;
    k.header.e_phoff = offsetof(struct kernel, segments);
    k.header.e_phentsize = sizeof(Elf64_Phdr);
    k.header.e_phnum = 2;
    return k;
}

static int check(const struct kernel *k, size_t len, struct error *err)
{
    _cleanup_free_ char *copy = xcalloc(len ? len : 1, 1);
    if (len)
        memcpy(copy, k, len);
    return kernel_check(copy, len, err);
}

static void test_entry(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct kernel good = make_kernel(), k = good;
    char version[16];
    assert_int_equal(check(&good, sizeof(good), &err), 0);
    kernel_version((const char *)&good, sizeof(good), version, sizeof(version));
    assert_string_equal(version, "6.1.0-x");
    kernel_version((const char *)&good, sizeof(good), version, 4);
    assert_string_equal(version, "6.1");
    kernel_version((const char *)&good, offsetof(struct kernel, text) + 30, version, 16);
    assert_string_equal(version, "");
    for (size_t cut = 0; cut < offsetof(struct kernel, text); cut++)
        assert_true(check(&good, cut, &err) < 0);
    k = good, k.notes[1].header.n_type = 17;
    assert_int_equal(check(&k, sizeof(k), &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "CONFIG_PVH"));
    k = good, k.notes[0].header.n_descsz = UINT32_MAX;
    assert_int_equal(check(&k, sizeof(k), &err), -EOPNOTSUPP);
    k = good, k.notes[0].header.n_namesz = UINT32_MAX - 3;
    assert_int_equal(check(&k, sizeof(k), &err), -EOPNOTSUPP);
    k = good, k.segments[1].p_offset = UINT64_MAX;
    assert_int_equal(check(&k, sizeof(k), &err), -EOPNOTSUPP);
    k = good, k.segments[1].p_filesz = UINT64_MAX;
    assert_int_equal(check(&k, sizeof(k), &err), -EOPNOTSUPP);
    k = good, k.header.e_phnum = UINT16_MAX;
    assert_int_equal(check(&k, sizeof(k), &err), -EBADMSG);
    k = good, k.header.e_phoff = UINT64_MAX;
    assert_int_equal(check(&k, sizeof(k), &err), -EBADMSG);
    k = good, k.header.e_machine = EM_AARCH64;
    assert_int_equal(check(&k, sizeof(k), &err), -EBADMSG);
}

/* The payload compressed with another program's format, and the size after it as the kernel's
 * build has it. */
static size_t compress_into(char *to, size_t room, const char *data, size_t len, int filter)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
    assert_int_equal(archive_write_set_bytes_in_last_block(a, 1), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, to, room, &used), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, data, len), (la_ssize_t)len);
    archive_entry_free(entry);
    assert_int_equal(archive_write_free(a), ARCHIVE_OK);
    return used;
}

static void test_compressions(void **state)
{
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD,
                                  ARCHIVE_FILTER_BZIP2};
    (void)state;
    struct kernel k = make_kernel();
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf out = BUF_INIT((size_t)1 << 20), small = BUF_INIT(100);
        _cleanup_free_ char *image = xcalloc(SETUP + 4096, 1);
        size_t packed = compress_into(image + SETUP, 4000, (char *)&k, sizeof(k), filters[i]);
        if (filters[i] != ARCHIVE_FILTER_GZIP)
            packed += 4;
        memcpy(image + 0x202, "HdrS", 4);
        image[0x1f1] = 1;
        set32(image + 0x24c, (uint32_t)packed);
        if (kernel_read(image, SETUP + packed, &out, &err) < 0)
            fail_msg("%d: %s", filters[i], err.msg);
        assert_int_equal(out.len, sizeof(k));
        assert_memory_equal(out.data, &k, sizeof(k));
        assert_int_equal(kernel_read(image, SETUP + packed, &small, &err), -EFBIG);
        set32(image + 0x24c, (uint32_t)packed / 2);
        buf_reset(&out);
        assert_true(kernel_read(image, SETUP + packed, &out, &err) < 0);
    }
}

struct module {
    Elf64_Ehdr header;
    Elf64_Shdr sections[3];
    char names[32], info[64];
};

static struct module make_module(void)
{
    struct module m = {
        .names = "\0.shstrtab\0.modinfo",
        .info = "license=GPL\0depends=virtio,virtio_ring\0name=x",
    };
    memcpy(m.header.e_ident, ELFMAG, SELFMAG);
    m.header.e_ident[EI_CLASS] = ELFCLASS64;
    m.header.e_shoff = offsetof(struct module, sections);
    m.header.e_shentsize = sizeof(Elf64_Shdr);
    m.header.e_shnum = 3;
    m.header.e_shstrndx = 1;
    m.sections[1] = (Elf64_Shdr){
        .sh_name = 1, .sh_offset = offsetof(struct module, names), .sh_size = sizeof(m.names)};
    m.sections[2] = (Elf64_Shdr){
        .sh_name = 11, .sh_offset = offsetof(struct module, info), .sh_size = sizeof(m.info)};
    return m;
}

static int needs(const struct module *m, size_t len, char ***ret)
{
    _cleanup_free_ char *copy = xcalloc(len ? len : 1, 1);
    if (len)
        memcpy(copy, m, len);
    return module_needs(copy, len, ret);
}

static void test_module(void **state)
{
    (void)state;
    struct module m = make_module();
    {
        _cleanup_strv_ char **list = NULL;
        assert_int_equal(needs(&m, sizeof(m), &list), 0);
        assert_int_equal(strv_len(list), 2);
        assert_string_equal(list[1], "virtio_ring");
    }
    /* The section's last string need not end. */
    m.sections[2].sh_size = strlen("license=GPL") + 1 + strlen("depends=virt");
    {
        _cleanup_strv_ char **list = NULL;
        assert_int_equal(needs(&m, offsetof(struct module, info) + m.sections[2].sh_size, &list),
                         0);
        assert_string_equal(list[0], "virt");
    }
}

static void test_module_refused(void **state)
{
    (void)state;
    char **list = NULL;
    struct module good = make_module(), m;
    for (size_t cut = 0; cut < offsetof(struct module, info); cut++)
        assert_int_equal(needs(&good, cut, &list), -EBADMSG);
    m = good, m.header.e_shoff = UINT64_MAX - 8;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.header.e_shnum = 0xffff;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.header.e_shstrndx = 3;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.header.e_shentsize = 1;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.sections[1].sh_offset = UINT64_MAX;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.sections[2].sh_name = UINT32_MAX;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.sections[2].sh_size = UINT64_MAX;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
    m = good, m.sections[2].sh_offset = UINT64_MAX - 4;
    assert_int_equal(needs(&m, sizeof(m), &list), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernel),         cmocka_unit_test(test_kernel_refused),
        cmocka_unit_test(test_kernel_bounded), cmocka_unit_test(test_module),
        cmocka_unit_test(test_module_refused), cmocka_unit_test(test_entry),
        cmocka_unit_test(test_compressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
