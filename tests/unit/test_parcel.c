/* What is written is what is read: holes, empty files, questions; and the head's text both ways. */
#include "check.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/strv.h"
#include "engine/parcel.h"

#define MIB ((uint64_t)1 << 20)

struct got {
    int from;
    char head[64], names[128];
    char *data; /* of the one large file */
    uint64_t bytes, syncs, written;
    size_t files;
};

static int get(void *source, void *data, size_t len, struct error *err)
{
    struct got *g = source;
    return fd_read_full(g->from, data, len) == (ssize_t)len
               ? 0
               : error_set(err, ERROR_CORRUPT, EBADMSG, "cut off");
}

static int on_head(void *context, const char *text, size_t len, struct error *err)
{
    struct got *g = context;
    (void)err;
    snprintf(g->head, sizeof(g->head), "%.*s", (int)len, text);
    return 0;
}

static int on_file(void *context, const char *name, uint64_t bytes, struct error *err)
{
    struct got *g = context;
    size_t at = strlen(g->names);
    (void)err;
    snprintf(g->names + at, sizeof(g->names) - at, "%s:%llu ", name, (unsigned long long)bytes);
    if (bytes > g->bytes) {
        g->bytes = bytes;
        g->data = xcalloc(bytes, 1);
    }
    return 0;
}

static int on_data(void *context, uint64_t at, const void *data, size_t len, struct error *err)
{
    struct got *g = context;
    (void)err;
    assert_true(at + len <= g->bytes);
    memcpy(g->data + at, data, len);
    g->written += len;
    return 0;
}

static int on_file_end(void *context, struct error *err)
{
    (void)err;
    ((struct got *)context)->files++;
    return 0;
}

static int on_sync(void *context, uint64_t number, struct error *err)
{
    (void)err;
    ((struct got *)context)->syncs = number;
    return 0;
}

static const struct parcel_sink sink = {on_head, on_file, on_data, on_file_end, on_sync};

static int make_file(uint64_t bytes)
{
    int fd = memfd_create("parcel", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    return fd;
}

static int write_parcel(int holes, int empty)
{
    struct parcel_writer w;
    struct error err = ERROR_INIT;
    int fd = make_file(0);
    assert_int_equal(parcel_begin(&w, fd, &err), 0);
    assert_int_equal(parcel_add(&w, PARCEL_HEAD, 0, "{\"proa\":1}", 10, &err), 0);
    assert_int_equal(parcel_add(&w, PARCEL_SYNC, 1, NULL, 0, &err), 0);
    assert_int_equal(parcel_add_file(&w, "0-disk.raw", holes, &err), 0);
    assert_int_equal(parcel_add_file(&w, "firmware.vars", empty, &err), 0);
    assert_int_equal(parcel_finish(&w, &err), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    _cleanup_close_ int holes = make_file(8 * MIB), empty = make_file(0);
    assert_int_equal(pwrite(holes, "begin", 5, 0), 5);
    assert_int_equal(pwrite(holes, "middle", 6, 5 * MIB - 3), 6);
    _cleanup_close_ int fd = write_parcel(holes, empty);
    struct got g = {.from = fd};
    assert_int_equal(parcel_read(get, &g, &sink, &g, &err), 0);
    assert_string_equal(g.head, "{\"proa\":1}");
    assert_string_equal(g.names, "0-disk.raw:8388608 firmware.vars:0 ");
    assert_memory_equal(g.data, "begin", 6);
    assert_memory_equal(g.data + 5 * MIB - 3, "middle", 7);
    assert_true(g.syncs == 1 && g.files == 2 && g.written < MIB);
    free(g.data);
    /* No question belongs in a file; and no byte may be another. */
    struct parcel_sink still = sink;
    still.sync = NULL;
    struct got again = {.from = fd};
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_true(parcel_read(get, &again, &still, &again, &err) < 0);
    struct got other = {.from = fd};
    assert_int_equal(pwrite(fd, "}", 1, PARCEL_MAGIC_LEN + PARCEL_FRAME_LEN), 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_true(parcel_read(get, &other, &sink, &other, &err) < 0);
    assert_int_equal(err.kind, ERROR_CORRUPT);
    free(other.data);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", ".", "..", ".x", "a/b", "a b", "-x", "a\n", "\xc3\xa4"};
    (void)state;
    assert_int_equal(parcel_name_check("0-disk.qcow2", 12), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(parcel_name_check(bad[i], strlen(bad[i])) < 0);
    assert_true(parcel_name_check("a\0b", 3) < 0);
    assert_true(parcel_is_state("firmware.vars") && parcel_is_state("tpm.tpm2-00.permall"));
    assert_false(parcel_is_state("tpm.") || parcel_is_state("tpm..lock") || parcel_is_state("x"));
}

static void test_head(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    struct parcel_head h = {
        .what = xstrdup("snapshot"), .name = xstrdup("then"), .memory_bytes = 7};
    h.consistency = xstrdup("frozen");
    h.instance = (struct instance_record){.id = xasprintf("%064d", 7),
                                          .name = xstrdup("web"),
                                          .image_id = xstrdup("sha256:1"),
                                          .image_name = xstrdup("debian"),
                                          .auto_remove = true,
                                          .options = xstrdup("{}")};
    strv_add(&h.parts, "0-disk.raw");
    strv_add(&h.parts, "1-disk.qcow2");
    _cleanup_free_ char *text = parcel_head_text(&h);
    struct parcel_head back = {0};
    assert_int_equal(parcel_head_parse(text, &back, &err), 0);
    _cleanup_free_ char *again = parcel_head_text(&back);
    assert_string_equal(text, again);
    parcel_head_done(&back);
    free(h.parts[1]);
    h.parts[1] = xstrdup("2-disk.qcow2");
    _cleanup_free_ char *disorder = parcel_head_text(&h);
    assert_true(parcel_head_parse(disorder, &back, &err) < 0);
    parcel_head_done(&h);
}

/* Levels in order, each with files of the disks in the order of their numbers. */
static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *parts;
        bool good;
    } cases[] = {
        {"", true},
        {"0-disk.raw,0-disk1.qcow2,0-disk15.qcow2,1-disk1.qcow2,2-disk.qcow2", true},
        {"0-disk1.qcow2,1-disk.qcow2", true},
        {"0-disk1.qcow2,0-disk.qcow2", false},
        {"0-disk.qcow2,2-disk.qcow2", false},
        {"1-disk.qcow2,0-disk.qcow2", false},
        {"0-disk.qcow2,0-disk.qcow2", false},
        {"0-disk16.qcow2", false},
        {"0-disk1.raw", false},
        {"0-disk01.qcow2", false},
        {"00-disk.qcow2", false},
        {"0-memory", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct parcel_head back = {0};
        struct parcel_head h = {.what = xstrdup("snapshot"),
                                .name = xstrdup("then"),
                                .consistency = xstrdup("crash"),
                                .parts = strv_split(cases[i].parts, ',')};
        h.instance = (struct instance_record){.id = xasprintf("%064d", 7),
                                              .name = xstrdup("web"),
                                              .image_id = xstrdup("sha256:1"),
                                              .image_name = xstrdup("debian"),
                                              .options = xstrdup("{}")};
        _cleanup_free_ char *text = parcel_head_text(&h);
        int r = parcel_head_parse(text, &back, &err);
        if ((r == 0) != cases[i].good)
            fail_msg("\"%s\" gives %d", cases[i].parts, r);
        parcel_head_done(&back);
        parcel_head_done(&h);
    }
}

static void test_level(void **state)
{
    (void)state;
    char *names[] = {(char *)"memory",       (char *)"1-disk2.qcow2", (char *)"0-disk.qcow2",
                     (char *)"1-disk.qcow2", (char *)"11-disk.raw",   NULL};
    static const char *const expected[] = {"disk.qcow2", "disk.qcow2,disk2.qcow2", ""};
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        _cleanup_strv_ char **files = parcel_level(names, i);
        _cleanup_free_ char *text = strv_join(files, ",");
        assert_string_equal(text, expected[i]);
    }
}

/* The names of a machine's files go together: what belongs to another snapshot has another set. */
static void test_own_names(void **state)
{
    (void)state;
    char set[17];
    _cleanup_free_ char *first = snapshot_own_name("disk-0123456789abcdef.qcow2", 0);
    _cleanup_free_ char *third = snapshot_own_name("disk-0123456789abcdef.ext4", 2);
    _cleanup_free_ char *before = snapshot_own_name(NULL, 2);
    assert_string_equal(first, "disk-0123456789abcdef.qcow2");
    assert_string_equal(third, "disk2-0123456789abcdef.qcow2");
    assert_string_equal(before, "disk2.qcow2");
    assert_true(snapshot_own_set(third, set));
    assert_string_equal(set, "0123456789abcdef");
    assert_true(snapshot_own_set(before, set) && snapshot_own_set("disk.ext4", set));
    assert_string_equal(set, "");
    assert_false(snapshot_own_set("disk2.map0", set) || snapshot_own_set("disk-12.qcow2", set) ||
                 snapshot_own_set("firmware.vars", set) || snapshot_own_set("memory", set));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_names),
        cmocka_unit_test(test_head),           cmocka_unit_test(test_parts),
        cmocka_unit_test(test_level),          cmocka_unit_test(test_own_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
