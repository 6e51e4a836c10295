/* Patterns, and what a .dockerignore leaves out. */
#include "check.h"

#include "base/alloc.h"
#include "wire/containerfile/pattern.h"

static const struct {
    const char *pattern, *path;
    bool deep, matches;
} cases[] = {
    {"a", "a", false, true},
    {"a", "b", false, false},
    {"a", "aa", false, false},
    {"*", "abc", false, true},
    {"*", "a/b", false, false},
    {"*", "", false, true},
    {"a*c", "abbc", false, true},
    {"a*c", "abb", false, false},
    {"*.go", "x.go", false, true},
    {"*.go", ".go", false, true},
    {"?", "a", false, true},
    {"?", "\xc3\xa4", false, true},
    {"?", "ab", false, false},
    {"?", "/", false, false},
    {"[a-c]", "b", false, true},
    {"[a-c]", "d", false, false},
    {"[^a-c]", "d", false, true},
    {"[^a-c]", "a", false, false},
    {"[^a]", "/", false, false},
    {"[\\]]", "]", false, true},
    {"[a-]", "-", false, false},
    {"\\*", "*", false, true},
    {"\\*", "a", false, false},
    {"a**b", "axb", false, true},
    {"**", "a/b", false, false},
    {"a/*/c", "a/b/c", false, true},
    {"a/*/c", "a/b/d/c", false, false},
    {"**", "a/b/c", true, true},
    {"**/c", "c", true, true},
    {"**/c", "a/b/c", true, true},
    {"**/c", "xc", true, false},
    {"a/**", "a/b/c", true, true},
    {"a/**/c", "a/c", true, true},
    {"a/**/c", "a/x/y/c", true, true},
    {"a/**/c", "a/xc", true, false},
    {"**.go", "a/b/x.go", true, false},
    {"**/*.go", "a/b/x.go", true, true},
    {"a**", "ab/c", true, true},
};

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        struct pattern *p = NULL;
        int r = pattern_compile(cases[i].pattern, cases[i].deep, &p, &err);
        bool matches = r == 0 && pattern_matches(p, cases[i].path);
        if (matches != cases[i].matches)
            fail_msg("%s and %s: %d", cases[i].pattern, cases[i].path, matches);
        pattern_free(p);
    }
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {"[", "[a", "[]", "[]a]", "[b-a]", "[^", "a\\", "[a-"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        struct pattern *p = NULL;
        if (pattern_compile(bad[i], true, &p, &err) == 0)
            fail_msg("%s was taken", bad[i]);
    }
}

/* What makes a backtracking matcher take for ever. */
static void test_hostile(void **state)
{
    struct error err = ERROR_INIT;
    struct pattern *p = NULL;
    char text[PATTERN_MAX_BYTES + 2], path[4096];
    (void)state;
    for (size_t i = 0; i < PATTERN_MAX_BYTES - 1; i++)
        text[i] = i % 2 ? '*' : 'a';
    text[PATTERN_MAX_BYTES - 1] = 'b';
    text[PATTERN_MAX_BYTES] = '\0';
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(pattern_compile(text, true, &p, &err), 0);
    assert_false(pattern_matches(p, path));
    pattern_free(p);
    text[PATTERN_MAX_BYTES] = 'b';
    text[PATTERN_MAX_BYTES + 1] = '\0';
    assert_int_equal(pattern_compile(text, true, &p, &err), -ENAMETOOLONG);
}

static bool excluded(const char *text, const char *path)
{
    struct error err = ERROR_INIT;
    struct ignore i = {.n = 0};
    bool parent[16] = {false}, own[16] = {false}, result = false;
    if (ignore_parse(text, strlen(text), ".dockerignore", &i, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(i.n <= ARRAY_SIZE(own));
    for (const char *end = path; *end; end += *end == '/') {
        end += strcspn(end, "/");
        _cleanup_free_ char *prefix = xstrndup(path, (size_t)(end - path));
        result = ignore_excludes(&i, prefix, parent, own);
        memcpy(parent, own, sizeof(own));
    }
    ignore_done(&i);
    return result;
}

static const struct {
    const char *text, *path;
    bool excluded;
} ignores[] = {
    {"", "a", false},
    {"a", "a", true},
    {"a", "b/a", false},
    {"/a", "a", true},
    {"./a/", "a/b", true},
    {"# a", "# a", false},
    {"#a\n a ", "a", true},
    {"*\n!a", "a", false},
    {"*\n!a", "b", true},
    {"*\n!a", "a/b", false},
    {"*\n!a\na/b", "a/b", true},
    {"*/x", "a/x", true},
    {"*/x", "x", false},
    {"**/x", "a/b/x", true},
    {"**/*.o\n!**/keep.o", "a/b.o", true},
    {"**/*.o\n!**/keep.o", "a/keep.o", false},
    {"dir\n!dir/x", "dir/y", true},
    {"dir\n!dir/x", "dir/x", false},
    {".", "a", false},
    {"a\r\nb\r\n", "a", true},
    {"x/../a", "a", true},
};

static void test_ignore(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ignores); i++)
        if (excluded(ignores[i].text, ignores[i].path) != ignores[i].excluded)
            fail_msg("\"%s\" and %s", ignores[i].text, ignores[i].path);
}

static void test_ignore_refusals(void **state)
{
    struct error err = ERROR_INIT;
    struct ignore i;
    (void)state;
    assert_int_equal(ignore_parse("a\n[", 3, ".dockerignore", &i, &err), -EINVAL);
    assert_string_equal(err.msg, ".dockerignore: line 2: \"[\" is no pattern");
    assert_int_not_equal(ignore_parse("a\0b", 3, ".dockerignore", &i, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile),         cmocka_unit_test(test_ignore),
        cmocka_unit_test(test_ignore_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
