/* The program proa. */
#include <fcntl.h>

#include "front/cli/main.h"

/* A standard descriptor that the caller closed would become the next file that is opened, the
 * store perhaps, and be written to by mistake. */
static int fill_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_NOCTTY) != fd)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 1 || fill_standard_descriptors() < 0)
        return 125;
    return cli_main(argv);
}
