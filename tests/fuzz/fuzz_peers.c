/* What a peer sends: its messages behind an 'm', without the tags, which are put in; or a roster
 * alone. What was understood is written again, and has to be the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "wire/peers/peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool it)
{
    if (!it)
        abort();
}

/* Copied, so that a sanitizer sees the end. */
static void try_roster(const uint8_t *data, size_t size)
{
    static struct peers_member m;
    _cleanup_buf_ struct buf again = BUF_INIT(PEERS_BODY_MAX);
    _cleanup_free_ uint8_t *exact = xcalloc(1, size + 1);
    struct peers_reader r;
    memcpy(exact, data, size);
    int got = peers_roster_open(exact, size, &r);
    need(peers_roster_begin(&again) == 0);
    while (got >= 0 && (got = peers_roster_next(&r, &m)) > 0) {
        need(peers_member_is_good(&m));
        need(peers_roster_add(&again, &m) == 0);
    }
    if (got == 0)
        need(again.len == size && memcmp(again.data, exact, size) == 0);
}

static void try_messages(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf told = BUF_INIT(4 * PEERS_MESSAGE_MAX);
    struct peers_session teller = {.number = 0}, listener = teller;
    struct peers_message m;
    while (size >= 2 && data[1] <= size - 2) { /* kind, length, body */
        if (peers_message_put(&teller, (enum peers_kind)data[0], data + 2, data[1], &told) < 0)
            break;
        size -= 2u + data[1];
        data += 2u + data[1];
    }
    while (told.len > 0 && peers_message_take(&listener, told.data, told.len, &m) > 0) {
        need(m.whole <= told.len && m.len < m.whole);
        try_roster(m.body, m.len);
        buf_consume(&told, m.whole);
    }
    while (size > 0 && peers_message_take(&listener, data, size, &m) > 0)
        abort(); /* nobody has made a tag for that */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'm')
        try_messages(data + 1, size - 1);
    else
        try_roster(data, size);
    return 0;
}
