/* From a command line to its handler. */
#pragma once

#include <stdbool.h>

struct global_values {
    char *root, *policy;
    bool version;
};

/* Runs one command line (argv[0] is the program's name). Gives the exit code. */
int cli_main(char *const *argv);
