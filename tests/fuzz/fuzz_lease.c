/* What guests send to be told their address, and what is left for proa-lease to say; what a LAN's
 * servers send to proa-address, and what that says. The first byte says which. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/lease/client.h"

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

static void try_grant(const char *text)
{
    struct lease_grant g, same;
    char once[LEASE_GRANT_MAX], again[LEASE_GRANT_MAX];
    if (lease_grant_parse(text, &g) < 0)
        return;
    lease_grant_format(&g, once);
    if (lease_grant_parse(once, &same) < 0)
        abort();
    lease_grant_format(&same, again);
    if (strcmp(once, again) != 0)
        abort();
}

/* A client in each phase hears the frame as if it were meant for it. */
static void try_client(uint8_t *frame, size_t size)
{
    static const uint8_t mac[6] = {0x02, 0x51, 10, 1, 0, 5};
    uint8_t out[LEASE_FRAME_MAX];
    char text[LEASE_GRANT_MAX];
    for (int phase = LEASE_SEARCHING; phase <= LEASE_RENEWING; phase++) {
        struct lease_client c;
        bool changed;
        lease_client_begin(&c, mac, "web", (struct in_addr){0}, 1, 0);
        c.phase = (enum lease_phase)phase;
        c.server.s_addr = 0x0100010a;
        c.rebind_ms = c.end_ms = 1000;
        for (size_t i = 0; size >= 80 && i < 4; i++)
            frame[46 + i] = (uint8_t)(c.number >> (24 - i * 8));
        if (size >= 80)
            memcpy(frame + 70, mac, sizeof(mac));
        if (lease_client_hear(&c, 0, frame, size) && c.grant.address.s_addr &&
            !lease_grant_good(&c.grant))
            abort(); /* nobody may be told that */
        lease_grant_format(&c.grant, text);
        try_grant(text);
        if (lease_client_step(&c, lease_client_due(&c), out, &changed) > sizeof(out) ||
            lease_client_release(&c, out) > sizeof(out))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char once[LEASE_PLACE_MAX], again[LEASE_PLACE_MAX];
    struct lease_place place, same;
    if (size == 0)
        return 0;
    if (data[0] == 'f' || data[0] == 'c') {
        _cleanup_free_ uint8_t *exact = xcalloc(1, size); /* so that a sanitizer sees its end */
        memcpy(exact, data + 1, size - 1);
        if (data[0] == 'f')
            try_frame(exact, size - 1);
        else
            try_client(exact, size - 1);
        return 0;
    }
    _cleanup_free_ char *text = xstrndup((const char *)data + 1, size - 1);
    if (data[0] == 'g') {
        try_grant(text);
        return 0;
    }
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
