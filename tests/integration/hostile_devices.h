/* Drivers of an attacker's own for the devices of a light machine (hostile_guest.c). */
#pragma once

#include "base/macro.h"

/* Keeps the queues of one device after the other full, for ever, and says on the console once a
 * second how many requests each has taken: "floods: net=1 disk=2 balloon=3 reports=4". */
_noreturn_ void devices_flood(void);
