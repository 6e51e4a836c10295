/*
 * An interpreter that walks the template's text. A block is executed from a position in the text
 * until its {{else}} or {{end}}; a block that is not to run is walked all the same, silently, to
 * find its end. {{range}} walks its block once per element. Depth and the number of actions are
 * bounded, so that no template runs for ever.
 *
 * Values are counted references to JSON values, all owned by who got them.
 */
#include "front/cli/template.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/text.h"
#include "front/cli/template-internal.h"
#include "front/command/safetext.h"

enum { MAX_DEPTH = 32, MAX_ACTIONS = 1000000, MAX_WORD = 256 };

enum block_end {
    BLOCK_TEXT_END,
    BLOCK_ELSE,
    BLOCK_END,
};

static int evaluate(struct render *r, json_t *dot, json_t **ret);

int template_bad(struct render *r, const char *what)
{
    return error_invalid(r->err, "template: %s near \"%.40s\"", what, r->at);
}

/* --- output --- */

int template_room(struct render *r, int result)
{
    return result < 0 ? error_set(r->err, ERROR_LIMIT, -result, "template: the result is too large")
                      : 0;
}

static int add_text(struct render *r, const char *text)
{
    _cleanup_free_ char *safe = r->safe ? text_safe(text) : NULL;
    return template_room(r, buf_add_str(r->out, safe ? safe : text));
}

char *template_json(const json_t *value, bool indent)
{
    size_t flags = JSON_ENCODE_ANY | (indent ? JSON_INDENT(4) : JSON_COMPACT);
    _cleanup_free_ char *plain = json_dumps(value, flags);
    if (!plain)
        return xstrdup("null");
    char *text = xcalloc(strlen(plain) * 6 + 1, 1), *end = text;
    for (const char *s = plain; *s; s++) {
        bool c1 =
            (unsigned char)*s == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0;
        if (*s == 0x7f || c1)
            end += snprintf(end, 7, "\\u%04x", c1 ? (unsigned char)*++s : 0x7fu);
        else
            *end++ = *s;
    }
    return text;
}

static int print_members(struct render *r, json_t *v)
{
    const char *key;
    json_t *member;
    bool first = true;
    int result = template_room(r, buf_add_str(r->out, json_is_object(v) ? "map[" : "["));
    if (json_is_object(v)) {
        json_object_foreach(v, key, member)
        {
            if (result == 0 && !first)
                result = template_room(r, buf_add_str(r->out, " "));
            if (result == 0)
                result = add_text(r, key);
            if (result == 0)
                result = template_room(r, buf_add_str(r->out, ":"));
            if (result == 0)
                result = template_print(r, member);
            first = false;
        }
    }
    for (size_t i = 0; i < json_array_size(v) && result == 0; i++) {
        if (i > 0)
            result = template_room(r, buf_add_str(r->out, " "));
        if (result == 0)
            result = template_print(r, json_array_get(v, i));
    }
    return result < 0 ? result : template_room(r, buf_add_str(r->out, "]"));
}

/* As Go prints a value: text bare, lists as [a b], maps as map[k:v]. */
int template_print(struct render *r, json_t *v)
{
    if (json_is_string(v))
        return add_text(r, json_string_value(v));
    if (json_is_object(v) || json_is_array(v))
        return print_members(r, v);
    if (json_is_null(v))
        return template_room(r, buf_add_str(r->out, "<no value>"));
    _cleanup_free_ char *text = template_json(v, false);
    return template_room(r, buf_add_str(r->out, text));
}

/* --- words of an action --- */

static void skip_space(struct render *r)
{
    while (r->at < r->action_end && strchr(" \t\n\r", *r->at))
        r->at++;
}

/* True, and past it, when the next characters are this word. */
static bool take_word(struct render *r, const char *word)
{
    size_t n = strlen(word);
    skip_space(r);
    if ((size_t)(r->action_end - r->at) < n || strncmp(r->at, word, n) != 0)
        return false;
    if (r->at + n < r->action_end && !strchr(" \t\n\r(\"`|.)", r->at[n]))
        return false;
    r->at += n;
    return true;
}

static bool at_end(struct render *r)
{
    skip_space(r);
    return r->at >= r->action_end || *r->at == '|' || *r->at == ')';
}

static int read_quoted(struct render *r, json_t **ret)
{
    char quote = *r->at++;
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    for (; r->at < r->action_end && *r->at != quote; r->at++) {
        char c = *r->at;
        if (quote == '"' && c == '\\' && r->at + 1 < r->action_end) {
            c = *++r->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        if (buf_add(&text, &c, 1) < 0)
            return template_bad(r, "text too long");
    }
    if (r->at >= r->action_end)
        return template_bad(r, "unterminated text");
    r->at++;
    *ret = json_string(text.data ? text.data : "");
    return *ret ? 0 : template_bad(r, "text that is not UTF-8");
}

static size_t name_length(const char *s, const char *end)
{
    size_t n = 0;
    while (s + n < end && !strchr(" \t\n\r.|()\"`", s[n]))
        n++;
    return n;
}

/* Takes ownership of value and gives the member that ".Name" picks from it. */
static int member_of(struct render *r, json_t *value, bool top, json_t **ret)
{
    _cleanup_json_ json_t *owner = value;
    char name[MAX_WORD];
    size_t n = name_length(r->at, r->action_end);
    if (n == 0 || n >= sizeof(name))
        return template_bad(r, "a field's name is missing");
    memcpy(name, r->at, n);
    name[n] = '\0';
    json_t *member = json_object_get(owner, name);
    if (!member && top && json_is_object(owner))
        return error_invalid(r->err, "template: there is no field \"%s\"", name);
    if (!member && !json_is_object(owner) && !json_is_null(owner))
        return error_invalid(r->err, "template: \"%s\" is asked of a value that has no fields",
                             name);
    r->at += n;
    *ret = member ? json_incref(member) : json_null();
    return 0;
}

/* ".A.B" after any value; takes ownership of value. */
static int follow_path(struct render *r, json_t *value, bool top, json_t **ret)
{
    while (r->at < r->action_end && *r->at == '.') {
        r->at++;
        int result = member_of(r, value, top, &value);
        if (result < 0)
            return result;
        top = false;
    }
    *ret = value;
    return 0;
}

static int read_number(struct render *r, json_t **ret)
{
    char digits[24];
    size_t n = name_length(r->at, r->action_end);
    uint64_t value;
    if (n >= sizeof(digits))
        return template_bad(r, "number too long");
    memcpy(digits, r->at, n);
    digits[n] = '\0';
    if (parse_u64(digits, INT64_MAX, &value) < 0)
        return template_bad(r, "unknown word");
    r->at += n;
    *ret = json_integer((json_int_t)value);
    return 0;
}

static int read_dot(struct render *r, json_t *dot, json_t **ret)
{
    const char *next = r->at + 1;
    if (next >= r->action_end || strchr(" \t\n\r|)", *next)) {
        r->at++;
        *ret = json_incref(dot);
        return 0;
    }
    return follow_path(r, json_incref(dot), true, ret);
}

/* One operand: a path, a literal, or a parenthesised expression. */
static int operand(struct render *r, json_t *dot, json_t **ret)
{
    skip_space(r);
    if (r->at >= r->action_end)
        return template_bad(r, "a value is missing");
    if (*r->at == '.')
        return read_dot(r, dot, ret);
    if (*r->at == '"' || *r->at == '`')
        return read_quoted(r, ret);
    if (*r->at == '(') {
        json_t *value;
        r->at++;
        if (++r->depth > MAX_DEPTH)
            return template_bad(r, "nested too deeply");
        int result = evaluate(r, dot, &value);
        r->depth--;
        if (result < 0)
            return result;
        if (r->at >= r->action_end || *r->at != ')') {
            json_decref(value);
            return template_bad(r, "\")\" is missing");
        }
        r->at++;
        return follow_path(r, value, false, ret);
    }
    bool yes = take_word(r, "true");
    if (yes || take_word(r, "false")) {
        *ret = json_boolean(yes);
        return 0;
    }
    return read_number(r, ret);
}

/* --- terms --- */

/* Collects operands (and the value that came through a pipe, as the last) and calls. */
static int call_function(struct render *r, json_t *dot, const struct template_function *f,
                         json_t *piped, json_t **ret)
{
    json_t *args[8];
    size_t n = 0;
    int result = 0;
    while (result == 0 && !at_end(r)) {
        if (n == ARRAY_SIZE(args) - 1)
            result = template_bad(r, "too many values");
        else
            result = operand(r, dot, &args[n]);
        n += result == 0;
    }
    if (piped)
        args[n++] = json_incref(piped);
    if (result == 0 && (n < f->least || n > f->most))
        result = error_invalid(r->err, "template: wrong number of values for \"%s\"", f->name);
    if (result == 0)
        result = f->call(r, args, n, ret);
    while (n > 0)
        json_decref(args[--n]);
    return result;
}

static int term(struct render *r, json_t *dot, json_t *piped, json_t **ret)
{
    for (const struct template_function *f = template_functions; f->name; f++)
        if (take_word(r, f->name))
            return call_function(r, dot, f, piped, ret);
    if (piped)
        return template_bad(r, "only a function can stand after \"|\"");
    return operand(r, dot, ret);
}

/* term { "|" function } up to the action's end or a closing parenthesis. */
static int evaluate(struct render *r, json_t *dot, json_t **ret)
{
    json_t *value;
    int result = term(r, dot, NULL, &value);
    if (result == 0 && !at_end(r)) {
        json_decref(value);
        return template_bad(r, "unexpected text");
    }
    while (result == 0 && r->at < r->action_end && *r->at == '|') {
        json_t *next;
        r->at++;
        skip_space(r);
        result = term(r, dot, value, &next);
        json_decref(value);
        if (result == 0)
            value = next;
        if (result == 0 && !at_end(r)) {
            json_decref(value);
            return template_bad(r, "unexpected text");
        }
    }
    if (result == 0)
        *ret = value;
    return result;
}

/* --- blocks --- */

static int add_literal(struct render *r, const char *from, const char *to, bool run)
{
    while (r->trim_next && from < to && strchr(" \t\n\r", *from))
        from++;
    for (; run && from < to; from++) {
        char c = *from;
        if (c == '\\' && from + 1 < to && (from[1] == 't' || from[1] == 'n'))
            c = *++from == 't' ? '\t' : '\n';
        int result = template_room(r, buf_add(r->out, &c, 1));
        if (result < 0)
            return result;
    }
    return 0;
}

/* The end of the action that starts at s: the "}}" outside of quotes. */
static const char *find_action_end(const char *s)
{
    char quote = 0;
    for (; *s; s++) {
        if (quote && *s == '\\' && quote == '"' && s[1])
            s++;
        else if (quote)
            quote = *s == quote ? 0 : quote;
        else if (*s == '"' || *s == '`')
            quote = *s;
        else if (s[0] == '}' && s[1] == '}')
            return s;
    }
    return NULL;
}

/* Copies the text before the next action; *ret_more says whether an action follows, then r->at and
 * r->action_end bound it and *ret_next is where the text goes on. */
static int next_action(struct render *r, bool run, bool *ret_more, const char **ret_next)
{
    const char *open = strstr(r->at, "{{");
    const char *text_end = open ? open : r->at + strlen(r->at);
    bool trim_before = open && open[2] == '-' && open[3] && strchr(" \t\n\r", open[3]);
    while (trim_before && text_end > r->at && strchr(" \t\n\r", text_end[-1]))
        text_end--;
    int result = add_literal(r, r->at, text_end, run);
    if (result < 0)
        return result;
    r->at = open ? open : text_end;
    *ret_more = open != NULL;
    if (!open)
        return 0;
    const char *end = find_action_end(open + 2);
    if (!end)
        return template_bad(r, "\"}}\" is missing");
    if (++r->actions > MAX_ACTIONS)
        return error_set(r->err, ERROR_LIMIT, E2BIG, "template: too much to do");
    r->at = open + 2 + trim_before;
    r->trim_next = end[-1] == '-' && end - 1 > r->at && strchr(" \t\n\r", end[-2]);
    r->action_end = r->trim_next ? end - 1 : end;
    *ret_next = end + 2;
    return 0;
}

static int block(struct render *r, json_t *dot, bool run, enum block_end *ret);

/* Walks one branch, and the {{else}} branch when there is one. */
static int branches(struct render *r, json_t *dot, json_t *other, bool first, bool second)
{
    enum block_end end;
    int result = block(r, dot, first, &end);
    if (result == 0 && end == BLOCK_ELSE)
        result = block(r, other, second, &end);
    if (result == 0 && end != BLOCK_END)
        result = template_bad(r, "{{end}} is missing");
    return result;
}

static int walk_range(struct render *r, json_t *dot, json_t *list, bool run)
{
    const char *start = r->at, *after = NULL;
    bool trim = r->trim_next;
    size_t n = run ? json_array_size(list) + json_object_size(list) : 0;
    void *iter = json_object_iter(list);
    enum block_end end = BLOCK_END;
    for (size_t i = 0; i < n; i++) {
        json_t *item = iter ? json_object_iter_value(iter) : json_array_get(list, i);
        r->at = start;
        r->trim_next = trim;
        int result = block(r, item, true, &end);
        if (result < 0)
            return result;
        after = r->at;
        iter = iter ? json_object_iter_next(list, iter) : NULL;
    }
    if (!after)
        return branches(r, dot, dot, false, run);
    if (end == BLOCK_ELSE) {
        int result = block(r, dot, false, &end);
        if (result < 0)
            return result;
    }
    return end == BLOCK_END ? 0 : template_bad(r, "{{end}} is missing");
}

static int walk_control(struct render *r, json_t *dot, bool range, bool run, const char *next)
{
    _cleanup_json_ json_t *value = NULL;
    int result = run ? evaluate(r, dot, &value) : 0;
    if (result < 0)
        return result;
    if (++r->depth > MAX_DEPTH)
        return template_bad(r, "nested too deeply");
    r->at = next;
    bool yes = run && template_truth(value);
    result = range ? walk_range(r, dot, value, run) : branches(r, dot, dot, yes, run && !yes);
    r->depth--;
    return result;
}

static int walk_value(struct render *r, json_t *dot, bool run, const char *next)
{
    _cleanup_json_ json_t *value = NULL;
    if (run) {
        int result = evaluate(r, dot, &value);
        if (result == 0)
            result = r->at < r->action_end ? template_bad(r, "unexpected text")
                                           : template_print(r, value);
        if (result < 0)
            return result;
    }
    r->at = next;
    return 0;
}

/* Executes (or, without run, only walks) from r->at to the block's end. */
static int block(struct render *r, json_t *dot, bool run, enum block_end *ret)
{
    for (;;) {
        bool more;
        const char *next = NULL;
        int result = next_action(r, run, &more, &next);
        if (result < 0)
            return result;
        *ret = BLOCK_TEXT_END;
        if (!more)
            return 0;
        bool is_else = take_word(r, "else");
        if (is_else || take_word(r, "end")) {
            *ret = is_else ? BLOCK_ELSE : BLOCK_END;
            r->at = next;
            return 0;
        }
        bool range = take_word(r, "range");
        if (range || take_word(r, "if"))
            result = walk_control(r, dot, range, run, next);
        else
            result = walk_value(r, dot, run, next);
        if (result < 0)
            return result;
    }
}

int template_render(const char *text, json_t *dot, bool safe, struct buf *out, struct error *err)
{
    struct render r = {.at = text, .out = out, .err = err, .safe = safe};
    enum block_end end;
    int result = block(&r, dot, true, &end);
    if (result == 0 && end != BLOCK_TEXT_END)
        result = error_invalid(err, "template: {{else}} or {{end}} without its beginning");
    return result;
}
