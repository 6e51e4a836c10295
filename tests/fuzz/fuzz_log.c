/* One line of an instance's log: any bytes give an entry inside the line, or an error. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/monitor/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size ? size : 1);
    struct log_entry e;
    if (!line)
        return 0;
    memcpy(line, data, size);
    if (log_parse_line(line, size, &e) == 0)
        assert(e.text >= line && e.text + e.len <= line + size);
    free(line);
    return 0;
}
