#include "check.h"

#include <string.h>

#include "wire/agent/layers.h"
#include "wire/agent/snapshot.h"

static struct agent_frame parse_one(const struct buf *b)
{
    struct agent_frame f;
    size_t used;
    struct error err = ERROR_INIT;
    assert_int_equal(agent_frame_parse(b->data, b->len, &f, &used, &err), 0);
    assert_int_equal(used, b->len);
    return f;
}

static void test_frames_need_all_their_bytes(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    struct agent_frame f;
    struct error err = ERROR_INIT;
    size_t used = 1;
    assert_int_equal(agent_add_data(&b, 7, 2, "hello", 5), 0);
    for (size_t len = 0; len < b.len; len++) {
        assert_int_equal(agent_frame_parse(b.data, len, &f, &used, &err), 0);
        assert_int_equal(used, 0);
    }
    f = parse_one(&b);
    uint8_t channel;
    const char *data;
    size_t len;
    assert_int_equal(f.stream, 7);
    assert_int_equal(agent_get_data(&f, &channel, &data, &len, &err), 0);
    assert_int_equal(channel, 2);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "hello", 5);
}

static void test_bad_frames_are_refused(void **state)
{
    (void)state;
    static const char unknown[12] = {0, 0, 0, 0, 99, 0, 0, 0};
    static const char none[12] = {0};
    static const char flagged[12] = {0, 0, 0, 0, 1, 0, 1, 0};
    static const char long_hello[12] = {5, 0, 0, 0, AGENT_HELLO, 0, 0, 0};
    static const char huge[12] = {0, 0, 0, 0x7f, AGENT_CONFIGURE, 0, 0, 0};
    const char *const bad[] = {unknown, none, flagged, long_hello, huge};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct agent_frame f;
        struct error err = ERROR_INIT;
        size_t used;
        assert_int_equal(agent_frame_parse(bad[i], 12, &f, &used, &err), -EPROTO);
        assert_int_equal(err.kind, ERROR_CORRUPT);
    }
}

static void test_numbers_and_bounds(void **state)
{
    (void)state;
    struct error err = ERROR_INIT;
    uint32_t a = 0, c = 0;
    uint8_t channel = 9;
    {
        _cleanup_buf_ struct buf b = BUF_INIT(100);
        assert_int_equal(agent_add_resize(&b, 1, 24, 80), 0);
        struct agent_frame f = parse_one(&b);
        assert_int_equal(agent_get_resize(&f, &a, &c, &err), 0);
        assert_int_equal(a, 24);
        assert_int_equal(c, 80);
    }
    {
        _cleanup_buf_ struct buf b = BUF_INIT(100);
        assert_int_equal(agent_add_resize(&b, 1, 70000, 80), 0);
        struct agent_frame f = parse_one(&b);
        assert_int_equal(agent_get_resize(&f, &a, &c, &err), -EPROTO);
    }
    {
        _cleanup_buf_ struct buf b = BUF_INIT(100);
        assert_int_equal(agent_add_credit(&b, 1, 1, AGENT_WINDOW + 1), 0);
        struct agent_frame f = parse_one(&b);
        assert_int_equal(agent_get_credit(&f, &channel, &a, &err), -EPROTO);
        assert_int_equal(channel, 9);
    }
    {
        _cleanup_buf_ struct buf b = BUF_INIT(100);
        assert_int_equal(agent_add_close(&b, 1, 3), 0);
        struct agent_frame f = parse_one(&b);
        assert_int_equal(agent_get_close(&f, &channel, &err), -EPROTO);
    }
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    static char data[AGENT_DATA_MAX + 1];
    assert_int_equal(agent_add_data(&b, 1, 1, data, sizeof(data)), -EFBIG);
    assert_int_equal(agent_add_data(&b, 1, 1, data, AGENT_DATA_MAX), 0);
}

static void test_configure_round_trip(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(AGENT_PAYLOAD_MAX * 2);
    struct agent_file files[] = {{"/etc/hosts", "a\0b", 3, 0644, true}};
    struct agent_share shares[] = {{"share0", "/data", "", false}, {"files", "/etc/x", "7", true}};
    struct agent_network networks[] = {
        {"02:51:0a:00:00:02", "10.0.0.2", "10.0.0.1", "", "", 24, 0, 1500},
        {"02:51:0a:01:00:02", "10.1.0.2", "", "fd00::2", "fd00::1", 24, 64, 1400}};
    struct agent_configure in = {
        .hostname = "box",
        .machine_id = "0123",
        .clock_ns = 1234567890123456789,
        .seed = "\0\1\2",
        .seed_len = 3,
        .n_layers = 3,
        .has_disk = true,
        .networks = networks,
        .n_networks = 2,
        .files = files,
        .n_files = 1,
        .shares = shares,
        .n_shares = 2,
    };
    struct agent_configure out;
    struct error err = ERROR_INIT;
    assert_int_equal(agent_configure_add(&b, &in), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(agent_configure_get(&f, &out, &err), 0);
    assert_string_equal(out.hostname, "box");
    assert_string_equal(out.machine_id, "0123");
    assert_true(out.clock_ns == in.clock_ns);
    assert_int_equal(out.seed_len, 3);
    assert_memory_equal(out.seed, "\0\1\2", 3);
    assert_int_equal(out.n_files, 1);
    assert_int_equal(out.files[0].len, 3);
    assert_memory_equal(out.files[0].content, "a\0b", 3);
    assert_true(out.files[0].readonly);
    assert_string_equal(out.shares[0].path, "/data");
    assert_string_equal(out.shares[1].file, "7");
    assert_true(*out.shares[0].file == '\0' && out.shares[1].readonly);
    assert_int_equal(out.n_networks, 2);
    assert_string_equal(out.networks[0].address, "10.0.0.2");
    assert_string_equal(out.networks[1].gateway6, "fd00::1");
    assert_int_equal(out.networks[1].prefix6, 64);
    assert_int_equal(out.networks[1].mtu, 1400);
    agent_configure_done(&out);
    /* Each shorter payload is refused, and nothing leaks. */
    for (size_t len = 0; len < f.len; len++) {
        struct agent_frame cut = f;
        cut.len = len;
        assert_int_equal(agent_configure_get(&cut, &out, &err), -EPROTO);
    }
    networks[0].prefix = 33;
    buf_reset(&b);
    assert_int_equal(agent_configure_add(&b, &in), 0);
    f = parse_one(&b);
    assert_int_equal(agent_configure_get(&f, &out, &err), -EPROTO);
}

static void test_exec_and_start(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(AGENT_PAYLOAD_MAX * 2);
    char *argv[] = {(char *)"sh", (char *)"", (char *)"-c", NULL};
    struct agent_exec in = {.argv = argv, .cwd = "/", .user = NULL, .terminal = true, .rows = 3};
    struct agent_exec out;
    struct error err = ERROR_INIT;
    assert_int_equal(agent_exec_add(&b, 5, &in), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(agent_exec_get(&f, &out, &err), 0);
    assert_string_equal(out.argv[0], "sh");
    assert_string_equal(out.argv[1], "");
    assert_null(out.argv[3]);
    assert_null(out.env[0]);
    assert_string_equal(out.user, "");
    assert_true(out.terminal && !out.detach);
    agent_exec_done(&out);
    buf_reset(&b);
    in.argv = NULL; /* nothing to execute */
    assert_int_equal(agent_exec_add(&b, 5, &in), 0);
    f = parse_one(&b);
    assert_int_equal(agent_exec_get(&f, &out, &err), -EPROTO);
    struct agent_start start = {.config = "{}", .init = true, .columns = 80}, started;
    buf_reset(&b);
    assert_int_equal(agent_start_add(&b, &start), 0);
    f = parse_one(&b);
    assert_int_equal(f.stream, AGENT_WORKLOAD);
    assert_int_equal(agent_start_get(&f, &started, &err), 0);
    assert_string_equal(started.config, "{}");
    assert_int_equal(started.columns, 80);
}

static void test_errors_travel(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct error in = ERROR_INIT, out = ERROR_INIT;
    error_set(&in, ERROR_COMMAND_NOT_FOUND, ENOENT, "exec: \"x\": not found");
    assert_int_equal(agent_add_error(&b, 2, &in), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(agent_get_error(&f, &out), -ENOENT);
    assert_int_equal(out.kind, ERROR_COMMAND_NOT_FOUND);
    assert_string_equal(out.msg, in.msg);
    in.kind = (enum error_kind)77;
    buf_reset(&b);
    assert_int_equal(agent_add_error(&b, 2, &in), 0);
    f = parse_one(&b);
    assert_int_equal(agent_get_error(&f, &out), -EPROTO);
}

static void test_strings_hold_no_nul(void **state)
{
    (void)state;
    static const char inner[] = {3, 0, 0, 0, 'a', 0, 'b', 0};
    static const char open_end[] = {3, 0, 0, 0, 'a', 'b', 'c', 'd'};
    static const char beyond[] = {(char)0xff, (char)0xff, (char)0xff, (char)0xff, 'a', 0};
    const char *text;
    struct error err = ERROR_INIT;
    struct agent_frame f = {AGENT_TEXT, 1, inner, sizeof(inner)};
    assert_int_equal(agent_get_string(&f, &text, &err), -EPROTO);
    f = (struct agent_frame){AGENT_TEXT, 1, open_end, sizeof(open_end)};
    assert_int_equal(agent_get_string(&f, &text, &err), -EPROTO);
    f = (struct agent_frame){AGENT_TEXT, 1, beyond, sizeof(beyond)};
    assert_int_equal(agent_get_string(&f, &text, &err), -EPROTO);
}

static void test_stats(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct agent_stats in = {1, 2, 3, 4, 5, 6, 7, 8, UINT64_MAX}, out;
    struct error err = ERROR_INIT;
    assert_int_equal(agent_stats_add(&b, 9, &in), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(agent_stats_get(&f, &out, &err), 0);
    assert_memory_equal(&in, &out, sizeof(in));
}

static void test_snapshot_messages(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(2000);
    struct error err = ERROR_INIT;
    struct agent_network network = {.mac = "02:00:00:00:00:01",
                                    .address = "10.0.0.2",
                                    .gateway = "",
                                    .prefix = 24,
                                    .mtu = 1500};
    struct agent_resume back, resume = {.restored = true,
                                        .clock_ns = 5000000001,
                                        .seed = "a\0b",
                                        .seed_len = 3,
                                        .networks = &network,
                                        .n_networks = 1};
    bool frozen = false;
    uint64_t pause_us = 0;
    assert_int_equal(agent_resume_add(&b, &resume), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(agent_resume_get(&f, &back, &err), 0);
    assert_true(back.restored && back.n_networks == 1);
    assert_int_equal(back.clock_ns, resume.clock_ns);
    assert_int_equal(back.seed_len, 3);
    assert_string_equal(back.networks[0].address, "10.0.0.2");
    agent_resume_done(&back);
    assert_true(agent_get_snapshot_reply(&f, &frozen, &pause_us, &err) < 0);
    buf_reset(&b);
    network.prefix = 33;
    assert_int_equal(agent_resume_add(&b, &resume), 0);
    f = parse_one(&b);
    assert_true(agent_resume_get(&f, &back, &err) < 0);
    buf_reset(&b);
    assert_int_equal(agent_add_snapshot_reply(&b, 1, true, 1234), 0);
    f = parse_one(&b);
    assert_int_equal(agent_get_snapshot_reply(&f, &frozen, &pause_us, &err), 0);
    assert_true(frozen);
    assert_int_equal(pause_us, 1234);
}

static void test_names(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf b = BUF_INIT(2000);
    struct error err = ERROR_INIT;
    char *gone[] = {(char *)"10.0.0.2", (char *)"fd00::2", NULL};
    const struct agent_names names = {.gone = gone, .more = "10.0.0.3\tweb\n", .resolv_conf = NULL};
    struct agent_names back;
    assert_int_equal(agent_names_add(&b, 7, &names), 0);
    struct agent_frame f = parse_one(&b);
    assert_int_equal(f.stream, 7);
    assert_int_equal(agent_names_get(&f, &back, &err), 0);
    assert_string_equal(back.gone[1], "fd00::2");
    assert_null(back.gone[2]);
    assert_string_equal(back.more, "10.0.0.3\tweb\n");
    assert_string_equal(back.resolv_conf, "");
    free(back.gone);
    f.len--;
    assert_true(agent_names_get(&f, &back, &err) < 0);
}

static void test_layers_on_one_disk(void **state)
{
    (void)state;
    static struct agent_layer_place places[AGENT_LAYERS_MAX];
    static uint64_t lengths[AGENT_LAYERS_MAX + 1];
    unsigned char table[AGENT_LAYERS_TABLE];
    struct error err = ERROR_INIT;
    size_t n;
    for (size_t i = 0; i <= AGENT_LAYERS_MAX; i++)
        lengths[i] = (i + 1) * 4096;
    assert_int_equal(agent_layers_write(lengths, AGENT_LAYERS_MAX + 1, table), -E2BIG);
    assert_int_equal(agent_layers_write(lengths, AGENT_LAYERS_MAX, table), 0);
    assert_int_equal(agent_layers_parse(table, places, &n, &err), 0);
    assert_int_equal(n, AGENT_LAYERS_MAX);
    assert_int_equal(places[0].start, AGENT_LAYERS_TABLE);
    assert_int_equal(places[1].start, AGENT_LAYERS_TABLE + 4096);
    assert_int_equal(places[254].length, 255 * 4096);
    for (size_t at = 0; at < 16 + 2 * 16; at++) { /* no byte of the head or of a place is idle */
        if (at == 8 || (at >= 12 && at < 16))     /* fewer layers, and what is not read */
            continue;
        table[at] ^= 0x40;
        assert_int_equal(agent_layers_parse(table, places, &n, &err), -EPROTO);
        assert_int_equal(agent_layers_write(lengths, AGENT_LAYERS_MAX, table), 0);
    }
    lengths[3] = 4000;
    assert_int_equal(agent_layers_write(lengths, 4, table), -EINVAL);
    lengths[3] = 0;
    assert_int_equal(agent_layers_write(lengths, 4, table), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_layers_on_one_disk),
        cmocka_unit_test(test_frames_need_all_their_bytes),
        cmocka_unit_test(test_bad_frames_are_refused),
        cmocka_unit_test(test_snapshot_messages),
        cmocka_unit_test(test_numbers_and_bounds),
        cmocka_unit_test(test_configure_round_trip),
        cmocka_unit_test(test_exec_and_start),
        cmocka_unit_test(test_errors_travel),
        cmocka_unit_test(test_strings_hold_no_nul),
        cmocka_unit_test(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
