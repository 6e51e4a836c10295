/* Words of a command line, each ended by a NUL or a newline. */
#include <stdint.h>
#include <string.h>

#include "../unit/cli_sample.h"
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_WORDS = 64 };

static void parse(const struct command *c, char *const *argv)
{
    struct sample_values values = {0};
    struct parsed parsed;
    struct error err = ERROR_INIT;
    if (c->init)
        c->init(&values);
    if (options_parse(c, argv, &values, &parsed, &err) == 0)
        free(parsed.args);
    else if (err.kind != ERROR_INVALID || !err.msg[0])
        abort();
    options_done(c, &values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    char *text = xcalloc(size + 1, 1);
    char *argv[MAX_WORDS + 1] = {NULL};
    size_t n = 0;
    if (size > 0)
        memcpy(text, data, size);
    for (size_t at = 0; at < size && n < MAX_WORDS; at += strlen(text + at) + 1) {
        argv[n++] = text + at;
        text[at + strcspn(text + at, "\n")] = '\0';
    }
    for (size_t i = 0; i < sample_set.n_commands; i++)
        parse(sample_set.commands[i], argv);
    if (argv[0]) {
        const struct command *c;
        const struct command_group *g;
        size_t words;
        command_find(&sample_set, argv, &c, &g, &words);
        command_suggest(&sample_set, NULL, argv[0]);
    }
    free(text);
    return 0;
}
