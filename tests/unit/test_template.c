/* --format's templates, the table writer, safe text and the progress line. */
#include "check.h"

#include <string.h>

#include "base/json.h"
#include "front/cli/output.h"
#include "front/cli/progress.h"
#include "front/cli/row.h"
#include "front/cli/table.h"
#include "front/cli/template.h"
#include "front/command/safetext.h"

static const char sample[] =
    "{\"Id\":\"abc\",\"Name\":\"/web\",\"Count\":3,\"Empty\":\"\",\"Evil\":\"a\\u001b[2J\\u009b\","
    "\"State\":{\"Status\":\"running\",\"Running\":true,\"Paused\":false},\"Nothing\":null,"
    "\"Labels\":{\"a\":\"1\",\"b.c\":\"2\"},\"Args\":[\"x\",\"y\"],\"None\":[],"
    "\"Ports\":{\"80/tcp\":[{\"HostPort\":\"8080\"}]}}";

static json_t *dot(void)
{
    json_t *o = NULL;
    struct error err = ERROR_INIT;
    assert_int_equal(json_parse(sample, strlen(sample), "sample", &o, &err), 0);
    return o;
}

static void check(const char *text, const char *wanted)
{
    json_t *o = dot();
    struct buf out = BUF_INIT(4096);
    struct error err = ERROR_INIT;
    int r = template_render(text, o, true, &out, &err);
    if (r < 0 || strcmp(out.data ? out.data : "", wanted) != 0)
        fail_msg("%s: got \"%s\" (%s), wanted \"%s\"", text, out.data ? out.data : "", err.msg,
                 wanted);
    buf_done(&out);
    json_decref(o);
}

static void test_values(void **state)
{
    (void)state;
    check("", "");
    check("plain }} text", "plain }} text");
    check("{{.Id}}", "abc");
    check("{{ .Id }} {{.Name}}", "abc /web");
    check("{{.Id}}\\t{{.Count}}\\n", "abc\t3\n");
    check("{{.State.Status}}", "running");
    check("{{.State.Running}}{{.State.Paused}}", "truefalse");
    check("{{.Labels.a}}{{.Labels.zz}}", "1<no value>");
    check("{{.Nothing}}", "<no value>");
    check("{{.Nothing.Deeper.Still}}", "<no value>");
    check("{{.Args}}", "[x y]");
    check("{{.Labels}}", "map[a:1 b.c:2]");
    check("{{.Evil}}", "a\\x1b[2J\\u009b");
}

static void test_functions(void **state)
{
    (void)state;
    check("{{json .Labels}}", "{\"a\":\"1\",\"b.c\":\"2\"}");
    check("{{json .Id}}{{.Id|json}}", "\"abc\"\"abc\"");
    check("{{json .Evil}}", "\"a\\u001B[2J\\u009b\"");
    check("{{index .Labels \"b.c\"}}", "2");
    check("{{index .Args 1}}", "y");
    check("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080");
    check("{{len .Args}}{{len .Id}}{{len .Labels}}", "232");
    check("{{join .Args \", \"}}", "x, y");
    check("{{upper .Id}}{{lower \"XyZ\"}}", "ABCxyz");
    check("{{eq .Id \"abc\"}}{{ne .Id \"abc\"}}{{not .Empty}}", "truefalsetrue");
    check("{{println .Id}}", "abc\n");
    check("{{\"}}\"}}{{`\\n`}}", "}}\\n");
    check("{{.Id | upper | json}}", "\"ABC\"");
}

static void test_blocks(void **state)
{
    (void)state;
    check("{{range .Args}}<{{.}}>{{end}}", "<x><y>");
    check("{{range .None}}x{{else}}none{{end}}", "none");
    check("{{range .Args}}x{{else}}none{{end}}!", "xx!");
    check("{{range .Labels}}{{.}},{{end}}", "1,2,");
    check("{{range .Ports}}{{range .}}{{.HostPort}}{{end}}{{end}}", "8080");
    check("{{if .State.Running}}up{{else}}down{{end}}", "up");
    check("{{if .Empty}}x{{else}}y{{end}}", "y");
    check("{{if .Nothing}}{{.NotThere}}{{end}}ok", "ok");
    check("{{if .Id}}a{{if .Empty}}b{{else}}c{{end}}d{{end}}", "acd");
    check("a {{- .Id -}} b", "aabcb");
    check("{{range .Args -}}  {{.}}  {{- end}}", "xy");
}

static void test_refusals(void **state)
{
    static const char *const rows[] = {
        "{{",
        "{{.Id",
        "{{.NotThere}}",
        "{{.Id.x}}",
        "{{nonsense}}",
        "{{end}}",
        "{{else}}",
        "{{if .Id}}",
        "{{range}}",
        "{{range .Args}}",
        "{{json}}",
        "{{json .Id .Id}}",
        "{{.Id .Id}}",
        "{{.Id | .Id}}",
        "{{\"x}}",
        "{{index .Args 7}}",
        "{{(.Id}}",
        "{{join .Id \"\"}}",
        "{{..}}",
        "{{}}",
        "{{index .Id 1}}",
        "{{upper .Args}}",
        "{{.Id)}}",
        "{{99999999999999999999999999}}",
    };
    json_t *o = dot();
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct buf out = BUF_INIT(4096);
        struct error err = ERROR_INIT;
        if (template_render(rows[i], o, true, &out, &err) != -EINVAL || !err.msg[0])
            fail_msg("%s gave \"%s\" (%s)", rows[i], out.data ? out.data : "", err.msg);
        buf_done(&out);
    }
    json_decref(o);
}

static void test_bounds(void **state)
{
    char deep[4096] = "";
    json_t *o = dot();
    struct buf out = BUF_INIT(16);
    struct error err = ERROR_INIT;
    (void)state;
    for (int i = 0; i < 100; i++)
        snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "{{if .Id}}");
    assert_true(template_render(deep, o, true, &out, &err) < 0);
    assert_true(template_render("0123456789abcdef{{.Id}}", o, true, &out, &err) == -EFBIG);
    assert_int_equal(err.kind, ERROR_LIMIT);
    buf_done(&out);
    json_decref(o);
}

static void test_safe_text(void **state)
{
    static const struct {
        const char *text, *safe;
    } rows[] = {
        {"plain", "plain"},
        {"tab\tline\ncr\r", "tab\\tline\\ncr\\r"},
        {"\033[31m\007\177", "\\x1b[31m\\x07\\x7f"},
        {"\xc2\x9b", "\\u009b"},
        {"\xff\xc3", "\\xff\\xc3"},
        {"\xc0\xaf", "\\xc0\\xaf"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xe2\x80\xae", "\\u202e"},
        {"\xe6\xbc\xa2\xc3\xa9", "\xe6\xbc\xa2\xc3\xa9"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *safe = text_safe(rows[i].text);
        assert_string_equal(safe, rows[i].safe);
        free(safe);
    }
    assert_int_equal(text_width("ab\xe6\xbc\xa2\xc3\xa9"), 5);
    char *cut = text_cut("abcdef", 4);
    assert_string_equal(cut, "abc\xe2\x80\xa6");
    free(cut);
    cut = text_cut("\xe6\xbc\xa2\xe6\xbc\xa2", 3); /* two wide letters do not fit */
    assert_string_equal(cut, "\xe6\xbc\xa2\xe2\x80\xa6");
    free(cut);
    cut = text_cut("ab", 2);
    assert_string_equal(cut, "ab");
    free(cut);
}

static char *print_table(size_t columns, bool only_first)
{
    static const char *const cells[3][3] = {
        {"ID", "COMMAND", "NAMES"}, {"1", "\"a long command line\"", "x\ty"}, {"22", "", "z"}};
    struct table *t = table_new();
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < 3; i++) {
        table_row(t);
        for (size_t j = 0; j < 3; j++)
            table_cell(t, cells[i][j]);
    }
    if (only_first)
        table_may_cut(t, 0);
    table_print(t, out, columns);
    fclose(out);
    table_free(t);
    return text;
}

static void test_table(void **state)
{
    (void)state;
    char *text = print_table(0, false);
    assert_string_equal(text, "ID   COMMAND                 NAMES\n"
                              "1    \"a long command line\"   x\\ty\n"
                              "22                           z\n");
    free(text);
    text = print_table(26, false);
    assert_string_equal(text, "ID   COMMAND         NAMES\n"
                              "1    \"a long comm\xe2\x80\xa6   x\\ty\n"
                              "22                   z\n");
    free(text);
    text = print_table(5, false); /* nothing gets narrower than readable */
    assert_non_null(strstr(text, "NAMES"));
    free(text);
    text = print_table(26, true);
    assert_non_null(strstr(text, "a long command line"));
    free(text);
}

static void test_filters(void **state)
{
    static const char *const keys[] = {"name", "label", NULL};
    char *good[] = {"name=x", "label=a=b", NULL}, *bad[] = {"name", NULL}, *other[] = {"x=y", NULL};
    char *labels[] = {"a=b", "c=", NULL};
    struct error err = ERROR_INIT;
    (void)state;
    assert_int_equal(filters_check(good, keys, &err), 0);
    assert_int_equal(filters_check(NULL, keys, &err), 0);
    assert_int_equal(filters_check(bad, keys, &err), -EINVAL);
    assert_int_equal(filters_check(other, keys, &err), -EINVAL);
    assert_string_equal(filter_value("label=a=b", "label"), "a=b");
    assert_null(filter_value("labels=a", "label"));
    assert_true(label_matches(labels, "a") && label_matches(labels, "a=b"));
    assert_false(label_matches(labels, "a=c") || label_matches(labels, "b"));
    assert_true(label_matches(labels, "c"));
    assert_false(label_matches(NULL, "c"));
}

static void test_rows(void **state)
{
    (void)state;
    char *labels[] = {"a=b=c", "bare", "evil\033=\xff", NULL};
    json_t *o = json_labels(labels);
    assert_string_equal(json_string_value(json_object_get(o, "a")), "b=c");
    assert_string_equal(json_string_value(json_object_get(o, "bare")), "");
    assert_string_equal(json_string_value(json_object_get(o, "evil\\x1b")), "\\xff");
    json_decref(o);
    json_t *time = json_time(0);
    assert_string_equal(json_string_value(time), "0001-01-01T00:00:00Z");
    json_decref(time);
}

static void test_progress(void **state)
{
    struct progress p = {.label = "Importing", .total = 1000, .started_ms = 0};
    char line[256];
    (void)state;
    progress_line(&p, 500, 1000, 80, line, sizeof(line));
    assert_non_null(strstr(line, " 50%  500B / 1.00kB  500B/s"));
    assert_true(strlen(line) < 80);
    progress_line(&p, 5000, 1000, 20, line, sizeof(line));
    assert_non_null(strstr(line, "100%"));
    p.total = 0;
    progress_line(&p, 500, 0, 80, line, sizeof(line));
    assert_non_null(strstr(line, "Importing  500B"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_safe_text),
        cmocka_unit_test(test_table),  cmocka_unit_test(test_filters),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
