/*
 * What is asked of the system inside a machine that boots a disk. QEMU's guest agent would answer;
 * until something does, each request is refused in one line that says what works instead.
 */
#include "runtime/vm/pc-internal.h"

void pc_guest_open(struct relay *m, struct client *c, const struct agent_frame *f)
{
    struct error err = ERROR_INIT;
    (void)m;
    (void)f;
    error_set(
        &err, ERROR_UNSUPPORTED, EOPNOTSUPP,
        "this needs the QEMU guest agent inside the machine, and none answers: use its serial "
        "console (proa attach)");
    c->stream = 0;
    client_answer_error(c, &err);
}

void pc_guest_more(struct relay *m, struct client *c, const struct agent_frame *f)
{
    (void)m;
    (void)c;
    (void)f;
}

int pc_guest_gone(struct relay *m, struct client *c)
{
    (void)m;
    (void)c;
    return 0;
}

short pc_guest_events(const struct relay *m)
{
    (void)m;
    return POLLIN;
}

/* A port that nobody reads would fill up and stop whoever writes inside. */
void pc_guest_ready(struct relay *m, short events)
{
    char waste[4096];
    if (events & (POLLIN | POLLHUP))
        (void)!read(m->r->qemu->agent_fd, waste, sizeof(waste));
}

int64_t pc_guest_deadline(const struct relay *m)
{
    (void)m;
    return 0;
}

void pc_guest_tick(struct relay *m)
{
    (void)m;
}
