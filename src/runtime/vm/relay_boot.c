/*
 * A machine that stands still before its hello (boot_watch.h) is reset, as one would press the
 * button, a few times at most. QEMU ends at a reset (-no-reboot), because a guest that asks for one
 * has failed; so it is told otherwise for this one.
 */
#include <string.h>

#include "runtime/vm/relay-internal.h"

#define RESETS_MAX 3

static void act_on_reset(struct relay *m, const char *action)
{
    relay_must(
        relay_qmp(m, "set-action", json_pack("{s:s}", "reboot", action), -EBADF, NULL, NULL));
}

static void reset(struct relay *m)
{
    static const char note[] =
        "proa-vm: the machine stood still while it booted, and was reset\r\n";
    vm_console_add(&m->console, note, sizeof(note) - 1);
    act_on_reset(m, "reset");
    relay_must(relay_qmp(m, "system_reset", NULL, -EBADF, NULL, NULL));
    act_on_reset(m, "shutdown");
    m->boot.resets++;
    relay_note_time(m, "reset");
}

static bool is_watched(const struct relay *m)
{
    return m->phase == PHASE_BOOT && m->qmp_ready && m->boot.resets < RESETS_MAX;
}

int64_t boot_deadline(const struct relay *m)
{
    return is_watched(m) ? m->boot.look_ms : 0;
}

void boot_tick(struct relay *m)
{
    if (is_watched(m) && boot_stands(&m->boot, m->r->qemu->pid))
        reset(m);
}
