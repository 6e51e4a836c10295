#include "wire/agent/layers.h"

#include <string.h>

static const char magic[8] = {'P', 'R', 'O', 'A', 'L', 'A', 'Y', 'R'};

#define HEAD_BYTES  16
#define ENTRY_BYTES 16
#define LENGTH_MAX  ((uint64_t)1 << 50) /* so that no sum of them overflows */

static void put(unsigned char *p, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static bool is_length(uint64_t length)
{
    return length > 0 && length % AGENT_SECTOR == 0 && length <= LENGTH_MAX;
}

int agent_layers_write(const uint64_t *lengths, size_t n, unsigned char *out)
{
    uint64_t start = AGENT_LAYERS_TABLE;
    if (n > AGENT_LAYERS_MAX)
        return -E2BIG;
    memset(out, 0, AGENT_LAYERS_TABLE);
    memcpy(out, magic, sizeof(magic));
    put(out + 8, n, 4);
    for (size_t i = 0; i < n; i++) {
        unsigned char *entry = out + HEAD_BYTES + i * ENTRY_BYTES;
        if (!is_length(lengths[i]))
            return -EINVAL;
        put(entry, start, 8);
        put(entry + 8, lengths[i], 8);
        start += lengths[i];
    }
    return 0;
}

int agent_layers_parse(const unsigned char *table, struct agent_layer_place *list, size_t *ret_n,
                       struct error *err)
{
    uint64_t n = get(table + 8, 4), start = AGENT_LAYERS_TABLE;
    bool good = memcmp(table, magic, sizeof(magic)) == 0 && n <= AGENT_LAYERS_MAX;
    for (uint64_t i = 0; good && i < n; i++) {
        const unsigned char *entry = table + HEAD_BYTES + i * ENTRY_BYTES;
        list[i] = (struct agent_layer_place){get(entry, 8), get(entry + 8, 8)};
        good = list[i].start == start && is_length(list[i].length);
        start += list[i].length;
    }
    if (!good)
        return error_set(err, ERROR_CORRUPT, EPROTO, "the table of layers is damaged");
    *ret_n = (size_t)n;
    return 0;
}
