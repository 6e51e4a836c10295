/* Headers of disk images, configurations of disks, and maps. */
#include "check.h"

#include <sys/mman.h>

#include "base/alloc.h"
#include "wire/disk/disk.h"
#include "wire/disk/format.h"

#define MIB ((uint64_t)1 << 20)

/* --- headers --- */

struct image {
    uint8_t bytes[2 * 1024 * 1024];
    struct disk_reader reader;
};

static int read_memory(void *context, uint64_t offset, void *data, size_t len)
{
    struct image *i = context;
    assert_true(offset <= i->reader.bytes && len <= i->reader.bytes - offset);
    memcpy(data, i->bytes + offset, len);
    return 0;
}

static void put(struct image *i, size_t at, uint64_t value, size_t bytes, bool big)
{
    for (size_t n = 0; n < bytes; n++)
        i->bytes[at + (big ? bytes - 1 - n : n)] = (uint8_t)(value >> (8 * n));
}

static struct image *new_image(uint64_t bytes)
{
    struct image *i = xnew(struct image);
    i->reader = (struct disk_reader){i, bytes, read_memory};
    return i;
}

/* A version 3 image of 1 GiB with clusters of 64 KiB. */
static struct image *qcow2(void)
{
    struct image *i = new_image(MIB);
    memcpy(i->bytes, "QFI\xfb", 4);
    put(i, 4, 3, 4, true);
    put(i, 20, 16, 4, true);
    put(i, 24, 1024 * MIB, 8, true);
    put(i, 36, 2, 4, true);
    put(i, 40, 3 << 16, 8, true);
    put(i, 48, 1 << 16, 8, true);
    put(i, 56, 1, 4, true);
    put(i, 100, 104, 4, true);
    return i;
}

static struct image *vmdk(const char *description)
{
    struct image *i = new_image(MIB);
    memcpy(i->bytes, "KDMV", 4);
    put(i, 4, 1, 4, false);
    put(i, 12, 2048, 8, false);
    put(i, 28, 1, 8, false);
    put(i, 36, 20, 8, false);
    memcpy(i->bytes + 512, description, strlen(description));
    return i;
}

static void expect(struct image *i, enum disk_format f, enum error_kind kind, const char *say)
{
    struct error err = ERROR_INIT;
    uint64_t bytes = 0;
    int r = disk_format_check(&i->reader, f, &bytes, &err);
    assert_int_equal(err.kind, kind);
    assert_int_equal(r < 0, kind != ERROR_NONE);
    if (say && !strstr(err.msg, say))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, say);
    free(i);
}

static void test_qcow2(void **state)
{
    static const struct {
        size_t at, bytes;
        uint64_t value;
        enum error_kind kind;
        const char *say;
    } cases[] = {
        {0, 0, 0, ERROR_NONE, NULL},
        {4, 4, 1, ERROR_UNSUPPORTED, "version"},
        {4, 4, 4, ERROR_UNSUPPORTED, "version"},
        {8, 8, 4096, ERROR_DENIED, "backing file"},
        {16, 4, 12, ERROR_DENIED, "backing file"},
        {20, 4, 8, ERROR_CORRUPT, "clusters"},
        {20, 4, 22, ERROR_CORRUPT, "clusters"},
        {24, 8, 0, ERROR_CORRUPT, "no bytes"},
        {24, 8, UINT64_MAX, ERROR_LIMIT, "TiB"},
        {24, 8, DISK_MAX_BYTES, ERROR_CORRUPT, "tables"},
        {32, 4, 1, ERROR_UNSUPPORTED, "encrypted"},
        {32, 4, 2, ERROR_UNSUPPORTED, "encrypted"},
        {36, 4, UINT32_MAX, ERROR_CORRUPT, "tables"},
        {36, 4, 0, ERROR_CORRUPT, "tables"},
        {40, 8, (3 << 16) + 8, ERROR_CORRUPT, "cut off"},
        {40, 8, UINT64_MAX << 16, ERROR_CORRUPT, "cut off"},
        {60, 4, 65537, ERROR_CORRUPT, "tables"},
        {72, 8, 1, ERROR_NONE, NULL}, /* dirty */
        {72, 8, 2, ERROR_CORRUPT, "corrupt"},
        {72, 8, 4, ERROR_DENIED, "data file"},
        {72, 8, 1ull << 63, ERROR_UNSUPPORTED, "features"},
        {100, 4, 100, ERROR_CORRUPT, "header"},
        {100, 4, UINT32_MAX, ERROR_CORRUPT, "header"},
        {104, 4, 0x44415441, ERROR_DENIED, "data file"}, /* extensions */
        {104, 4, 0x0537be77, ERROR_UNSUPPORTED, "encrypted"},
        {104, 8, (0x12345678ull << 32) | UINT32_MAX, ERROR_CORRUPT, "extensions"},
    };
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
        struct image *i = qcow2();
        put(i, cases[n].at, cases[n].value, cases[n].bytes, true);
        expect(i, DISK_QCOW2, cases[n].kind, cases[n].say);
    }
    for (uint64_t cut = 0; cut < 104; cut++) {
        struct image *i = qcow2();
        i->reader.bytes = cut;
        expect(i, DISK_QCOW2, ERROR_CORRUPT, "ends");
    }
}

static void test_vmdk(void **state)
{
    (void)state;
    expect(vmdk("# Disk DescriptorFile\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n"),
           DISK_VMDK, ERROR_NONE, NULL);
    expect(vmdk("PARENTCID=12345678\n"), DISK_VMDK, ERROR_DENIED, "parent");
    expect(vmdk("parentFileNameHint=\"/etc/passwd\"\n"), DISK_VMDK, ERROR_DENIED, "parent");
    expect(vmdk("createType=\"monolithicFlat\"\n"), DISK_VMDK, ERROR_DENIED, "several");
    struct image *i = vmdk("");
    put(i, 12, 0, 8, false); /* QEMU would read the description instead */
    expect(i, DISK_VMDK, ERROR_CORRUPT, "broken");
    i = vmdk("");
    put(i, 28, UINT64_MAX / 512, 8, false);
    expect(i, DISK_VMDK, ERROR_CORRUPT, "ends");
    i = new_image(100);
    memcpy(i->bytes, "# Disk DescriptorFile\n", 22);
    expect(i, DISK_VMDK, ERROR_DENIED, "names other files");
}

static void test_vhdx(void **state)
{
    static const uint8_t metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                         0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
    static const uint8_t parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                           0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
    static const uint8_t size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                     0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
    (void)state;
    for (int parent = 0; parent < 2; parent++) {
        struct image *i = new_image(2 * MIB);
        memcpy(i->bytes, "vhdxfile", 8);
        memcpy(i->bytes + (192 << 10), "regi", 4);
        put(i, (192 << 10) + 8, 1, 4, false);
        memcpy(i->bytes + (192 << 10) + 16, metadata, 16);
        put(i, (192 << 10) + 32, MIB, 8, false);
        memcpy(i->bytes + MIB, "metadata", 8);
        put(i, MIB + 10, 2, 2, false);
        memcpy(i->bytes + MIB + 32, size, 16);
        put(i, MIB + 48, 65536, 4, false);
        put(i, MIB + 65536, 3 * MIB, 8, false);
        memcpy(i->bytes + MIB + 64, parameters, 16);
        put(i, MIB + 80, 65544, 4, false);
        put(i, MIB + 65548, parent ? 2 : 0, 4, false);
        expect(i, DISK_VHDX, parent ? ERROR_DENIED : ERROR_NONE, parent ? "parent" : NULL);
    }
    expect(new_image(2 * MIB), DISK_VHDX, ERROR_CORRUPT, "broken");
}

static void test_guess(void **state)
{
    static const struct {
        const char *bytes;
        size_t len, at;
        enum disk_format format;
    } cases[] = {
        {"QFI\xfb", 4, 0, DISK_QCOW2},   {"KDMV", 4, 0, DISK_VMDK},
        {"vhdxfile", 8, 0, DISK_VHDX},   {"\x55\xaa", 2, 510, DISK_RAW},
        {"ustar", 5, 257, DISK_UNKNOWN}, {"\x1f\x8b", 2, 0, DISK_UNKNOWN},
        {"hello", 5, 0, DISK_UNKNOWN},
    };
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
        enum disk_format f = DISK_FORMATS;
        struct image *i = new_image(512);
        memcpy(i->bytes + cases[n].at, cases[n].bytes, cases[n].len);
        if (cases[n].format == DISK_UNKNOWN && cases[n].at == 0 && n == 5)
            memcpy(i->bytes + 510, "\x55\xaa", 2); /* by chance */
        assert_int_equal(disk_format_guess(&i->reader, &f, NULL), 0);
        assert_int_equal(f, cases[n].format);
        i->reader.bytes = 0;
        assert_int_equal(disk_format_guess(&i->reader, &f, NULL), 0);
        assert_int_equal(f, DISK_UNKNOWN);
        free(i);
    }
}

/* --- the configuration --- */

#define HEX  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD "{\"mediaType\":\"" DISK_CONFIG_TYPE "\",\"architecture\":\"amd64\","

static void test_index(void **state)
{
    struct disk_chunk chunks[] = {{.position = 0}, {.position = 1}, {.position = 7}};
    struct disk_index i = {40 * MIB, (char *)"amd64", chunks, ARRAY_SIZE(chunks)};
    _cleanup_(disk_index_done) struct disk_index back = {0};
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(chunks); n++)
        snprintf(chunks[n].hex, sizeof(chunks[n].hex), "%s", HEX);
    _cleanup_free_ char *text = disk_index_text(&i);
    assert_int_equal(disk_index_parse(text, strlen(text), &back, NULL), 0);
    assert_int_equal(back.virtual_bytes, i.virtual_bytes);
    assert_int_equal(back.n_chunks, i.n_chunks);
    for (size_t n = 0; n < i.n_chunks; n++) {
        assert_int_equal(back.chunks[n].position, chunks[n].position);
        assert_string_equal(back.chunks[n].hex, HEX);
    }
    _cleanup_free_ char *again = disk_index_text(&back);
    assert_string_equal(text, again);
    assert_int_equal(disk_chunk_length(40 * MIB - 512, 9), 4 * MIB - 512);
    assert_int_equal(disk_chunk_length(40 * MIB, 10), 0);
}

static void test_bad_index(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[]}",
        HEAD "\"virtualBytes\":0,\"chunkBytes\":4194304,\"runs\":[],\"sha256\":[]}",
        HEAD "\"virtualBytes\":-1,\"chunkBytes\":4194304,\"runs\":[],\"sha256\":[]}",
        HEAD
        "\"virtualBytes\":9223372036854775807,\"chunkBytes\":4194304,\"runs\":[],\"sha256\":[]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4096,\"runs\":[],\"sha256\":[]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[0,1]],\"sha256\":[]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[],\"sha256\":[\"" HEX
             "\"]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[2,1]],\"sha256\":[\"" HEX
             "\"]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[-1,1]],\"sha256\":[\"" HEX
             "\"]}",
        HEAD "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[0,9223372036854775807]],"
             "\"sha256\":[\"" HEX "\"]}",
        HEAD
        "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[0,1]],\"sha256\":[\"xyz\"]}",
        HEAD
        "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[1,1],[0,1]],\"sha256\":[\"" HEX
        "\",\"" HEX "\"]}",
        HEAD
        "\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[[0,1],[0,1]],\"sha256\":[\"" HEX
        "\",\"" HEX "\"]}",
        ("{\"architecture\":\"../"
         "x\",\"virtualBytes\":8388608,\"chunkBytes\":4194304,\"runs\":[],\"sha256\":[]}"),
    };
    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(bad); n++) {
        struct disk_index i = {0};
        struct error err = ERROR_INIT;
        if (disk_index_parse(bad[n], strlen(bad[n]), &i, &err) == 0)
            fail_msg("taken: %s", bad[n]);
        assert_true(err.msg[0] && !i.chunks);
    }
}

/* --- maps --- */

static uint64_t big(int fd, uint64_t offset, size_t bytes)
{
    uint8_t b[8];
    uint64_t v = 0;
    assert_int_equal(pread(fd, b, bytes, (off_t)offset), bytes);
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | b[i];
    return v;
}

/* What QEMU makes of one is an integration test; here, that entries are where they belong. */
static void test_map(void **state)
{
    static const uint32_t positions[] = {0, 2, 9}, behind = 10;
    const uint64_t cluster = 2 * MIB, at = 3 * cluster, copied = 1ull << 63;
    int fd = memfd_create("map", MFD_CLOEXEC);
    (void)state;
    assert_int_equal(disk_map_write(fd, 37 * MIB, positions, ARRAY_SIZE(positions)), 0);
    assert_int_equal(big(fd, 0, 4), 0x514649fb);
    assert_int_equal(big(fd, 24, 8), 37 * MIB);
    assert_int_equal(big(fd, 2 * cluster, 8), at | copied);
    assert_int_equal(big(fd, at, 8), copied);
    assert_int_equal(big(fd, at + 8, 8), 2 * MIB | copied);
    assert_int_equal(big(fd, at + 16, 8), 0);
    assert_int_equal(big(fd, at + 32, 8), 8 * MIB | copied);
    assert_int_equal(big(fd, at + 18 * 8, 8), 36 * MIB | copied);
    assert_int_equal(big(fd, at + 19 * 8, 8), 0); /* behind the end of the disk */
    assert_true(disk_map_write(fd, 37 * MIB, &behind, 1) < 0);
    close(fd);
}

static void test_overlay(void **state)
{
    const uint64_t sizes[] = {512, 10ull << 30, 16ull << 40}, bad[] = {0, 511, (16ull << 40) + 512};
    uint64_t size;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        int fd = memfd_create("overlay", MFD_CLOEXEC);
        assert_int_equal(disk_overlay_write(fd, sizes[i]), 0);
        assert_int_equal(disk_overlay_size(fd, &size), 0);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(big(fd, 8, 8), 0); /* names nothing behind it */
        close(fd);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int fd = memfd_create("overlay", MFD_CLOEXEC);
        assert_int_equal(disk_overlay_write(fd, bad[i]), -EINVAL);
        assert_int_equal(disk_overlay_size(fd, &size), -EINVAL);
        assert_int_equal(disk_overlay_write(fd, 512), 0);
        assert_int_equal(pwrite(fd, "\xff", 1, 24), 1);
        assert_int_equal(disk_overlay_size(fd, &size), -EINVAL);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2), cmocka_unit_test(test_vmdk),
        cmocka_unit_test(test_vhdx),  cmocka_unit_test(test_guess),
        cmocka_unit_test(test_index), cmocka_unit_test(test_bad_index),
        cmocka_unit_test(test_map),   cmocka_unit_test(test_overlay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
