/* Containerfiles: what each instruction becomes, what is refused and where, and variables. */
#include "check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "wire/containerfile/containerfile.h"

#define FROM "FROM base\n"

static void parse(const char *text, struct containerfile *f)
{
    struct error err = ERROR_INIT;
    if (containerfile_parse(text, strlen(text), "F", f, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
}

/* Every step as a line: KIND flags|words or text. */
static char *dump(const struct containerfile *f)
{
    struct buf b = BUF_INIT(1 << 20);
    for (size_t i = 0; i < f->n_steps; i++) {
        const struct containerfile_step *s = &f->steps[i];
        int r = buf_addf(&b, "%s%s", i ? "\n" : "", containerfile_kind_name(s->kind));
        for (size_t k = 0; k < s->n_flags; k++)
            r |= buf_addf(&b, " --%s=%s", s->flags[k].name, s->flags[k].value);
        for (size_t k = 0; s->words && s->words[k]; k++)
            r |= buf_addf(&b, "|%s", s->words[k]);
        if (!s->words)
            r |= buf_addf(&b, ">%s", s->text);
        for (size_t k = 0; k < s->n_docs; k++)
            r |= buf_addf(&b, "<%s%s:%s", s->docs[k].expand ? "" : "'", s->docs[k].name,
                          s->docs[k].text);
        assert_int_equal(r, 0);
    }
    return buf_take(&b);
}

static const struct {
    const char *text, *steps;
} good[] = {
    {"FROM a", "FROM|a"},
    {"from a as B1", "FROM|a|b1"},
    {"ARG V=1\nFROM --platform=linux/amd64 a:$V AS x",
     "ARG|V=1\nFROM --platform=linux/amd64|a:$V|x"},
    {"\xef\xbb\xbf# a\n\n" FROM "  RUN  true  ", "FROM|base\nRUN>true"},
    {FROM "RUN a \\\n  b", "FROM|base\nRUN>a   b"},
    {FROM "RUN a \\  \n# no\n\n  # no\n b", "FROM|base\nRUN>a  b"},
    {FROM "RUN a \\\\\nRUN b", "FROM|base\nRUN>a \\\\\nRUN>b"},
    {FROM "RUN a \\", "FROM|base\nRUN>a"},
    {"# escape=`\n" FROM "RUN c:\\ `\n x", "FROM|base\nRUN>c:\\  x"},
    {"# syntax=docker/dockerfile:1\r\n#escape = \\\r\n" FROM "RUN a\r\n", "FROM|base\nRUN>a"},
    {FROM "# escape=`\nRUN a\\\nb", "FROM|base\nRUN>ab"},
    {FROM "RUN [\"a\", \"b c\"]", "FROM|base\nRUN|a|b c"},
    {FROM "RUN [ -f x ] && y", "FROM|base\nRUN>[ -f x ] && y"},
    {FROM "CMD [1]", "FROM|base\nCMD>[1]"},
    {FROM "CMD []", "FROM|base\nCMD"},
    {FROM "ENTRYPOINT --x", "FROM|base\nENTRYPOINT>--x"},
    {FROM "ENV a=1 b=\"2 3\" c=4\\ 5", "FROM|base\nENV|a|1|b|\"2 3\"|c|4\\ 5"},
    {FROM "ENV a  b  c=d", "FROM|base\nENV|a|b  c=d"},
    {FROM "LABEL x.y='a b' z=", "FROM|base\nLABEL|x.y|'a b'|z|"},
    {FROM "COPY --from=x --chown=1:2 --link a b/ c/",
     "FROM|base\nCOPY --from=x --chown=1:2 --link=true|a|b/|c/"},
    {FROM "COPY [\"a b\", \"c\"]", "FROM|base\nCOPY|a b|c"},
    {FROM "ADD -- --odd /", "FROM|base\nADD|--odd|/"},
    {FROM "RUN --mount=type=cache,target=/x --network=none make",
     "FROM|base\nRUN --mount=type=cache,target=/x --network=none>make"},
    {FROM "RUN <<E\nx\n# y\n\nE\nRUN z", "FROM|base\nRUN><<E<E:x\n# y\n\n\nRUN>z"},
    {FROM "RUN cat <<-'E' > /x\n\ta\n\tE", "FROM|base\nRUN>cat <<-'E' > /x<'E:\ta\n"},
    {FROM "COPY <<a <<b /d/\n1\na\n2\nb", "FROM|base\nCOPY|<<a|<<b|/d/<a:1\n<b:2\n"},
    {FROM "RUN a<<E", "FROM|base\nRUN>a<<E"},
    {FROM "HEALTHCHECK NONE", "FROM|base\nHEALTHCHECK|NONE"},
    {FROM "HEALTHCHECK --interval=5s CMD [\"a\"]", "FROM|base\nHEALTHCHECK --interval=5s|a"},
    {FROM "HEALTHCHECK cmd curl x", "FROM|base\nHEALTHCHECK>curl x"},
    {FROM "VOLUME /a /b\nVOLUME [\"/c d\"]", "FROM|base\nVOLUME|/a|/b\nVOLUME|/c d"},
    {FROM "SHELL [\"/bin/x\",\"-c\"]", "FROM|base\nSHELL|/bin/x|-c"},
    {FROM "ONBUILD COPY . /x", "FROM|base\nONBUILD>COPY . /x"},
    {FROM "EXPOSE 80 $P/udp\nUSER a:b\nWORKDIR /a b\nSTOPSIGNAL 9\nMAINTAINER me",
     "FROM|base\nEXPOSE|80|$P/udp\nUSER>a:b\nWORKDIR>/a b\nSTOPSIGNAL>9\nMAINTAINER>me"},
};

static void test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct containerfile f;
        parse(good[i].text, &f);
        _cleanup_free_ char *text = dump(&f);
        assert_string_equal(text, good[i].steps);
        containerfile_done(&f);
    }
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "F: there is no FROM in it"},
    {"# only a comment", "F: there is no FROM in it"},
    {"RUN x", "F:1: RUN before the first FROM"},
    {FROM "\nRUNN x", "F:3: unknown instruction \"RUNN\""},
    {FROM "RUN", "F:2: RUN needs an argument"},
    {FROM "RUN []", "F:2: RUN of an empty list"},
    {FROM "COPY a", "F:2: COPY wants a source and a destination"},
    {FROM "COPY --form=x a b", "F:2: COPY has no flag --form"},
    {FROM "RUN --network x", "F:2: --network needs a value (--network=...)"},
    {FROM "ENV a", "F:2: ENV wants NAME=VALUE, \"a\" is none"},
    {FROM "ENV a=1 b", "F:2: ENV wants NAME=VALUE, \"b\" is none"},
    {FROM "ENV =1", "F:2: ENV wants NAME=VALUE, \"=1\" is none"},
    {"FROM a b", "F:1: FROM wants IMAGE or IMAGE AS NAME"},
    {"FROM a AS 1", "F:1: \"1\" is no name of a stage"},
    {"FROM a AS x\nFROM b AS X", "F:2: two stages are named \"x\""},
    {FROM "SHELL sh", "F:2: SHELL wants a list"},
    {FROM "HEALTHCHECK x", "F:2: HEALTHCHECK wants CMD and a command, or NONE"},
    {FROM "ONBUILD ONBUILD RUN x", "F:2: ONBUILD cannot hold ONBUILD"},
    {FROM "ONBUILD FROM x", "F:2: ONBUILD cannot hold FROM"},
    {FROM "ONBUILD NO x", "F:2: ONBUILD: unknown instruction \"NO\""},
    {FROM "RUN <<E\nx", "F:2: the here-document \"E\" has no end"},
    {"# escape=x\nFROM a", "F:1: the directive \"escape\" is a backslash or a backquote"},
    {"# syntax=a\n# syntax=b\nFROM a", "F:2: the directive \"syntax\" is given twice"},
    {"FROM a\xff", "F is no text in UTF-8"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = ERROR_INIT;
        struct containerfile f;
        assert_int_not_equal(containerfile_parse(bad[i].text, strlen(bad[i].text), "F", &f, &err),
                             0);
        if (!strstr(err.msg, bad[i].message))
            fail_msg("\"%s\" instead of \"%s\"", err.msg, bad[i].message);
    }
}

static void test_zero_byte(void **state)
{
    static const char text[] = "FROM a\0b";
    struct error err = ERROR_INIT;
    struct containerfile f;
    (void)state;
    assert_int_not_equal(containerfile_parse(text, sizeof(text) - 1, "F", &f, &err), 0);
}

static void refuse_repeated(const char *unit, size_t n, const char *message)
{
    struct error err = ERROR_INIT;
    struct containerfile f;
    struct buf b = BUF_INIT(8 << 20);
    assert_int_equal(buf_add_str(&b, FROM), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_add_str(&b, unit), 0);
    assert_int_not_equal(containerfile_parse(b.data, b.len, "F", &f, &err), 0);
    if (!strstr(err.msg, message))
        fail_msg("\"%s\" instead of \"%s\"", err.msg, message);
    buf_done(&b);
}

static void test_bounds(void **state)
{
    (void)state;
    refuse_repeated("# comment\n", 200000, "larger than");
    refuse_repeated("USER x\n", CONTAINERFILE_MAX_STEPS, "more than 4096 instructions");
    refuse_repeated("FROM a\n", CONTAINERFILE_MAX_STAGES, "more than 256 stages");
    refuse_repeated("RUN <<A <<B <<C <<D <<E <<F <<G \\\n", 10, "more than 64 here-documents");
}

static void test_stages(void **state)
{
    struct containerfile f;
    (void)state;
    parse("ARG x\nFROM a AS one\nRUN 1\nRUN 2\nFROM one\nCMD x", &f);
    assert_int_equal(f.n_stages, 2);
    assert_string_equal(f.stages[0].name, "one");
    assert_int_equal(f.stages[0].from, 1);
    assert_int_equal(f.stages[0].end, 4);
    assert_null(f.stages[1].name);
    assert_int_equal(f.stages[1].from, 4);
    assert_int_equal(f.stages[1].end, 6);
    assert_int_equal(f.steps[5].line, 6);
    containerfile_done(&f);
}

static const char *lookup(void *context, const char *name, size_t len)
{
    static const char *const values[][2] = {
        {"a", "A"}, {"empty", ""}, {"two", "x  y"}, {"q", "\"$a'"}, {"path", "/x"}};
    (void)context;
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        if (strlen(values[i][0]) == len && memcmp(values[i][0], name, len) == 0)
            return values[i][1];
    return NULL;
}

static const struct {
    const char *word, *value; /* NULL: refused */
} words[] = {
    {"plain", "plain"},
    {"$a", "A"},
    {"${a}b", "Ab"},
    {"$ab", ""},
    {"$a_", ""},
    {"$a.b", "A.b"},
    {"$", "$"},
    {"a$", "a$"},
    {"$$a", "a"},
    {"$?", ""},
    {"x$-y", "xy"},
    {"$1x", "x"},
    {"\\$a", "$a"},
    {"\\a", "a"},
    {"a\\", "a\\"},
    {"'$a'", "$a"},
    {"\"$a\"", "A"},
    {"\"\\$a\\\"\\x\"", "$a\"\\x"},
    {"a\" b \"c", "a b c"},
    {"${none:-d}", "d"},
    {"${empty:-d}", "d"},
    {"${empty-d}", ""},
    {"${a:-d}", "A"},
    {"${none:+d}", ""},
    {"${a:+d$a}", "dA"},
    {"${empty:+d}", ""},
    {"${empty+d}", "d"},
    {"${none:-${a:-x}y}", "Ay"},
    {"${none:-'} '}", "} "},
    {"$q", "\"$a'"},
    {"$two", "x  y"},
    {"${a", NULL},
    {"${", NULL},
    {"${}", NULL},
    {"${a%x}", NULL},
    {"${none:-x", NULL},
    {"'a", NULL},
    {"\"a", NULL},
    {"${none:?why}", NULL},
    {"${a:?why}", "A"},
};

static void test_expand(void **state)
{
    const struct containerfile_scope scope = {.lookup = lookup, .escape = '\\'};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        struct error err = ERROR_INIT;
        _cleanup_free_ char *value = NULL;
        int r = containerfile_expand(&scope, words[i].word, &value, &err);
        if ((r == 0) != (words[i].value != NULL))
            fail_msg("%s: %d %s", words[i].word, r, err.msg);
        if (r == 0)
            assert_string_equal(value, words[i].value);
    }
}

static void test_expand_words(void **state)
{
    static const struct {
        const char *word, *joined;
    } cases[] = {{"$two", "x|y"}, {"\"$two\"", "x  y"}, {"a$two", "ax|y"},      {"$none", ""},
                 {"\"\"", ""},    {"$a/tcp", "A/tcp"},  {"${none:-p q}", "p|q"}};
    const struct containerfile_scope scope = {.lookup = lookup, .escape = '\\'};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = ERROR_INIT;
        _cleanup_strv_ char **list = NULL;
        assert_int_equal(containerfile_expand_words(&scope, cases[i].word, &list, &err), 0);
        _cleanup_free_ char *joined = strv_join(list, "|");
        assert_string_equal(joined, cases[i].joined);
    }
}

static void test_expand_text(void **state)
{
    const struct containerfile_scope scope = {.lookup = lookup, .escape = '\\'};
    struct error err = ERROR_INIT;
    _cleanup_free_ char *text = NULL;
    (void)state;
    assert_int_equal(
        containerfile_expand_text(&scope, "x='$a' \"\\$a\" \\n ${none:-z}\n", &text, &err), 0);
    assert_string_equal(text, "x='A' \"$a\" \\n z\n");
}

static void test_expand_bounds(void **state)
{
    const struct containerfile_scope scope = {.lookup = lookup, .escape = '\\'};
    struct error err = ERROR_INIT;
    char *value = NULL;
    struct buf b = BUF_INIT(1 << 20);
    (void)state;
    for (int i = 0; i < 40; i++)
        assert_int_equal(buf_add_str(&b, "${none:-"), 0);
    assert_int_not_equal(containerfile_expand(&scope, b.data, &value, &err), 0);
    assert_non_null(strstr(err.msg, "nest deeper"));
    buf_reset(&b);
    for (size_t i = 0; i < CONTAINERFILE_MAX_VALUE + 1; i++)
        assert_int_equal(buf_add(&b, "x", 1), 0);
    assert_int_equal(containerfile_expand(&scope, b.data, &value, &err), -EFBIG);
    buf_done(&b);
}

static void test_text(void **state)
{
    (void)state;
    assert_true(containerfile_text_valid("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    assert_false(containerfile_text_valid("\xc3", 1));
    assert_false(containerfile_text_valid("\xc0\x80", 2));
    assert_false(containerfile_text_valid("\xed\xa0\x80", 3));
    assert_false(containerfile_text_valid("a\0b", 3));
    assert_false(containerfile_text_valid("\xf4\x90\x80\x80", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_zero_byte),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_stages),        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_expand_words),  cmocka_unit_test(test_expand_text),
        cmocka_unit_test(test_expand_bounds), cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
