/* wire/tar: what is written is read back; what tar(1) writes is read; bad streams are refused. */
#include "check.h"

#include <string.h>

#include "wire/tar/tar.h"

struct seen {
    struct tar_entry entry;
    char path[TAR_MAX_PATH + 1], link[TAR_MAX_PATH + 1];
    size_t contents, entries;
    bool ended;
};

static int read_all(const struct buf *stream, struct seen *seen, struct error *err)
{
    _cleanup_(tar_reader_done) struct tar_reader reader;
    const unsigned char *p = (const unsigned char *)stream->data;
    size_t len = stream->len;
    struct tar_event ev;
    tar_reader_init(&reader);
    do {
        int r = tar_reader_next(&reader, &p, &len, &ev, err);
        if (r < 0)
            return r;
        if (ev.kind == TAR_EVENT_ENTRY) {
            seen->entry = ev.entry;
            seen->entries++;
            snprintf(seen->path, sizeof(seen->path), "%s", ev.entry.path);
            snprintf(seen->link, sizeof(seen->link), "%s", ev.entry.link);
        }
        if (ev.kind == TAR_EVENT_DATA)
            seen->contents += ev.len;
    } while (ev.kind != TAR_EVENT_MORE && ev.kind != TAR_EVENT_END);
    seen->ended = ev.kind == TAR_EVENT_END;
    return tar_reader_finish(&reader, err);
}

static void check_round(const struct tar_entry *e)
{
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    static struct seen seen;
    struct error err = ERROR_INIT;
    memset(&seen, 0, sizeof(seen));
    assert_int_equal(tar_write_header(&out, e), 0);
    assert_int_equal(out.len % TAR_BLOCK_SIZE, 0);
    if (e->size < 4096) {
        char zeros[4096] = "";
        assert_int_equal(buf_add(&out, zeros, e->size), 0);
        assert_int_equal(buf_add(&out, zeros, tar_padding(e->size)), 0);
        assert_int_equal(tar_write_end(&out), 0);
        assert_int_equal(read_all(&out, &seen, &err), 0);
        assert_true(seen.ended);
        assert_int_equal(seen.contents, e->size);
    } else {
        assert_int_equal(read_all(&out, &seen, &err), -EBADMSG); /* the contents are missing */
    }
    assert_int_equal(seen.entries, 1);
    assert_string_equal(seen.path, e->path);
    assert_string_equal(seen.link, e->link ? e->link : "");
    assert_int_equal(seen.entry.type, e->type);
    assert_int_equal(seen.entry.mode, e->mode);
    assert_int_equal(seen.entry.uid, e->uid);
    assert_int_equal(seen.entry.gid, e->gid);
    assert_int_equal(seen.entry.size, e->size);
    assert_int_equal(seen.entry.mtime, e->mtime);
    assert_int_equal(seen.entry.mtime_ns, e->mtime_ns);
    assert_int_equal(seen.entry.major, e->major);
    assert_int_equal(seen.entry.minor, e->minor);
}

static void test_round_trip(void **state)
{
    static char name[9000];
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[5] = '/';
    static const struct tar_entry entries[] = {
        {TAR_FILE, "a", NULL, 0644, 0, 0, 5, 1700000000, 0, 0, 0},
        {TAR_FILE, "setuid", NULL, 04755, 1000, 1000, 0, 1700000000, 123456789, 0, 0},
        {TAR_FILE, "large", NULL, 0600, 3000000, 4000000000u, 1ull << 40, -5, 0, 0, 0},
        {TAR_DIRECTORY, "d/", NULL, 01777, 1, 2, 0, 0, 0, 0, 0},
        {TAR_SYMLINK, "l", "../../etc/passwd", 0777, 0, 0, 0, 1, 0, 0, 0},
        {TAR_HARDLINK, "h", "a", 0644, 0, 0, 0, 1, 0, 0, 0},
        {TAR_CHAR, "null", NULL, 0666, 0, 0, 0, 1, 0, 1, 3},
        {TAR_BLOCK, "sda", NULL, 0660, 0, 6, 0, 1, 0, 8, 300},
        {TAR_FIFO, "p", NULL, 0600, 0, 0, 0, 1, 1, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        check_round(&entries[i]);
    for (size_t len = 95; len < 112; len++) { /* the step from ustar to pax, and in LEN's digits */
        struct tar_entry e = {TAR_SYMLINK, name + sizeof(name) - 1 - len, name, 0777};
        check_round(&e);
    }
    struct tar_entry exact = {TAR_FILE, name + sizeof(name) - 1 - 100, NULL, 0644};
    check_round(&exact);
}

static void test_too_long(void **state)
{
    static char name[TAR_MAX_PATH + 2];
    _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    struct tar_entry e = {.type = TAR_FILE, .path = name};
    assert_int_equal(tar_write_header(&out, &e), -ENAMETOOLONG);
}

/* Puts a right checksum into a header that a test has changed. */
static void sign(char *block)
{
    unsigned int sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK_SIZE; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
}

static void add_pax(struct buf *out, const char *records, size_t len)
{
    char block[TAR_BLOCK_SIZE] = "pax";
    block[156] = 'x';
    snprintf(block + 124, 12, "%011zo", len);
    sign(block);
    static const char zeros[TAR_BLOCK_SIZE];
    assert_int_equal(buf_add(out, block, sizeof(block)), 0);
    assert_int_equal(buf_add(out, records, len), 0);
    assert_int_equal(buf_add(out, zeros, tar_padding(len)), 0);
    struct tar_entry e = {.type = TAR_FILE, .path = "x"};
    assert_int_equal(tar_write_header(out, &e), 0);
    assert_int_equal(tar_write_end(out), 0);
}

static void test_bad_pax(void **state)
{
    static const struct {
        const char *records;
        size_t len;
        enum error_kind kind;
    } cases[] = {
        {"10 path=ab\n", 10, ERROR_CORRUPT},        /* does not end where it says */
        {"999 path=a\n", 11, ERROR_CORRUPT},        /* longer than the header */
        {"0 path=a\n", 9, ERROR_CORRUPT},           /* */
        {"3 \n", 3, ERROR_CORRUPT},                 /* no key */
        {"nonsense", 8, ERROR_CORRUPT},             /* */
        {"11 path=a\0\n", 11, ERROR_CORRUPT},       /* a NUL in a name */
        {"12 size=abc\n", 12, ERROR_CORRUPT},       /* */
        {"18 uid=4294967295\n", 18, ERROR_CORRUPT}, /* -1 */
        {"29 size=99999999999999999999\n", 29, ERROR_CORRUPT},
        {"22 GNU.sparse.major=1\n", 22, ERROR_UNSUPPORTED},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        static struct seen seen;
        struct error err = ERROR_INIT;
        add_pax(&out, cases[i].records, cases[i].len);
        assert_true(read_all(&out, &seen, &err) < 0);
        if (err.kind != cases[i].kind)
            fail_msg("case %zu: %s", i, err.msg);
    }
}

static void test_damage(void **state)
{
    struct tar_entry e = {.type = TAR_FILE, .path = "file", .size = 3};
    static struct seen seen;
    (void)state;
    for (int what = 0; what < 6; what++) {
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        struct error err = ERROR_INIT;
        char data[TAR_BLOCK_SIZE] = "abc";
        assert_int_equal(tar_write_header(&out, &e), 0);
        assert_int_equal(buf_add(&out, data, sizeof(data)), 0);
        assert_int_equal(tar_write_end(&out), 0);
        if (what == 0)
            out.data[3] ^= 1; /* the checksum */
        if (what == 1)
            out.len = 300; /* cut in the header */
        if (what == 2)
            out.len = 514; /* in the contents */
        if (what == 3)
            out.len = 1024; /* before the end */
        if (what == 4)
            out.data[156] = 'Q';
        if (what == 5)
            memcpy(out.data + 124, "99999999999", 11); /* no octal digits */
        if (what >= 4)
            sign(out.data);
        assert_true(read_all(&out, &seen, &err) < 0);
        assert_true(err.kind == ERROR_CORRUPT || err.kind == ERROR_UNSUPPORTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_bad_pax),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
