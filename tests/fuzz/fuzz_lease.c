/* What guests send to be told their address, and what is left for proa-lease to say. The first byte
 * says which. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/lease/lease.h"

static void try_frame(const uint8_t *data, size_t size)
{
    static const uint8_t server[6] = {0x02, 0x50, 10, 1, 0, 1};
    struct lease_place place;
    uint8_t mac[6], out[LEASE_FRAME_MAX];
    if (lease_place_parse("10.1.0.5/24 10.1.0.1 fd00::5/64 fd00::1 1500 out web", &place) < 0)
        abort();
    if (!lease_question(data, size, mac))
        return;
    size_t n = lease_answer(server, &place, data, size, out);
    if (n > sizeof(out) || (n > 0 && (n < 54 || memcmp(out, mac, sizeof(mac)) != 0)))
        abort(); /* it goes to who asked, and to nobody else */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char once[LEASE_PLACE_MAX], again[LEASE_PLACE_MAX];
    struct lease_place place, same;
    if (size == 0)
        return 0;
    if (data[0] == 'f') {
        _cleanup_free_ uint8_t *exact = xcalloc(1, size); /* so that a sanitizer sees its end */
        memcpy(exact, data + 1, size - 1);
        try_frame(exact, size - 1);
        return 0;
    }
    _cleanup_free_ char *text = xstrndup((const char *)data + 1, size - 1);
    if (lease_place_parse(text, &place) < 0)
        return 0;
    lease_place_format(&place, once);
    if (lease_place_parse(once, &same) < 0)
        abort();
    lease_place_format(&same, again);
    if (strcmp(once, again) != 0)
        abort();
    return 0;
}
