#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>

#include "base/text.h"
#include "guest/guest.h"

#define PORT_WAIT_MS 10000

static _noreturn_ void give_up(const char *why)
{
    fprintf(stderr, "guest: %s\n", why);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

int main(void)
{
    struct error err = ERROR_INIT;
    int port;
    if (getpid() != 1) {
        fprintf(stderr, "guest: this program is process 1 of a machine\n");
        return 125;
    }
    json_object_seed(0); /* asks for random bytes, which a clone then need not */
    if (guest_boot(&err) < 0)
        give_up(err.msg);
    /* A kernel that found no timer that works stops here for ever, and its host resets it
     * (runtime/vm/boot_watch.h); whoever has heard the hello can rely on its clocks. */
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    int64_t until = time_monotonic_ms() + PORT_WAIT_MS;
    while ((port = open(GUEST_PORT, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0) {
        if (time_monotonic_ms() > until)
            give_up("the machine has no port to its host");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    guest_agent(port);
}
