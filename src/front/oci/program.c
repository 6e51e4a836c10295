/* The program proa-oci. */
#include <fcntl.h>

#include "front/oci/commands.h"
#include "runtime/oci/self.h"

/* A standard descriptor that the caller closed would become the next file that is opened. */
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
        return 1;
    oci_self_init(argv);
    return oci_main(argv);
}
