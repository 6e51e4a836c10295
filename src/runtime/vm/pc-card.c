/*
 * Network cards that a machine gets and loses while it runs. A card is plugged into one of the PCI
 * Express ports that were left free at its start, and the system inside finds it there by ACPI. One
 * that goes loses its tap first, so that nothing passes it any more, whoever is inside; then the
 * system is asked to let go of it, and its port is free when it has. A card that the machine was
 * started with is in no port, and cannot be pulled out: it stays, without a link.
 *
 * One request is a few commands to QEMU, one after the other.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "runtime/vm/pc-internal.h"
#include "runtime/vm/pc.h"

#define CARD_NAME 24 /* bytes */

/* What QEMU calls it; a port's card keeps its name until the system inside has let go of it. */
struct card {
    char netdev[CARD_NAME], device[CARD_NAME]; /* "": none */
    int port;                                  /* -1: the machine was started with it */
};

static struct {
    bool known;                             /* the cards of the start are in the table */
    struct card cards[BUNDLE_NETWORKS_MAX]; /* by position; without a device: there is none */
    char leaving[VM_CARD_PORTS][CARD_NAME]; /* the devices that are on their way out of a port */
    unsigned int serial;
    bool busy;
    struct client *client; /* NULL: gone, or nobody */
    size_t position;       /* what is worked on */
    char mac[18];
} slots;

static void learn(const struct relay *m)
{
    const struct bundle *b = m->r->qemu->bundle;
    size_t n = 0;
    if (slots.known)
        return;
    slots.known = true;
    slots.serial = BUNDLE_NETWORKS_MAX;
    for (size_t i = 0; i < b->n_networks; i++) {
        struct card *c = &slots.cards[i];
        if (!*b->networks[i].mac)
            continue;
        snprintf(c->netdev, sizeof(c->netdev), "net%zu", i);
        snprintf(c->device, sizeof(c->device), "card%zu", i);
        c->port = vm_shape_port(&m->shape, n++);
    }
}

static void finish(const struct error *e)
{
    struct client *c = slots.client;
    slots.busy = false;
    slots.client = NULL;
    pc_answer(c, e);
}

static void fail(const char *why)
{
    struct error err = ERROR_INIT;
    error_set(&err, ERROR_SYSTEM, EIO, "the machine's network card: %s", why);
    finish(&err);
}

static void ask(struct relay *m, const char *command, json_t *arguments, relay_qmp_done done)
{
    if (relay_qmp(m, command, arguments, -EBADF, done, NULL) < 0)
        fail("QEMU does not answer");
}

/* --- in --- */

static bool port_is_free(int port)
{
    for (size_t i = 0; i < ARRAY_SIZE(slots.cards); i++)
        if (*slots.cards[i].device && slots.cards[i].port == port)
            return false;
    return !*slots.leaving[port];
}

static int find_port(void)
{
    for (int i = 0; i < (int)VM_CARD_PORTS; i++)
        if (port_is_free(i))
            return i;
    return -1;
}

static void on_device(struct relay *m, void *context, const struct qmp_message *q)
{
    struct card *c = &slots.cards[slots.position];
    (void)context;
    if (q->type == QMP_RETURN) {
        vm_shape_plug(&m->shape, (unsigned int)c->port);
        finish(NULL);
        return;
    }
    (void)!relay_qmp(m, "netdev_del", json_pack("{s:s}", "id", c->netdev), -EBADF, NULL, NULL);
    *c = (struct card){.port = -1};
    fail(q->text);
}

static void on_netdev(struct relay *m, void *context, const struct qmp_message *q)
{
    const struct bundle_machine *b = &m->r->qemu->bundle->machine;
    struct card *c = &slots.cards[slots.position];
    char bus[16];
    (void)context;
    if (q->type == QMP_ERROR) {
        (void)!relay_qmp(m, "closefd", json_pack("{s:s}", "fdname", c->netdev), -EBADF, NULL, NULL);
        *c = (struct card){.port = -1};
        fail(q->text);
        return;
    }
    snprintf(bus, sizeof(bus), "port%d", c->port);
    ask(m, "device_add",
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "driver", b->nic ? b->nic : "virtio-net-pci",
                  "id", c->device, "bus", bus, "netdev", c->netdev, "mac", slots.mac, "romfile",
                  ""),
        on_device);
}

static void on_tap(struct relay *m, void *context, const struct qmp_message *q)
{
    struct card *c = &slots.cards[slots.position];
    (void)context;
    if (q->type == QMP_ERROR) {
        *c = (struct card){.port = -1};
        fail(q->text);
        return;
    }
    ask(m, "netdev_add",
        json_pack("{s:s, s:s, s:s}", "type", "tap", "id", c->netdev, "fd", c->netdev), on_netdev);
}

static int plug(struct relay *m, int tap_fd, struct error *err)
{
    struct card *c = &slots.cards[slots.position];
    int port = find_port();
    if (*c->device)
        return error_set(err, ERROR_CONFLICT, EEXIST, "the machine has card %zu already",
                         slots.position);
    if (port < 0)
        return error_set(err, ERROR_LIMIT, ENOSPC,
                         "the machine's %u places for more network cards are taken: stop it first; "
                         "its next start has the change",
                         VM_CARD_PORTS);
    slots.serial++;
    snprintf(c->netdev, sizeof(c->netdev), "net%u", slots.serial);
    snprintf(c->device, sizeof(c->device), "card%u", slots.serial);
    c->port = port;
    int r = relay_qmp(m, "getfd", json_pack("{s:s}", "fdname", c->netdev), tap_fd, on_tap, NULL);
    if (r < 0) {
        *c = (struct card){.port = -1};
        return error_set(err, ERROR_SYSTEM, ETIMEDOUT, "the machine does not answer");
    }
    return 0;
}

/* --- out --- */

static void on_leaving(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)m;
    (void)context;
    (void)q; /* what is on its way out already is as good */
    finish(NULL);
}

/* Nothing passes it any more. */
static void on_cut(struct relay *m, void *context, const struct qmp_message *q)
{
    struct card *c = &slots.cards[slots.position], gone = *c;
    (void)context;
    (void)q; /* it had none any more */
    *c = (struct card){.port = -1};
    if (gone.port < 0) {
        m->card_cut = true;
        finish(NULL);
        return;
    }
    vm_shape_unplug(&m->shape, (unsigned int)gone.port);
    snprintf(slots.leaving[gone.port], CARD_NAME, "%s", gone.device);
    ask(m, "device_del", json_pack("{s:s}", "id", gone.device), on_leaving);
}

static void unplug(struct relay *m)
{
    const struct card *c = &slots.cards[slots.position];
    if (!*c->device)
        finish(NULL);
    else
        ask(m, "netdev_del", json_pack("{s:s}", "id", c->netdev), on_cut);
}

void pc_card_deleted(const char *device)
{
    for (size_t i = 0; i < VM_CARD_PORTS; i++)
        if (*device && strcmp(slots.leaving[i], device) == 0)
            *slots.leaving[i] = '\0';
}

/* --- the request --- */

bool pc_card_leaves(void)
{
    for (int i = 0; i < (int)VM_CARD_PORTS; i++)
        if (*slots.leaving[i])
            return true;
    return false;
}

static int parse(const struct agent_frame *f, size_t *ret_position, char ret_mac[static 18],
                 struct error *err)
{
    _cleanup_json_ json_t *o = NULL;
    const char *text, *mac = "";
    uint32_t position = 0;
    int r = agent_get_string(f, &text, err);
    if (r == 0)
        r = json_parse(text, strlen(text), "a network card", &o, err);
    if (r == 0)
        r = json_get_u32(o, "card", "position", &position, err);
    if (r == 0)
        r = json_get_string(o, "card", "mac", &mac, err);
    if (r == 0 && (position >= BUNDLE_NETWORKS_MAX || strlen(mac) > 17))
        r = error_invalid(err, "there is no such network card");
    if (r < 0)
        return r;
    *ret_position = position;
    snprintf(ret_mac, 18, "%s", mac);
    return 0;
}

static int begin(struct relay *m, struct client *c, const struct agent_frame *f, struct error *err)
{
    size_t position;
    char mac[18];
    int r = parse(f, &position, mac, err);
    if (r < 0)
        return r;
    if (slots.busy || m->snapshot.step)
        return error_set(err, ERROR_CONFLICT, EBUSY, "the machine is %s: try again",
                         slots.busy ? "changing a network card already" : "kept in a snapshot");
    learn(m);
    slots.position = position;
    memcpy(slots.mac, mac, sizeof(mac));
    slots.busy = true;
    slots.client = c;
    if (!*mac)
        unplug(m);
    else
        r = plug(m, c->passed[0], err);
    if (r < 0)
        slots.busy = false;
    return r;
}

void pc_card(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    if (begin(m, c, f, &err) < 0) {
        slots.client = NULL;
        pc_answer(c, &err);
    }
}

bool pc_card_gone(const struct client *c)
{
    bool ours = slots.client == c;
    if (ours)
        slots.client = NULL;
    return ours;
}
