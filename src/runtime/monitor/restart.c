#include "runtime/monitor/restart.h"

#include "base/text.h"

#define FIRST_DELAY_MS 100
#define LAST_DELAY_MS  60000
#define HEALTHY_MS     10000

int restart_parse(const char *text, struct restart *ret)
{
    static const char *const names[] = {"no", "on-failure", "always", "unless-stopped"};
    struct restart r = {0};
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text), i = 0;
    while (i < ARRAY_SIZE(names) && (strlen(names[i]) != len || strncmp(names[i], text, len) != 0))
        i++;
    if (i == ARRAY_SIZE(names))
        return -EINVAL;
    r.policy = (enum restart_policy)i;
    if (colon && (r.policy != RESTART_ON_FAILURE || parse_u32(colon + 1, &r.max) < 0))
        return -EINVAL;
    *ret = r;
    return 0;
}

bool restart_again(struct restart *r, int exit_code, int64_t ran_ms, int64_t *ret_wait_ms)
{
    if (r->policy == RESTART_NO)
        return false;
    if (r->policy == RESTART_ON_FAILURE && (exit_code == 0 || (r->max > 0 && r->count >= r->max)))
        return false;
    if (ran_ms >= HEALTHY_MS || r->delay_ms == 0)
        r->delay_ms = FIRST_DELAY_MS;
    else
        r->delay_ms = MIN(r->delay_ms * 2, (int64_t)LAST_DELAY_MS);
    r->count++;
    *ret_wait_ms = r->delay_ms;
    return true;
}
