/* What an instance asks, and what is answered. The first byte says which: a pattern and a name with
 * a space between them, or the length of a question, the question, and the rest as its answer. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/dns/dns.h"

static void try_names(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    char pattern[DNS_NAME_SIZE], name[DNS_NAME_SIZE], again[DNS_NAME_SIZE];
    char *space = strchr(text, ' ');
    if (space)
        *space = '\0';
    if (!dns_pattern_parse(text, pattern))
        return;
    if (!dns_pattern_parse(pattern, again) || strcmp(pattern, again) != 0)
        abort();
    if (space && dns_name_parse(space + 1, name) && dns_pattern_fits(pattern, name) &&
        strcmp(pattern, name) != 0 && *pattern != '*')
        abort();
}

/* Copied, so that a sanitizer sees the end. */
static uint8_t *copy(const uint8_t *data, size_t size)
{
    uint8_t *exact = xcalloc(1, size + 1);
    memcpy(exact, data, size);
    return exact;
}

static void try_messages(const uint8_t *data, size_t size)
{
    static struct dns_address list[DNS_ADDRESSES_MAX];
    struct dns_question q, same;
    size_t half = data[0] < size ? data[0] : size - 1, n = 0;
    _cleanup_free_ uint8_t *asked = copy(data + 1, half);
    _cleanup_free_ uint8_t *answer = copy(data + 1 + half, size - 1 - half);
    bool good = dns_question_read(asked, half, &q) == 0;
    if (good && dns_answer_read(answer, size - 1 - half, &q, list, &n) == 0)
        for (size_t i = 0; i < n; i++)
            if (list[i].v6 != (q.type == DNS_AAAA) || !*q.name)
                abort();
    if (half < 12)
        return;
    size_t len = dns_refuse(asked, half, DNS_SERVER_FAILURE);
    if (len > half || dns_question_read(asked, len, &same) == 0)
        abort(); /* what is refused is no question any more */
    if (good && (dns_answer_read(asked, len, &q, list, &n) < 0 || n > 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] == 'p')
        try_names(data + 1, size - 1);
    else
        try_messages(data + 1, size - 1);
    return 0;
}
