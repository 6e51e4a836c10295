#include "wire/qmp/shape.h"

#include <endian.h>
#include <string.h>

static const char magic[8] = "PROASHAP";

/* The fields as they stand in the bytes; what is 64 bits wide is aligned. */
struct layout {
    char magic[8];
    uint32_t cpus, more_cpus, n_modules, cards;
    uint64_t memory, left, modules[VM_MODULES_MAX];
};
_Static_assert(sizeof(struct layout) == VM_SHAPE_BYTES, "there are no holes");

struct vm_shape vm_shape_plain(uint32_t cpus, uint64_t memory)
{
    memory -= memory % VM_SHAPE_UNIT;
    return (struct vm_shape){.cpus = cpus, .memory = memory, .left = memory, .cards = -1};
}

uint64_t vm_shape_memory(const struct vm_shape *s)
{
    uint64_t all = s->left;
    for (uint32_t i = 0; i < s->n_modules; i++)
        all += s->modules[i];
    return all;
}

int vm_shape_port(const struct vm_shape *s, size_t card)
{
    size_t built_in = s->cards < 0 ? VM_CARDS_MAX : (size_t)s->cards;
    return card < built_in || card - built_in >= s->n_ports ? -1 : s->ports[card - built_in];
}

void vm_shape_plug(struct vm_shape *s, unsigned int port)
{
    if (s->n_ports < VM_CARD_PORTS)
        s->ports[s->n_ports++] = (uint8_t)port;
}

void vm_shape_unplug(struct vm_shape *s, unsigned int port)
{
    uint8_t n = 0;
    for (uint8_t i = 0; i < s->n_ports; i++)
        if (s->ports[i] != port)
            s->ports[n++] = s->ports[i];
    s->n_ports = n;
}

static uint32_t pack_cards(const struct vm_shape *s)
{
    uint32_t packed = (uint32_t)(s->cards + 1);
    for (uint32_t i = 0; i < s->n_ports; i++)
        packed |= (s->ports[i] + 1u) << (8 + 4 * i);
    return packed;
}

/* Each port once, and no hole between them. */
static bool unpack_cards(uint32_t packed, struct vm_shape *s)
{
    unsigned int used = 0;
    s->cards = (int)(packed & 0xff) - 1;
    for (packed >>= 8; packed & 0xf; packed >>= 4) {
        unsigned int port = (packed & 0xf) - 1;
        if (port >= VM_CARD_PORTS || used & 1u << port)
            return false;
        used |= 1u << port;
        vm_shape_plug(s, port);
    }
    return packed == 0 && s->cards <= VM_CARDS_MAX && (s->cards >= 0 || s->n_ports == 0);
}

void vm_shape_write(const struct vm_shape *s, char out[static VM_SHAPE_BYTES])
{
    struct layout l = {.cpus = htole32(s->cpus),
                       .more_cpus = htole32(s->more_cpus),
                       .n_modules = htole32(s->n_modules),
                       .cards = htole32(pack_cards(s)),
                       .memory = htole64(s->memory),
                       .left = htole64(s->left)};
    memcpy(l.magic, magic, sizeof(magic));
    for (uint32_t i = 0; i < s->n_modules; i++)
        l.modules[i] = htole64(s->modules[i]);
    memcpy(out, &l, sizeof(l));
}

bool vm_shape_is(const char *data, size_t len)
{
    return len >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

static bool is_size(uint64_t bytes)
{
    return bytes > 0 && bytes <= VM_MEMORY_MAX && bytes % VM_SHAPE_UNIT == 0;
}

static bool is_good(const struct vm_shape *s)
{
    if (s->cpus == 0 || s->cpus > VM_CPUS_MAX || s->more_cpus > VM_CPUS_MAX - s->cpus ||
        !is_size(s->memory) || !is_size(s->left) || s->left > s->memory)
        return false;
    for (uint32_t i = 0; i < s->n_modules; i++)
        if (!is_size(s->modules[i]))
            return false;
    return true;
}

int vm_shape_read(const char *data, size_t len, struct vm_shape *ret, struct error *err)
{
    struct layout l;
    if (len < sizeof(l) || !vm_shape_is(data, len))
        return error_set(err, ERROR_CORRUPT, EPROTO, "the machine's memory is cut off");
    memcpy(&l, data, sizeof(l));
    struct vm_shape s = {.cpus = le32toh(l.cpus),
                         .more_cpus = le32toh(l.more_cpus),
                         .n_modules = le32toh(l.n_modules),
                         .memory = le64toh(l.memory),
                         .left = le64toh(l.left)};
    for (uint32_t i = 0; i < VM_MODULES_MAX && i < s.n_modules; i++)
        s.modules[i] = le64toh(l.modules[i]);
    if (s.n_modules > VM_MODULES_MAX || !is_good(&s) || !unpack_cards(le32toh(l.cards), &s))
        return error_set(err, ERROR_CORRUPT, EPROTO,
                         "the machine's memory is of a machine that cannot be");
    *ret = s;
    return 0;
}
