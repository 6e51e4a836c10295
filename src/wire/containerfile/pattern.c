#include "wire/containerfile/pattern.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"

enum token_kind {
    TOKEN_BYTE,
    TOKEN_ANY,          /* one character that is no "/" */
    TOKEN_CLASS,        /* one byte of a set */
    TOKEN_CONTINUATION, /* further bytes of a UTF-8 character */
    TOKEN_STAR,
    TOKEN_ALL,      /* "**" at the end: everything */
    TOKEN_DIRS,     /* "**" and "/": nothing, or directories, with: */
    TOKEN_DIRS_MORE /* being inside of them */
};

struct token {
    enum token_kind kind;
    unsigned char byte;
    uint8_t *set; /* 256 bits; owned */
};

struct pattern {
    struct token *tokens;
    size_t n;
    char *plain; /* the text itself when nothing in it has a meaning */
};

bool pattern_is_plain(const char *text)
{
    return !strpbrk(text, "*?[\\");
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        free(p->tokens[i].set);
    free(p->tokens);
    free(p->plain);
    free(p);
}

static struct token *add(struct pattern *p, enum token_kind kind, unsigned char byte)
{
    p->tokens[p->n] = (struct token){.kind = kind, .byte = byte};
    return &p->tokens[p->n++];
}

static bool set_has(const uint8_t *set, unsigned char c)
{
    return set[c >> 3] & (1u << (c & 7));
}

/* One bound of a range: a byte, or an escaped one. -1 where there is none. */
static int class_byte(const char **at)
{
    const char *s = *at;
    if (*s == '\\')
        s++;
    if (!*s || (s == *at && (*s == ']' || *s == '-')))
        return -1;
    *at = s + 1;
    return (unsigned char)*s;
}

/* After "[". */
static int compile_class(struct pattern *p, const char **at)
{
    uint8_t *set = xcalloc(32, 1);
    add(p, TOKEN_CLASS, 0)->set = set;
    const char *s = *at;
    bool negated = *s == '^';
    s += negated;
    do {
        int low = class_byte(&s), high = low;
        if (low >= 0 && *s == '-') {
            s++;
            high = class_byte(&s);
        }
        if (low < 0 || high < low)
            return -EINVAL;
        for (int c = low; c <= high; c++)
            set[c >> 3] |= (uint8_t)(1u << (c & 7));
    } while (*s && *s != ']');
    if (*s != ']')
        return -EINVAL;
    for (int i = 0; negated && i < 32; i++)
        set[i] = (uint8_t)~set[i];
    set['/' >> 3] &= (uint8_t) ~(1u << ('/' & 7));
    *at = s + 1;
    if (negated)
        add(p, TOKEN_CONTINUATION, 0);
    return 0;
}

static void compile_star(struct pattern *p, const char **at, bool deep)
{
    const char *s = *at;
    while (*s == '*')
        s++;
    if (!deep || s - *at < 2) {
        add(p, TOKEN_STAR, 0);
    } else if (s[0] == '/' ? !s[1] : !s[0]) {
        s += *s == '/';
        add(p, TOKEN_ALL, 0);
    } else {
        s += *s == '/';
        add(p, TOKEN_DIRS, 0);
        add(p, TOKEN_DIRS_MORE, 0);
    }
    *at = s;
}

static int compile(struct pattern *p, const char *s, bool deep)
{
    int r = 0;
    while (r == 0 && *s) {
        switch (*s) {
        case '*':
            compile_star(p, &s, deep);
            break;
        case '?':
            add(p, TOKEN_ANY, 0);
            add(p, TOKEN_CONTINUATION, 0);
            s++;
            break;
        case '[':
            s++;
            r = compile_class(p, &s);
            break;
        case '\\':
            if (!*++s)
                return -EINVAL;
            add(p, TOKEN_BYTE, (unsigned char)*s++);
            break;
        default:
            add(p, TOKEN_BYTE, (unsigned char)*s++);
        }
    }
    return r;
}

int pattern_compile(const char *text, bool deep, struct pattern **ret, struct error *err)
{
    size_t len = strlen(text);
    if (len > PATTERN_MAX_BYTES)
        return error_set(err, ERROR_LIMIT, ENAMETOOLONG, "a pattern is longer than %u bytes",
                         PATTERN_MAX_BYTES);
    struct pattern *p = xnew(struct pattern);
    p->tokens = xcalloc(2 * len + 1, sizeof(*p->tokens));
    if (pattern_is_plain(text))
        p->plain = xstrdup(text);
    if (compile(p, text, deep) < 0) {
        pattern_free(p);
        return error_invalid(err, "\"%.100s\" is no pattern", text);
    }
    *ret = p;
    return 0;
}

/* A place was reached: with it those that need no byte to be reached from it. */
static void reach(const struct pattern *p, bool *places, size_t at)
{
    for (; !places[at]; at++) {
        places[at] = true;
        if (at == p->n)
            return;
        switch (p->tokens[at].kind) {
        case TOKEN_STAR:
        case TOKEN_ALL:
        case TOKEN_CONTINUATION:
            break;
        case TOKEN_DIRS: /* into the directories, or past them */
            places[at + 1] = true;
            at++;
            break;
        default:
            return;
        }
    }
}

static void step(const struct pattern *p, size_t at, unsigned char c, bool *next)
{
    const struct token *t = &p->tokens[at];
    switch (t->kind) {
    case TOKEN_BYTE:
        if (t->byte == c)
            reach(p, next, at + 1);
        break;
    case TOKEN_ANY:
        if (c != '/')
            reach(p, next, at + 1);
        break;
    case TOKEN_CLASS:
        if (set_has(t->set, c))
            reach(p, next, at + 1);
        break;
    case TOKEN_CONTINUATION:
        if (c >= 0x80 && c <= 0xbf)
            reach(p, next, at);
        break;
    case TOKEN_STAR:
        if (c != '/')
            reach(p, next, at);
        break;
    case TOKEN_ALL:
        reach(p, next, at);
        break;
    case TOKEN_DIRS:
        break; /* passed without a byte */
    case TOKEN_DIRS_MORE:
        next[at] = true;
        if (c == '/')
            reach(p, next, at + 1);
        break;
    }
}

bool pattern_matches(const struct pattern *p, const char *path)
{
    bool places[2][2 * PATTERN_MAX_BYTES + 2];
    bool *now = places[0], *next = places[1];
    if (p->plain)
        return strcmp(p->plain, path) == 0;
    memset(now, 0, p->n + 1);
    reach(p, now, 0);
    for (; *path; path++) {
        bool any = false;
        memset(next, 0, p->n + 1);
        for (size_t i = 0; i < p->n; i++)
            if (now[i])
                step(p, i, (unsigned char)*path, next);
        for (size_t i = 0; !any && i <= p->n; i++)
            any = next[i];
        if (!any)
            return false;
        bool *swap = now;
        now = next;
        next = swap;
    }
    return now[p->n];
}
