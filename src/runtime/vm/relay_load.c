/*
 * Going on from a snapshot's memory: QEMU waits with its devices made (-incoming defer), loads the
 * stream, and is set going. Only then does the guest hear of it: what is sent to a port before that
 * is lost. What runs in it does so from the first moment, so that is when the machine has started.
 */
#include <string.h>

#include "runtime/vm/relay-internal.h"

static void load_failed(struct relay *m, const char *why)
{
    struct error e = ERROR_INIT;
    error_set(&e, ERROR_SYSTEM, EIO, "the machine's memory could not be loaded: %s",
              *why ? why : "QEMU does not say why");
    relay_fail(m, &e);
}

static void check(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)context;
    if (q->type == QMP_ERROR)
        load_failed(m, q->text);
}

static void on_going(struct relay *m, void *context, const struct qmp_message *q)
{
    (void)context;
    if (q->type == QMP_ERROR) {
        load_failed(m, q->text);
        return;
    }
    m->guest->restored(m);
}

void load_begin(struct relay *m)
{
    char uri[24];
    snprintf(uri, sizeof(uri), "fd:%d", m->r->qemu->memory_fd);
    json_t *events =
        json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "events", "state", 1);
    relay_must(relay_qmp(m, "migrate-set-capabilities", events, -EBADF, check, NULL));
    relay_must(
        relay_qmp(m, "migrate-incoming", json_pack("{s:s}", "uri", uri), -EBADF, check, NULL));
}

void load_event(struct relay *m, const struct qmp_message *q)
{
    if (strcmp(q->text, "failed") == 0)
        load_failed(m, m->errors.len ? m->errors.data : "");
    else if (strcmp(q->text, "completed") == 0)
        relay_must(relay_qmp(m, "cont", NULL, -EBADF, on_going, NULL));
}
