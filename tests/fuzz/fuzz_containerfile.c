/* A Containerfile; every word of it is expanded as a build would. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/strv.h"
#include "wire/containerfile/containerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *lookup(void *context, const char *name, size_t len)
{
    (void)context;
    return len % 3 == 0 ? NULL : len % 3 == 1 ? "a \"$b' c" : name[0] == 'e' ? "" : "x";
}

static void expand_step(const struct containerfile_scope *scope,
                        const struct containerfile_step *step)
{
    for (size_t i = 0; step->words && step->words[i]; i++) {
        char *value = NULL, **words = NULL;
        if (containerfile_expand(scope, step->words[i], &value, NULL) == 0)
            free(value);
        if (containerfile_expand_words(scope, step->words[i], &words, NULL) == 0)
            strv_free(words);
    }
    for (size_t i = 0; i < step->n_docs; i++) {
        char *text = NULL;
        if (containerfile_expand_text(scope, step->docs[i].text, &text, NULL) == 0)
            free(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct containerfile f;
    struct error err = ERROR_INIT;
    if (containerfile_parse((const char *)data, size, "F", &f, &err) < 0)
        return 0;
    const struct containerfile_scope scope = {.lookup = lookup, .escape = f.escape};
    for (size_t i = 0; i < f.n_steps; i++)
        expand_step(&scope, &f.steps[i]);
    containerfile_done(&f);
    return 0;
}
