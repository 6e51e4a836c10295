#include "front/cli/limits.h"

#include <string.h>

#include "base/text.h"

int cli_memory_swap(const char *text, int64_t *ret, struct error *err)
{
    uint64_t bytes;
    if (!text)
        return 0;
    if (strcmp(text, "-1") == 0) {
        *ret = -1;
        return 0;
    }
    if (parse_size(text, &bytes) < 0 || bytes > INT64_MAX)
        return error_invalid(err,
                             "invalid argument \"%s\" for \"--memory-swap\": it must be a size "
                             "such as 1g, or -1",
                             text);
    *ret = (int64_t)bytes;
    return 0;
}
