#include "front/cli/main.h"

int main(int argc, char **argv)
{
    (void)argc;
    return cli_main(argv);
}
