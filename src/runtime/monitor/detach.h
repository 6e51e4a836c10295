/* The keys that leave an instance without ending it. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define DETACH_MAX_KEYS 16

struct detach {
    unsigned char keys[DETACH_MAX_KEYS];
    size_t n_keys;  /* 0: never detaches */
    size_t matched; /* keys typed so far, not passed on yet */
};

/* "ctrl-p,ctrl-q": single characters and ctrl- with a-z, @, [, \, ], ^ or _. "" for none. */
int detach_parse(const char *text, struct detach *ret, struct error *err) _must_check_;

/* Passes typed bytes on to out (room for len + DETACH_MAX_KEYS), except those that begin the
 * sequence until it is clear that they do not. True once the whole sequence was typed; what was
 * typed before it is in out. */
bool detach_filter(struct detach *d, const unsigned char *in, size_t len, unsigned char *out,
                   size_t *ret_len);
