#include "kernel/processors.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/strv.h"
#include "base/text.h"

static int add_range(struct number_set *set, uint32_t first, uint32_t last)
{
    const unsigned int width = 8 * sizeof(unsigned long);
    if (first > last || last > NUMBER_SET_MAX)
        return -EINVAL;
    for (uint32_t n = first; n <= last; n++)
        set->bits[n / width] |= 1ul << (n % width);
    return 0;
}

int number_set_parse(const char *list, struct number_set *ret)
{
    _cleanup_strv_ char **parts = strv_split(list, ',');
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; parts[i]; i++) {
        uint32_t first, last;
        char *dash = strchr(parts[i], '-');
        if (dash)
            *dash++ = '\0';
        if (parse_u32(parts[i], &first) < 0 || parse_u32(dash ? dash : parts[i], &last) < 0)
            return -EINVAL;
        int r = add_range(ret, first, last);
        if (r < 0)
            return r;
    }
    return parts[0] ? 0 : -EINVAL;
}

int processors_use(const char *list, struct error *err)
{
    struct number_set set;
    if (!list)
        return 0;
    if (number_set_parse(list, &set) < 0)
        return error_invalid(err, "\"%s\" is no list of processors", list);
    if (syscall(SYS_sched_setaffinity, 0, sizeof(set), &set) < 0)
        return error_errno(err, errno, "run on the processors %s", list);
    return 0;
}
