/* runtime/vm/prepare: the bzImage's set-up header and LZ4 blocks, a module's ELF sections. Every
 * field that a wrong file could hold is tried at its ends. */
#include "check.h"

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
        {0x202, 0, "not a bzImage"},      {0x248, 0xffffffff, "cut short"},
        {0x24c, 0xffffffff, "cut short"}, {0x24c, 4, "cut short"},
        {SETUP, 0x00088b1f, "with gzip"}, {SETUP, 0x12345678, "not known"},
        {SETUP + 4, 0, "no ELF"},         {SETUP + 4, 0xffffffff, "no ELF"},
        {SETUP + 4, 5, "damaged"},        {SETUP + 8, 0xffffffff, "damaged"},
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
        cmocka_unit_test(test_module_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
