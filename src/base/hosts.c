#include "base/hosts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/strv.h"

int hosts_text_edit(const char *text, char *const *gone, const char *more, struct buf *out)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n"), whole = len + (line[len] == '\n');
        _cleanup_free_ char *address = xstrndup(line, strcspn(line, "\t \n"));
        int r = strv_has(gone, address) ? 0 : buf_add(out, line, whole);
        if (r < 0)
            return r;
        line += whole;
    }
    return buf_add(out, more, strlen(more));
}
