/* The log, written and read back: splitting, escapes, rotation, full disks, tail, bounds, follow.
 */
#include "check.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "base/process.h"
#include "monitor_fake.h"
#include "runtime/monitor/log.h"
#include "runtime/monitor/log_write.h"

struct place {
    char dir[64];
    int fd;
    struct log_writer w;
};

static struct place *place_new(uint64_t max, uint32_t files)
{
    struct place *p = xnew(struct place);
    struct error err = ERROR_INIT;
    snprintf(p->dir, sizeof(p->dir), "/tmp/proa-log-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(log_writer_open(&p->w, p->fd, max, files, &err), 0);
    return p;
}

static void place_free(struct place *p)
{
    log_writer_close(&p->w);
    close(p->fd);
    assert_int_equal(path_remove_tree(AT_FDCWD, p->dir), 0);
    free(p);
}

static void add(struct place *p, int stream, const char *text)
{
    log_writer_add(&p->w, stream, text, strlen(text));
}

struct seen {
    struct buf text;
    size_t entries, errors;
    int64_t last_ns;
    size_t stop_after;
};

static int on_entry(void *context, const struct log_entry *e)
{
    struct seen *s = context;
    assert_int_equal(buf_add(&s->text, e->text, e->len), 0);
    s->entries++;
    s->errors += e->is_stderr;
    s->last_ns = e->time_ns;
    return s->stop_after && s->entries == s->stop_after ? 42 : 0;
}

static struct seen read_log(struct place *p, struct log_query q)
{
    struct seen s = {.text = BUF_INIT(64 << 20)};
    struct error err = ERROR_INIT;
    q.stop_fd = -EBADF;
    assert_int_equal(log_read(p->dir, &q, on_entry, &s, &err), 0);
    return s;
}

static void expect(struct place *p, struct log_query q, const char *text, size_t entries)
{
    struct seen s = read_log(p, q);
    assert_string_equal(s.text.data ? s.text.data : "", text);
    assert_int_equal(s.entries, entries);
    buf_done(&s.text);
}

static void test_lines(void **state)
{
    struct place *p = place_new(1 << 20, 2);
    (void)state;
    add(p, 0, "one\ntw");
    add(p, 1, "error\n");
    add(p, 0, "o\nthree");
    expect(p, (struct log_query){.tail = -1}, "one\nerror\ntwo\n", 3);
    log_writer_flush(&p->w);
    expect(p, (struct log_query){.tail = -1}, "one\nerror\ntwo\nthree", 4);
    expect(p, (struct log_query){.tail = 2}, "two\nthree", 2);
    expect(p, (struct log_query){.tail = 0}, "", 0);
    expect(p, (struct log_query){.tail = 100}, "one\nerror\ntwo\nthree", 4);
    struct seen s = read_log(p, (struct log_query){.tail = -1});
    assert_int_equal(s.errors, 1);
    int64_t now = time_now_ns();
    assert_true(s.last_ns <= now && s.last_ns > now - 10000000000);
    buf_done(&s.text);
    expect(p, (struct log_query){.tail = -1, .since_ns = now}, "", 0);
    expect(p, (struct log_query){.tail = -1, .until_ns = now - 100000000000}, "", 0);
    place_free(p);
}

static void test_bytes(void **state)
{
    struct place *p = place_new(1 << 20, 2);
    (void)state;
    static const char valid[] = "\x01\t\"\\/\x7f é 😀 \xf4\x8f\xbf\xbf\n";
    add(p, 0, valid);
    expect(p, (struct log_query){.tail = -1}, valid, 1);
    log_writer_add(&p->w, 0, "nul\0\n", 5);
    add(p, 0, "\xff\xc0\x80 \xed\xa0\x80 \xe2\x82\n");
    struct seen s = read_log(p, (struct log_query){.tail = 2});
    static const char bad[] = "nul\0\n\uFFFD\uFFFD\uFFFD \uFFFD\uFFFD\uFFFD \uFFFD\uFFFD\n";
    assert_int_equal(s.text.len, sizeof(bad) - 1);
    assert_memory_equal(s.text.data, bad, sizeof(bad) - 1);
    buf_done(&s.text);
    place_free(p);
}

/* A line longer than a piece, of characters that no piece may cut. */
static void test_long(void **state)
{
    struct place *p = place_new(8 << 20, 2);
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    (void)state;
    assert_int_equal(buf_add_str(&text, "x"), 0);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(buf_add_str(&text, "€"), 0);
    assert_int_equal(buf_add_str(&text, "\n"), 0);
    for (size_t at = 0; at < text.len; at += 1000)
        log_writer_add(&p->w, 0, text.data + at, MIN((size_t)1000, text.len - at));
    expect(p, (struct log_query){.tail = -1}, text.data, 4);
    place_free(p);
}

static void test_rotation(void **state)
{
    struct place *p = place_new(8192, 3);
    struct stat st;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char line[32];
        snprintf(line, sizeof(line), "line %d\n", i);
        add(p, 0, line);
    }
    assert_int_equal(fstatat(p->fd, "log.2", &st, 0), 0);
    assert_true(st.st_size > 4096 && st.st_size <= 8300);
    assert_int_equal(fstatat(p->fd, "log.3", &st, 0), -1);
    struct seen s = read_log(p, (struct log_query){.tail = -1});
    assert_true(s.entries > 200 && s.entries < 400);
    assert_string_equal(s.text.data + s.text.len - 10, "line 1999\n");
    for (char *q = s.text.data; *q; q = strchr(q, '\n') + 1)
        assert_memory_equal(q, "line ", 5);
    buf_done(&s.text);
    s = read_log(p, (struct log_query){.tail = 150}); /* over two files */
    assert_int_equal(s.entries, 150);
    assert_memory_equal(s.text.data, "line 1850\n", 10);
    buf_done(&s.text);
    place_free(p);
}

/* Damage is passed over, and what follows is read. */
static void test_damaged(void **state)
{
    struct place *p = place_new(1 << 20, 2);
    (void)state;
    static const char junk[] = "{\"log\":\"ha\nnot json\n{}\n{\"log\":\"x\",\"time\":\"10m\"}\n\n";
    _cleanup_free_ char *endless = xcalloc(1, 700001);
    add(p, 0, "first\n");
    assert_int_equal(fd_write_all(p->w.fd, junk, sizeof(junk) - 1), 0);
    memset(endless, 'x', 700000);
    endless[699999] = '\n';
    assert_int_equal(fd_write_all(p->w.fd, endless, 700000), 0);
    add(p, 0, "last\n");
    expect(p, (struct log_query){.tail = -1}, "first\nlast\n", 2);
    place_free(p);
}

/* A disk that fills: whole lines only, the rest counted, and it goes on when there is room. */
static void test_full(void **state)
{
    struct place *p = place_new(8 << 20, 2);
    struct rlimit limit, small = {10000, RLIM_INFINITY};
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    small.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 100; i++) {
        char line[300];
        memset(line, 'x', 299);
        line[298] = '\n';
        line[299] = '\0';
        add(p, 0, line);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    add(p, 0, "room\n");
    struct seen s = read_log(p, (struct log_query){.tail = -1});
    assert_int_equal(s.entries + p->w.dropped, 101);
    assert_true(p->w.dropped > 60);
    assert_string_equal(s.text.data + s.text.len - 5, "room\n");
    buf_done(&s.text);
    place_free(p);
}

/* Follows a monitor to its end, through rotations, losing nothing. */
static void test_follow(void **state)
{
    struct monitor_options o = fake_defaults;
    struct error err = ERROR_INIT;
    struct fake f = {0};
    struct seen s = {.text = BUF_INIT(1 << 20)};
    (void)state;
    o.log_max_bytes = 4096;
    o.log_files = 10;
    fake_begin(
        &f, "for i in $(seq 1 200); do echo line $i; [ $((i%20)) = 0 ] && sleep 0.02; done; true",
        o, false);
    struct log_query q = {.tail = -1, .follow = true, .run_dir = f.dir, .stop_fd = -EBADF};
    assert_int_equal(log_read(f.dir, &q, on_entry, &s, &err), 0);
    assert_int_equal(s.entries, 200);
    for (int i = 1; i <= 200; i++) {
        char line[32];
        snprintf(line, sizeof(line), "line %d\n", i);
        assert_non_null(strstr(s.text.data, line));
    }
    buf_done(&s.text);
    assert_int_equal(fake_end(&f), 0);
    fake_remove(&f);
}

static void test_stop(void **state)
{
    struct place *p = place_new(1 << 20, 2);
    struct seen s = {.text = BUF_INIT(1 << 20), .stop_after = 2};
    struct error err = ERROR_INIT;
    struct log_query q = {.tail = -1, .stop_fd = -EBADF};
    (void)state;
    add(p, 0, "1\n2\n3\n");
    assert_int_equal(log_read(p->dir, &q, on_entry, &s, &err), 42);
    assert_int_equal(s.entries, 2);
    buf_done(&s.text);
    assert_int_equal(log_read("/nonexistent", &q, on_entry, &s, &err), 0);
    place_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_long),    cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_full),
        cmocka_unit_test(test_follow),  cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
