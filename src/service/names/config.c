#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/strv.h"
#include "base/text.h"
#include "service/names/names.h"
#include "service/policy/policy.h"

void names_config_done(struct names_config *c)
{
    policy_domains_list_free(c->lists, c->n_lists);
    *c = (struct names_config){.n_lists = 0};
}

char *names_config_text(const struct names_config *c)
{
    _cleanup_buf_ struct buf b = BUF_INIT(NAMES_CONFIG_MAX);
    int r = buf_addf(&b, "table %s\n", c->table);
    for (size_t i = 0; r == 0 && i < c->n_addresses; i++)
        r = buf_addf(&b, "address %s\n", policy_address_text(c->addresses[i]).s);
    for (size_t i = 0; r == 0 && i < c->n_lists; i++) {
        _cleanup_free_ char *patterns = strv_join(c->lists[i].patterns, " ");
        r = buf_addf(&b, "list %lld %s\n", (long long)c->lists[i].id, patterns);
    }
    return r < 0 ? NULL : buf_take(&b);
}

static int parse_table(char *const *words, struct names_config *c)
{
    if (strv_len(words) != 2 || strncmp(words[1], POLICY_TABLE, strlen(POLICY_TABLE)) != 0 ||
        strlen(words[1]) >= sizeof(c->table))
        return -EINVAL;
    snprintf(c->table, sizeof(c->table), "%s", words[1]);
    return 0;
}

static int parse_address(char *const *words, struct names_config *c)
{
    if (strv_len(words) != 2 || c->n_addresses == NAMES_ADDRESSES_MAX)
        return -EINVAL;
    return policy_address_parse(words[1], &c->addresses[c->n_addresses++]);
}

static int parse_list(char *const *words, struct names_config *c)
{
    char name[DNS_NAME_SIZE];
    uint64_t id;
    if (strv_len(words) < 3 || parse_u64(words[1], UINT32_MAX, &id) < 0)
        return -EINVAL;
    for (size_t i = 2; words[i]; i++)
        if (!dns_pattern_parse(words[i], name) || strcmp(name, words[i]) != 0)
            return -EINVAL;
    c->lists = xreallocarray(c->lists, c->n_lists + 1, sizeof(*c->lists));
    c->lists[c->n_lists++] = (struct policy_domains){(int64_t)id, strv_copy(words + 2)};
    return 0;
}

int names_config_parse(const char *text, struct names_config *ret)
{
    _cleanup_strv_ char **lines = strv_split(text, '\n');
    struct names_config c = {.n_lists = 0};
    int r = 0;
    for (size_t i = 0; r == 0 && lines[i]; i++) {
        _cleanup_strv_ char **words = strv_split(lines[i], ' ');
        if (!*lines[i])
            continue;
        r = strcmp(words[0], "table") == 0     ? parse_table(words, &c)
            : strcmp(words[0], "address") == 0 ? parse_address(words, &c)
            : strcmp(words[0], "list") == 0    ? parse_list(words, &c)
                                               : -EINVAL;
    }
    if (r < 0 || c.n_addresses == 0 || !*c.table) {
        names_config_done(&c);
        return -EINVAL;
    }
    *ret = c;
    return 0;
}
