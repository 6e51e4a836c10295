/* The seam between pc-relay.c (the machine) and pc-guest.c (the system inside). */
#pragma once

#include "runtime/vm/relay-internal.h"

/* As in struct relay_guest. An answer is frames in c->out with stream 1 (agent_add_*), the last of
 * them followed by client_end; client_answer_error does both. */
void pc_guest_open(struct relay *m, struct client *c, const struct agent_frame *f);
void pc_guest_more(struct relay *m, struct client *c, const struct agent_frame *f);
int pc_guest_gone(struct relay *m, struct client *c);

/* The channel to the guest's agent, m->r->qemu->agent_fd, which does not block: what to poll it
 * for, and what came of it. */
short pc_guest_events(struct relay *m);
void pc_guest_ready(struct relay *m, short events);
/* When pc_guest_tick is to be called (time_monotonic_ms); 0: never. It is called after each turn
 * that ends later than that. */
int64_t pc_guest_deadline(struct relay *m);
void pc_guest_tick(struct relay *m);
/* As in struct relay_guest: the clock is set, and file systems that stood still go on. */
void pc_guest_continued(struct relay *m);
void pc_guest_restored(struct relay *m);
bool pc_guest_ask(struct relay *m);
void pc_guest_reset(struct relay *m);
/* Asks the system inside to switch itself off; false: nobody there can be asked, or it has been. */
bool pc_guest_shutdown(struct relay *m);

/* pc-screen.c: somebody connects to vnc.sock; a picture of the screen, for a client that asks
 * (AGENT_SCREENSHOT: AGENT_DATA on channel 1, a PNG, and AGENT_OK). */
void pc_screen_accept(struct relay *m);
void pc_screen_shoot(struct relay *m, struct client *c);
bool pc_screen_gone(const struct client *c); /* whether it was the one that waits */

/* pc-grow.c: AGENT_SIZE. */
void pc_grow(struct relay *m, struct client *c, const struct agent_frame *f);
bool pc_grows(void);
bool pc_grow_gone(const struct client *c); /* whether it was the one that waits */

/* pc-card.c: AGENT_CARD. */
void pc_card(struct relay *m, struct client *c, const struct agent_frame *f);
bool pc_card_gone(const struct client *c); /* whether it was the one that waits */
void pc_card_deleted(const char *device);  /* QEMU has it no more */
bool pc_card_leaves(void);                 /* the system inside has not let go of one yet */

/* pc-relay.c: the answer to a request of ours, which no stream of the guest's has. c NULL: whoever
 * asked has gone. e NULL: it is done. */
void pc_answer(struct client *c, const struct error *e);
